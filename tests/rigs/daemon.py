"""What the real engines of tests have in common: a process on loopback that is killed, hung and started again."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
# below those that the system gives to connections: what is free while its engine is down must stay so
_PORTS = range(10_000, 32_000)
_EACH = 200  # ports of one process


def free_port() -> int:
    """Return a port without a listener, and that no connection is given."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of so many in a row."""
    mine = _own_ports()
    for _ in range(_EACH):
        first = mine.take(count)
        with ExitStack() as listening, suppress(OSError):
            for port in range(first, first + count):
                listening.enter_context(socket.create_server((HOST, port)))
            return first
    raise AssertionError(f"no {count} free ports in a row in {mine.ports}")


class _Ports:
    """Ports of this process alone, each given again as late as can be: what is not listened at yet stays free."""

    def __init__(self, first: int) -> None:
        """Raises OSError if they are another's."""
        self.ports, self._given = range(first, first + _EACH), 0
        self._lock = socket.socket(socket.AF_UNIX)  # abstract: it goes with the process
        try:
            self._lock.bind(f"\0learnae-tests-{first}")
        except OSError:
            self._lock.close()
            raise

    def take(self, count: int) -> int:
        if self._given + count > _EACH:
            self._given = 0
        self._given += count
        return self.ports[self._given - count]


@cache
def _own_ports() -> _Ports:
    for first in random.SystemRandom().sample(_PORTS[::_EACH], len(_PORTS[::_EACH])):
        with suppress(OSError):
            return _Ports(first)
    raise AssertionError("more tests run at the same time than there are ports for")


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
