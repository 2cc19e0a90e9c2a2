"""A page's server with a board that a thread writes to, as a tick does; and plain HTTP to it, byte by byte."""

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from learnae.dashboard.access import Access, mint_token
from learnae.dashboard.board import Board, Point
from learnae.dashboard.server import DashboardServer, ServerBounds, Write

KEY, RUN = bytes(range(32)), b"this run"
Headers = dict[str, str]


class PageServer:
    """Serves ``parts``, which tests change; a context manager. ``built`` counts the states that were made."""

    def __init__(
        self,
        writes: Mapping[str, Write] | None = None,
        bounds: ServerBounds | None = None,
        metrics: bool = True,
        **parts: Any,
    ) -> None:
        self.board = Board()
        self.parts = parts or {"now": {"time": 1}}
        self.built = 0
        self.time = 1_700_000_000.0
        self.board.history.note(Point(1000, 0.5, 1.0, None, None))
        self.server = DashboardServer(
            self.board, ("127.0.0.1", 0), self._access, writes or {}, metrics=metrics, bounds=bounds
        )
        self._stop = threading.Event()
        self._tick = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self.server.start()
        self._tick.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._tick.join()
        self.server.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def token(self) -> str:
        return mint_token(KEY, RUN, self.time)

    def cookie(self) -> str:
        """Return the header's value that a good token is turned into."""
        _, headers, _ = self.get(f"/?t={self.token()}")
        return headers["set-cookie"].partition(";")[0]

    def get(self, path: str, **headers: str) -> tuple[int, Headers, bytes]:
        return self.ask("GET", path, **headers)

    def post(self, path: str, wish: object, **headers: str) -> tuple[int, Headers, bytes]:
        body = json.dumps(wish).encode()
        usual = {"Content-Type": "application/json", "Origin": f"http://{self.host}"}
        return self.ask("POST", path, body, **{**usual, **{_named(name): value for name, value in headers.items()}})

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Headers, bytes]:
        """Send one request, and return status, headers and body."""
        fields = {"Host": self.host, "Connection": "close", **{_named(name): value for name, value in headers.items()}}
        if body:
            fields["Content-Length"] = str(len(body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        return self.say(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def say(self, data: bytes) -> tuple[int, Headers, bytes]:
        """Send bytes, and return what comes back until the other end closes."""
        with self.connect() as connection, suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(data)
            return answer_in(read_all(connection))
        return 0, {}, b""

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), 30)

    def _access(self, port: int) -> Access:
        return Access(KEY, RUN, port, (), lambda: self.time)

    def _work(self) -> None:
        while not self._stop.wait(0.01):
            if self.board.is_wanted:
                self.built += 1
                self.board.publish({name: json.dumps(value) for name, value in self.parts.items()}, "learnae_up 1\n")


def _named(name: str) -> str:
    return name.replace("_", "-")


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other end closes."""
    found = b""
    with suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            found += more
    return found


def answer_in(data: bytes) -> tuple[int, Headers, bytes]:
    """Return status, headers by name in lower case, and body; 0 where nothing came."""
    if not data:
        return 0, {}, b""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body
