"""Tests that need a real engine or a heavy module: skipped where it is missing, failed where it is required.

``@pytest.mark.engine("mosquitto")`` needs a program on PATH, ``@pytest.mark.modules("keras")``
an importable module. With ``LEARNAE_REQUIRE_ENGINES=1``, as in CI, nothing of that may be missing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs

# a user's PATH need not have where Debian puts daemons
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


def pytest_configure(config: pytest.Config) -> None:
    """Markers of these tests that setup.cfg does not declare."""
    config.addinivalue_line(
        "markers", "modules(*names): needs these modules; skipped without them unless LEARNAE_REQUIRE_ENGINES=1"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail before any fixture is made."""
    missing = "; ".join(_missing(item))
    if missing and os.environ.get("LEARNAE_REQUIRE_ENGINES") == "1":
        pytest.fail(f"{missing}, but LEARNAE_REQUIRE_ENGINES=1", pytrace=False)
    if missing:
        pytest.skip(missing)


def _missing(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("engine"):
        for name in marker.args:
            if shutil.which(name, path=_PLACES) is None:
                yield f"program {name!r} is not on PATH"
    for marker in item.iter_markers("modules"):
        for name in marker.args:
            if importlib.util.find_spec(name) is None:
                yield f"module {name!r} is not installed"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped and why, also with -q."""
    reports = terminalreporter.stats.get("skipped", [])
    if not reports:
        return
    terminalreporter.section("skipped, and why")
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {str(reason).removeprefix('Skipped: ')}")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """This project's programs, with a home of their own; all that were started are ended."""
    with Programs(tmp_path) as found:
        yield found
