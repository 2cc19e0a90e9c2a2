"""What the real engines of tests have in common: a process on loopback that is killed, hung and started again."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
# below those that the system gives to connections: what is free while its engine is down must stay so
_PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a port without a listener, and that no connection is given."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of so many in a row."""
    for first in random.SystemRandom().sample(_PORTS, 1000):
        with ExitStack() as listening, suppress(OSError):
            for port in range(first, first + count):
                listening.enter_context(socket.create_server((HOST, port)))
            return first
    raise AssertionError(f"no free ports between {_PORTS.start} and {_PORTS.stop}")


class Daemon:
    """A process with its files and its ``log`` in ``directory``; a context manager that starts and ends it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and return when it answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Return the running process' number."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """Return all that it has logged."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """End it, as a power cut does by default."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.send_signal(signal.SIGCONT)  # a hanging one hears nothing but SIGKILL before
            self._process.wait(timeout=60)
            self._process = None

    def hang(self) -> None:
        """Stop it: it stays connected and does nothing, until ``resume``."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _launch(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _assert_runs(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log
