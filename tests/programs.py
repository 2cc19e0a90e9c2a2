"""Runs this project's programs as users do: real processes, with a home of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

Finished = subprocess.CompletedProcess[str]

PATIENCE = 30.0  # seconds for what normally takes less than one: other tests share the machine


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of ``condition``; fails with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
    return found


def clean_environment(**changes: str) -> dict[str, str]:
    """This process' environment without Learnae's own variables and without a terminal's."""
    dropped = ("LEARNAE_", "XDG_", "NOTIFY_SOCKET", "JOURNAL_STREAM", "COLUMNS", "FORCE_COLOR", "CLICOLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TERM": "dumb", **changes}


class Programs:
    """A user's machine in ``root``; a context manager that ends every process it started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.config = root / "config"
        self.started: list[subprocess.Popen[str]] = []
        self._detached: set[int] = set()

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid in self._detached:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def environment(self, **changes: str) -> dict[str, str]:
        """Nothing of the real user's home is seen; peers train with the engine that starts at once."""
        own = {
            "LEARNAE_HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.config),
            "LEARNAE_TRAIN__ENGINE": "numpy",
        }
        return clean_environment(**{**own, **changes})

    def run(self, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
        """Run ``python -m module`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=self.environment(**(environment or {})),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )

    def answer(self, module: str, *arguments: object) -> Any:
        """The JSON that a successful run prints."""
        done = self.run(module, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(
        self,
        module: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        pause: float | None = 0.05,
    ) -> subprocess.Popen[str]:
        """Start ``python -m module``, which this object ends if nobody else does.

        ``pause`` seconds between two updates; None leaves that to the configuration.
        """
        paused = {} if pause is None else {"LEARNAE_TRAIN__PAUSE": str(pause)}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            env=self.environment(**{**paused, **(environment or {})}),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def adopt(self, pid: int) -> None:
        """End this process, too, if it still runs."""
        self._detached.add(pid)

    def disown(self, pid: int) -> None:
        """This process has ended; its number may be somebody else's now."""
        self._detached.discard(pid)

    def status(self, name: str) -> dict[str, Any]:
        """What the peer last said of itself; nothing before it did."""
        try:
            said: dict[str, Any] = json.loads((self.home / "peers" / name / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return said

    def wait_for_steps(self, name: str, process: subprocess.Popen[str], more_than: int = 0) -> dict[str, Any]:
        """Wait until the peer has trained further."""

        def reached() -> dict[str, Any] | None:
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}: {process.communicate()[1]}")
            said = self.status(name)
            return said if said.get("steps", 0) > more_than else None

        # Keras and JAX alone take ten seconds of a processor to start, and tests share two
        found: dict[str, Any] = wait_for(reached, f"{name} to train", 4 * PATIENCE)
        return found


def assert_refused(done: Finished, status: int, *words: object) -> None:
    """It ended with ``status`` and one line on standard error, besides its log, that has ``words``; no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stderr
    said = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d INFO ", line)]
    assert len(said) == 1, done.stderr
    for word in words:
        assert str(word) in said[0]
    assert done.stdout == ""
