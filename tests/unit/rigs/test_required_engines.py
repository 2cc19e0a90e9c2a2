"""The rule for missing engines, tried on a suite of its own: skipped with a reason here, failed in CI."""

import shutil
import subprocess
import sys
from pathlib import Path

from programs import clean_environment

TESTS = Path(__file__).parents[2]
SUITE = """
import pytest

@pytest.mark.engine("no-such-engine")
def test_engine(): pass

@pytest.mark.engine("/dev/no-such-device")
def test_device(): pass

@pytest.mark.modules("no_such_module")
def test_module(): pass

@pytest.mark.engine("hornet")
def test_in_no_registry(): pass

@pytest.mark.engine("sh")
@pytest.mark.engine("/dev/null")
@pytest.mark.modules("json")
def test_present(): pass
"""


def run(directory: Path, required: str) -> str:
    for name in ("conftest.py", "rigs/programs.py", "rigs/nightly.py"):
        shutil.copy(TESTS / name, directory)
    (directory / "test_suite.py").write_text(SUITE)
    markers = "markers =\n    engine(name): needs a program\n    modules(name): needs a module\n"
    (directory / "pytest.ini").write_text(f"[pytest]\naddopts = -q --strict-markers\n{markers}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(directory)],
        env=clean_environment(LEARNAE_REQUIRE_ENGINES=required, LEARNAE_HORNET="no-such-hornet"),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_missing_engines_are_skipped_and_listed(tmp_path: Path) -> None:
    said = run(tmp_path, "")
    assert "1 passed, 4 skipped" in said
    assert "1 skipped: program 'no-such-engine' is not on PATH (test_suite)" in said
    assert "1 skipped: /dev/no-such-device is not here (test_suite)" in said
    assert "1 skipped: module 'no_such_module' is not installed (test_suite)" in said


def test_missing_engines_fail_where_they_are_required(tmp_path: Path) -> None:
    said = run(tmp_path, "1")
    assert {"1 passed", "1 skipped", "3 errors"} <= set(said.strip().splitlines()[-1].split(" in ")[0].split(", "))
    assert "1 skipped: program 'hornet' is not on PATH, and in no registry" in said
    assert "program 'no-such-engine' is not on PATH, but LEARNAE_REQUIRE_ENGINES=1" in said
    assert "module 'no_such_module' is not installed, but LEARNAE_REQUIRE_ENGINES=1" in said
