"""Tests that need a real engine or a heavy module: skipped where it is missing, failed where it is required.

``@pytest.mark.engine("mosquitto")`` needs a program on PATH (or a path to be there), ``@pytest.mark.modules("keras")``
an importable module. With ``LEARNAE_REQUIRE_ENGINES=1``, as in CI, nothing of that may be missing, except
for the engines that no registry has (``IN_NO_REGISTRY``): they are skipped also there, and the reason says so.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from nightly import how_many
from programs import Programs, end_logging

if TYPE_CHECKING:
    from tangles import HornetTangle, LoopbackTangle, Tangle

# a user's PATH need not have where Debian puts daemons
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])

# programs that cannot be installed from a package registry: used where they have been put by hand
IN_NO_REGISTRY = {"hornet": "LEARNAE_HORNET"}  # name, and the variable that may name it

# Hypothesis runs the same few examples every time, however long they take: a machine may stand still for seconds
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C, and take no part in the jobs of a ``make`` that runs these tests."""
    os.environ.pop("MAKEFLAGS", None)
    if how_many(1, 0):  # most of what JAX costs here is compiling for tiny models: 0.6 of it; nightly as users do
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job ignores it, and so would they
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail before any fixture is made."""
    for marker in item.iter_markers("engine"):
        for name in IN_NO_REGISTRY.keys() & set(marker.args):
            if not _is_here(os.environ.get(IN_NO_REGISTRY[name]) or name):
                pytest.skip(f"program {name!r} is not on PATH, and in no registry that it could be required from")
    missing = "; ".join(_missing(item))
    if missing and os.environ.get("LEARNAE_REQUIRE_ENGINES") == "1":
        pytest.fail(f"{missing}, but LEARNAE_REQUIRE_ENGINES=1", pytrace=False)
    if missing:
        pytest.skip(missing)


def _missing(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("engine"):
        for name in set(marker.args) - IN_NO_REGISTRY.keys():
            if not _is_here(name):
                yield f"{name} is not here" if name.startswith("/") else f"program {name!r} is not on PATH"
    for marker in item.iter_markers("modules"):
        for name in marker.args:
            if importlib.util.find_spec(name) is None:
                yield f"module {name!r} is not installed"


def _is_here(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=_PLACES) is not None


@pytest.fixture(autouse=True)
def _no_log_outlives_its_test() -> Iterator[None]:
    """Remove the handler of a program's ``main`` that ran here: its standard error is closed after the test."""
    yield
    end_logging()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped and why, also with -q."""
    names = defaultdict[str, list[str]](list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        names[str(reason).removeprefix("Skipped: ")].append(report.nodeid)
    if not names:
        return
    terminalreporter.section("skipped, and why (engines: scripts/install-engines)")
    for reason, skipped in sorted(names.items(), key=lambda item: -len(item[1])):
        files = dict.fromkeys(Path(name.partition("::")[0]).stem for name in skipped)
        terminalreporter.line(f"{len(skipped)} skipped: {reason} ({', '.join(files)})")


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Give this project's programs a home of their own; all that were started are ended."""
    with Programs(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def hornets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HornetTangle]:
    """Start a private Tangle of two Hornet nodes; a test that kills one starts it again."""
    from tangles import HornetTangle

    with HornetTangle(tmp_path_factory.mktemp("hornets") / "tangle") as found:
        found.start_all()
        yield found


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[LoopbackTangle]:
    """Start a loopback node."""
    from tangles import LoopbackTangle

    found = LoopbackTangle(tmp_path / "tangle")
    with found.node:
        yield found


@pytest.fixture(params=["loopback", pytest.param("hornets", id="hornet", marks=pytest.mark.engine("hornet"))])
def tangle(request: pytest.FixtureRequest) -> Tangle:
    """Start a Tangle: the loopback node always, Hornet where it is here."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that other users may enter: pytest closes its own whenever another run of it begins."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)
