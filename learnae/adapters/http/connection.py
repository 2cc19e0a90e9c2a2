"""One connection to a member's server: HTTP/1.1 as members speak it, on a socket.

Python's own http.client brings TLS and a parser of mail with it, 4 MB of a board's memory, also where neither is used.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from learnae.adapters.http.serving.requests import HEAD_BYTES, HEAD_END, RefusedError, read_headers

_STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\t -~]*)?")
_NO_BODY = (204, 304)
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds what came back; of a body at most one byte more than was allowed."""

    status: int
    body: bytes
    location: str = ""
    etag: str = ""


class Connection:
    """Connects when it is told to; ``timeout`` in seconds holds for each wait. ``sock`` is None before that."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.timeout: float | None = None
        self.sock: socket.socket | None = None
        self._name = f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}"

    def connect(self) -> None:
        """Connect; raises OSError."""
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send a request; raises OSError."""
        assert self.sock is not None, "connect comes first"
        fields = {"Host": self._name, **headers}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))

    def answer(self, most: int) -> tuple[Answer, bool]:
        """Read the answer, and whether the connection may be used again; raises OSError, ValueError for noise."""
        data = b""
        while HEAD_END not in data:
            if len(data) > HEAD_BYTES:
                raise ValueError("an answer with too many headers")
            data += self._receive()
        head, _, rest = data.partition(HEAD_END)
        line, *fields = head.split(b"\r\n")
        found = _STATUS.fullmatch(line)
        try:
            headers = read_headers(fields)
        except RefusedError as error:
            raise ValueError("an answer with wrong headers") from error
        length = headers.get("content-length", "")
        if not found or "transfer-encoding" in headers:
            raise ValueError("no answer of a member's server")
        status = int(found[1])
        if status in _NO_BODY:
            length = "0"
        if not re.fullmatch("[0-9]{1,12}", length):
            raise ValueError("an answer without a length")
        size = min(int(length), most + 1)
        parts, left = [rest[:size]], size - len(rest)
        while left > 0:
            parts.append(self._receive(min(_CHUNK, left)))
            left -= len(parts[-1])
        is_usable = len(rest) <= size == int(length) and "close" not in headers.get("connection", "").lower()
        return Answer(status, b"".join(parts), headers.get("location", ""), headers.get("etag", "")), is_usable

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self.sock is not None:
            self.sock.close()

    def _receive(self, most: int = HEAD_BYTES) -> bytes:
        assert self.sock is not None, "connect comes first"
        data = self.sock.recv(most)
        if not data:
            raise ConnectionError("it hung up")
        return data
