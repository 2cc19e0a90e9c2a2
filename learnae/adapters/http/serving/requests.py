"""Reads the HTTP/1.1 requests of strangers (RFC 9112), strictly and bounded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from learnae.errors import EncodingError, LimitError, PeerError

HEAD_BYTES = 8192  # of the request line and all headers; a client of ours sends 300
HEAD_END = b"\r\n\r\n"

_LINE = re.compile(rb"([A-Z]{3,8}) ([!-~]+) HTTP/1\.([01])")
# spaces around a value are stripped: to match them apart from it takes n^2 steps
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_ONCE = ("content-length", "host", "transfer-encoding", "if-none-match")
_MAX_FIELDS = 64
_SHOWN = 60  # characters of what a stranger sent, in an error


class RefusedError(Exception):
    """Says that a request is answered with ``status`` alone; ``error`` is what is counted, if it is worth that."""

    def __init__(self, status: int, error: PeerError | None = None) -> None:
        self.status = status
        self.error = error
        super().__init__(f"HTTP {status}")


@dataclass(frozen=True, slots=True)
class Request:
    """Holds one request without its body: ``length`` bytes follow. Names of ``headers`` are in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int = 0
    keeps: bool = True  # the connection stays for another one
    asker: bytes = b""  # what the requests of one machine have in common

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Read all up to the empty line; raises RefusedError.

        >>> request = Request.parse(b"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\\r\\nHost: board\\r\\n\\r\\n")
        >>> request.path, dict(request.query), request.keeps
        ('/ipfs/bafkqaaa', {'format': 'raw'}, True)
        """
        line, *fields = head.removesuffix(HEAD_END).split(b"\r\n")
        found = _LINE.fullmatch(line)
        if not found:
            raise _garbage("a request line", line)
        method, target, minor = (part.decode() for part in found.groups())
        if not target.startswith("/"):  # a proxy's form: only this machine's own is answered
            raise _garbage("a target", line)
        headers = read_headers(fields)
        if minor == "1" and "host" not in headers:
            raise _garbage("a header host", line)
        if "transfer-encoding" in headers:
            raise RefusedError(501, EncodingError("a request with a transfer coding", "it must say its length"))
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,12}", length):
            raise _garbage("a length", length.encode())
        path, _, query = target.partition("?")
        connection = headers.get("connection", "").lower()
        keeps = "close" not in connection if minor == "1" else False
        return cls(method, path, _query(query), headers, int(length), keeps)


def read_headers(fields: list[bytes]) -> dict[str, str]:
    """Return the values by name, in lower case; raises RefusedError."""
    if len(fields) > _MAX_FIELDS:
        raise RefusedError(431, LimitError(f"a request with {len(fields)} headers", f"at most {_MAX_FIELDS} are read"))
    headers: dict[str, str] = {}
    for one in fields:
        found = _FIELD.fullmatch(one)
        if not found:
            raise _garbage("a header", one)
        name, value = found[1].decode().lower(), found[2].decode("latin-1").strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise _garbage(f"one header {name}", one)
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _query(text: str) -> dict[str, str]:
    """Return the first value of each name, as servers of gateways do."""
    query: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        query.setdefault(name, unquote(value.replace("+", " ")))
    return query


def _garbage(expected: str, found: bytes) -> RefusedError:
    shown = found[:_SHOWN].decode("latin-1")
    return RefusedError(400, EncodingError(f"a request with {shown!r} where {expected} is expected", "it is refused"))
