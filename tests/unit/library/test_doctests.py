"""The examples in docstrings do what they show."""

import doctest
import os
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("learnae", "agent", "trainer_node", "firmware_bridge")
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
MODULES = [".".join(path.with_suffix("").parts) for path in FILES if ">>> " in (ROOT / path).read_text()]
KNOWN = """
    learnae.basics.bounded_dict learnae.ipld.cid learnae.ipld.dagcbor learnae.protocol.tangle learnae.system.backoff
    learnae.weights.frames learnae.weights.merge
"""


def test_what_a_newcomer_meets_first_has_an_example() -> None:
    assert set(KNOWN.split()) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        is_extra = str(error.name).partition(".")[0] not in PACKAGES
        if not is_extra or os.environ.get("LEARNAE_REQUIRE_ENGINES") == "1":
            raise
        pytest.skip(f"module {error.name!r} is not installed")
    failed, tried = doctest.testmod(module)
    assert not failed, capsys.readouterr().out
    assert tried
