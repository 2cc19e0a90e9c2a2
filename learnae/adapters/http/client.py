"""One HTTP server as a client of ours sees it: kept connections, one deadline a request, nothing followed or guessed.

No proxy of the environment, no .netrc, no redirect: what is asked for is answered from there, or it is not.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from learnae.adapters.http.connection import Answer
from learnae.errors import TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES

USER_AGENT = {"User-Agent": "learnae", "Accept-Encoding": "identity"}  # a compressed body could be any size


class Connecting(Protocol):
    """What a client needs of a connection, such as connection.Connection: its methods raise OSError or ValueError."""

    timeout: float | None

    @property
    def sock(self) -> socket.socket | None:
        """Return the socket, once there is one."""

    def connect(self) -> None:
        """Connect."""

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send a request."""

    def answer(self, most: int) -> tuple[Answer, bool]:
        """Read the answer, of its body at most one byte more than ``most``; say whether another request may follow."""

    def close(self) -> None:
        """Let go of it."""


class SilenceError(Exception):
    """Says that nothing, or not everything, has come in time."""


class HttpClient:
    """Asks one server, ``name`` in errors; ``connect`` makes a connection, ``remedy`` says what to do if that fails.

    Safe to use from several threads.
    """

    def __init__(self, name: str, connect: Callable[[], Connecting], remedy: Callable[[Exception], str]) -> None:
        self.name = name
        self.connect = connect
        self._remedy = remedy
        self._lock = threading.Lock()
        self.idle: list[Connecting] = []
        self._busy: set[Connecting] = set()
        self._closed = False

    def ask(
        self,
        method: str,
        path: str,
        seconds: float,
        headers: Mapping[str, str],
        body: bytes | None = None,
        most: int = MAX_BLOCK_BYTES,
    ) -> Answer:
        """Send one request, on a kept connection if one still works. Raises SilenceError, TransportError."""
        while True:
            connection, is_new = self._take(seconds)
            was_late = threading.Event()
            late = threading.Timer(seconds, _cut, [connection, was_late])  # a socket's timeout starts with every byte
            late.daemon = True
            try:
                late.start()
                if connection.sock is None:
                    connection.connect()
                if was_late.is_set() or self._closed:  # neither finds a connection that is only being made
                    raise TimeoutError
                connection.request(method, path, body, dict(headers))
                answer, is_usable = connection.answer(most)
                late.cancel()  # before another thread may have the connection
                if was_late.is_set():  # an end may be taken for the end of the headers
                    raise TimeoutError
                self._give_back(connection, is_usable)
                return answer
            except (OSError, ValueError) as error:
                self._give_back(connection, is_usable=False)
                if self._closed:
                    raise TransportError(f"the link to {self.name} is closed") from error
                if was_late.is_set() or isinstance(error, TimeoutError):
                    raise SilenceError from error
                if is_new:
                    raise TransportError(f"{self.name} cannot be reached: {error}", self._remedy(error)) from error
            finally:
                late.cancel()

    def close(self) -> None:
        """End calls under way, and every later one, with TransportError. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self.idle = self.idle, []
            for connection in self._busy:
                _cut(connection)
        for connection in idle:
            connection.close()

    def _take(self, seconds: float) -> tuple[Connecting, bool]:
        with self._lock:
            if self._closed:
                raise TransportError(f"the link to {self.name} is closed")
            is_new = not self.idle
            connection = self.connect() if is_new else self.idle.pop()
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            self._busy.add(connection)
            return connection, is_new

    def _give_back(self, connection: Connecting, is_usable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if is_usable and not self._closed:
                self.idle.append(connection)
                return
        connection.close()


def _cut(connection: Connecting, done: threading.Event | None = None) -> None:
    """End what another thread waits for."""
    if done:
        done.set()
    made = connection.sock
    if made is not None:
        with suppress(OSError):  # it has ended by itself
            socket.socket.shutdown(made, socket.SHUT_RDWR)  # of TLS, only what is below it: another thread reads
