"""Runs this project's programs as users do, with a home of their own: in a process, or in this one, which is faster."""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from learnae.cli.commands.look import doctor, trials
from learnae.swarm.directory import create_swarm
from learnae.swarm.manifest import Manifest

Finished = subprocess.CompletedProcess[str]

_LAST_LINES = 30
_MAINS = {"trainer_node": "trainer_node.start", "agent": "agent.cli", "firmware_bridge": "firmware_bridge.cli"}
NO_FLOORS = {"LEARNAE_PRIVACY__ROWS": "0", "LEARNAE_PRIVACY__DRAWS": "0", "LEARNAE_PRIVACY__MERGE_FIRST": "false"}
PATIENCE = 60.0  # seconds for what normally takes less than one: a machine may be busy, and stand still for seconds


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value of ``condition``; fails with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
    return found


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process' environment without Learnae's own variables and without a terminal's."""
    dropped = ("LEARNAE_", "XDG_", "NOTIFY_SOCKET", "JOURNAL_STREAM", "COLUMNS", "FORCE_COLOR", "CLICOLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TERM": "dumb", **changes}


def end_logging() -> None:
    """Forget the standard error that a program's ``main`` logs to."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        root.removeHandler(handler)


def finish(*command: object, **options: Any) -> Finished:
    """Run a command to its end, whatever that is."""
    usual = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 600}
    done: Finished = subprocess.run(list(map(str, command)), check=False, **(usual | options))
    return done


def succeed(*command: object, **options: Any) -> Finished:
    """Run a command that has to succeed; what it does otherwise is shown."""
    done = finish(*command, **options)
    assert done.returncode == 0, f"{command[-1]}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done


@cache
def tried(names: tuple[str, ...]) -> dict[str, str]:
    """What the doctor finds as it tries what is installed: that takes seconds of JAX, so one try serves all tests."""
    return trials.try_parts(names)


class Child(subprocess.Popen[str]):
    """A process whose output goes to files, so that it never waits for a reader."""

    def __init__(self, command: Sequence[str], words: Path, environment: Mapping[str, str], cwd: Path) -> None:
        """``words`` is where its standard output and error go, with the suffixes .out and .err."""
        words.parent.mkdir(exist_ok=True)
        out, self._err = (words.with_suffix(suffix) for suffix in (".out", ".err"))
        with out.open("wb") as stdout, self._err.open("wb") as stderr:
            streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
            super().__init__(command, env=environment, cwd=cwd, text=True, **streams)
        self.started = time.time_ns() // 1_000_000
        self._unread = {"out": out.open(), "err": self._err.open()}

    @property
    def log(self) -> str:
        """Return all that it has written to standard error so far."""
        return self._err.read_text()

    def line(self, stream: str = "out") -> str:
        """Return the next unread line of ``out`` or ``err``; waits for it."""
        found = ""

        def came() -> bool:
            nonlocal found
            found += self._unread[stream].readline()
            return found.endswith("\n")

        wait_for(came, "a line")
        return found

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return its unread output."""
        assert input is None
        self.wait(timeout)
        return self._unread["out"].read(), self._unread["err"].read()

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Let it save and end; returns all that it has logged."""
        self.send_signal(number)
        assert self.wait(2 * PATIENCE) == 0, self.log
        return self.log

    def last_words(self) -> str:
        """For people who look why a test fails."""
        lines = self.log.splitlines()[-_LAST_LINES:]
        return "\n".join([f"-- {' '.join(map(str, self.args[2:]))}: {self.returncode}", *lines])

    def close(self) -> None:
        """End it, and let go of the files."""
        self.kill()
        self.wait()
        for file in self._unread.values():
            file.close()


class Programs:
    """A user's machine in ``root``; a context manager that ends every process it started."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.config = root / "config"
        self.started: list[Child] = []
        self._detached: set[int] = set()

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            process.close()
            print(process.last_words())  # pytest shows it if the test has failed
        for pid in self._detached:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def environment(self, **changes: str) -> dict[str, str]:
        """Nothing of the real user's home is seen; peers train with the engine that starts at once, on few rows."""
        own = {"LEARNAE_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.config), "LEARNAE_TRAIN__ENGINE": "numpy"}
        return clean_environment(**{**own, **NO_FLOORS, **changes})

    def add_swarm(self, manifest: Manifest) -> Path:
        """Make a swarm where all programs look; returns its directory."""
        mark = self.home / "created" / str(manifest.swarm)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        return create_swarm(manifest, self.home / "swarms" / str(manifest.swarm)).directory

    def run(self, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
        """What ``python -m module`` answers, from its ``main`` in this process: no imports, which take a second."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
        words = [module, *map(str, arguments)]
        with (
            mock.patch.dict(os.environ, self.environment(**(environment or {})), clear=True),
            mock.patch.object(sys, "argv", words),
            mock.patch.object(doctor, "try_parts", lambda names: tried(tuple(names))),
            chdir(self.root),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main = importlib.import_module(_MAINS.get(module, f"{module}.__main__")).main
            status: Any = None
            try:
                main()
            except SystemExit as ended:
                status = ended.code
            finally:
                end_logging()
        for stream in (out, err):
            stream.seek(0)
        return Finished(words, status or 0, out.read(), err.read())

    def run_process(self, module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
        """Run ``python -m module`` to its end: for what only a process has, such as its streams."""
        variables = self.environment(**(environment or {}))
        return finish(sys.executable, "-m", module, *arguments, env=variables, cwd=self.root)

    def answer(self, module: str, *arguments: object) -> Any:
        """Return the JSON that a successful run prints."""
        done = self.run(module, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(
        self,
        module: str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        pause: float | None = 0.05,
        within: Sequence[str] = (),
    ) -> Child:
        """Start ``python -m module``, which this object ends if nothing else does; ``within`` is what runs it.

        ``pause`` seconds between two updates; None leaves that to the configuration. A trainer trains a fifth of the
        time.
        """
        paused = {} if pause is None else {"LEARNAE_PUBLISH__EVERY": str(pause)}
        if module == "trainer_node":  # many processes share the machine that runs the tests
            paused["LEARNAE_TRAIN__SHARE"] = "0.2"
        process = Child(
            [*within, sys.executable, "-m", module, *map(str, arguments)],
            self.root / ".said" / str(len(self.started)),
            self.environment(**{**paused, **(environment or {})}),
            self.root,
        )
        self.started.append(process)
        return process

    def adopt(self, pid: int) -> None:
        """End this process, too, if it still runs."""
        self._detached.add(pid)

    def disown(self, pid: int) -> None:
        """Note that this process has ended; its number may be another's now."""
        self._detached.discard(pid)

    def status(self, name: str) -> dict[str, Any]:
        """Return the peer's last status; empty before the first."""
        said: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            said = json.loads((self.home / "peers" / name / "status.json").read_text())
        return said

    def wait_for_steps(self, name: str, process: Child, more_than: int = 0) -> dict[str, Any]:
        """Wait until the peer has trained further; ``process`` has said so, not one that ran before it."""

        def reached() -> dict[str, Any] | None:
            if process.poll() is not None:
                raise AssertionError(f"{name} ended with {process.returncode}: {process.log}")
            said = self.status(name)
            return said if said.get("steps", 0) > more_than and said["time"] > process.started else None

        # Keras and JAX alone take ten seconds of a processor to start, and tests share two
        found: dict[str, Any] = wait_for(reached, f"{name} to train", 4 * PATIENCE)
        return found


def assert_refused(done: Finished, status: int, *words: object) -> None:
    """Assert that it ended with ``status`` and, besides its log, one line of error that has ``words``; no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stderr
    said = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d INFO ", line)]
    assert len(said) == 1, done.stderr
    for word in words:
        assert str(word) in said[0]
    assert done.stdout == ""
