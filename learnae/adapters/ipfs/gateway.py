"""Read-only exchange over any trustless IPFS gateway, such as a trainer's Kubo, with the standard library.

https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from ssl import SSLCertVerificationError
from urllib.parse import quote, urljoin, urlsplit

from learnae.adapters.block_backoffs import BlockBackoffs
from learnae.adapters.tls import authorities_of, client_context
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.overriding import override
from learnae.ports import Exchange
from learnae.text import host_of

_log = logging.getLogger(__name__)

_PROBE = "bafkqaaa"  # the empty block, which is in its own name: every gateway has it
_FIRST_WAIT_SECONDS = 2.0  # for a block at first: a gateway begins with its own blocks
_PROBE_SECONDS = 3.0  # for the probe, which needs no search
_NOT_THERE = (404, 410, 412, 429, 500, 502, 504)  # not found, gone, not cached, too many, or its own search ended
_HEADERS = {
    "Accept": "application/vnd.ipld.raw",
    "Accept-Encoding": "identity",  # a compressed body could be any size
    "User-Agent": "learnae",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    location: str


class _SilenceError(Exception):
    """Says that nothing, or not everything, has come in time."""


class GatewayExchange(Exchange):
    """Only fetches blocks, from the gateway at ``url``; nothing can be offered to it.

    A gateway is not trusted: no redirect is followed, the body is capped, and no answer takes longer than allowed.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        ca_file: str = "",
        first_wait: float = _FIRST_WAIT_SECONDS,
        probe_seconds: float = _PROBE_SECONDS,
    ) -> None:
        """Trust what ``ca_file`` has signed, if ``url`` is at https. Raises ConfigurationError."""
        self._url, self.name = url, host_of(url)
        self._parts = urlsplit(url)
        self._port = self._parts.port or (443 if self._parts.scheme == "https" else 80)
        self._path = quote(self._parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")  # what is quoted already stays
        self._headers = _HEADERS
        if (self._parts.hostname or "").rstrip(
            "."
        ) == "localhost":  # Kubo sends that name to another host for each block
            self._headers = {**_HEADERS, "Host": f"127.0.0.1:{self._port}"}
        with authorities_of("ipfs.ca_file"):
            self._tls = client_context(ca_file) if self._parts.scheme == "https" else None
        self._probe_seconds = probe_seconds
        self._backoffs = BlockBackoffs(first_wait, timeout)
        self._lock = threading.Lock()
        self._idle: list[HTTPConnection] = []
        self._busy: set[HTTPConnection] = set()
        self._closed = False

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        """Do nothing: a gateway is read only."""

    @override
    def fetch(self, cid: Cid) -> bytes:
        try:
            answer = self._get(str(cid), self._backoffs.seconds(cid))
        except _SilenceError as error:
            self._backoffs.failed(cid)
            self._probe()  # is it still looking for the block, or is it hanging?
            raise BlockMissingError(f"gateway {self.name} has not found block {cid} yet") from error
        if answer.status in _NOT_THERE:
            self._backoffs.failed(cid)
            raise BlockMissingError(f"gateway {self.name} has not got block {cid}")
        self._check(answer, str(cid))
        self._backoffs.succeeded(cid)
        _log.debug("%s: got block %s, %d bytes", self.name, cid, len(answer.body))
        return answer.body

    @override
    def keep(self, cid: Cid) -> None:
        """Do nothing: a gateway is read only."""

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return nothing, if the gateway answers."""
        self._probe()
        return ()

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        """Do nothing: a gateway is read only."""

    @override
    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._busy:
                _cut(connection)
        for connection in idle:
            connection.close()

    def _probe(self) -> None:
        try:
            self._check(self._get(_PROBE, self._probe_seconds), _PROBE)
        except _SilenceError as error:
            raise TransportError(f"gateway {self.name} does not answer", "see whether its daemon hangs") from error

    def _check(self, answer: _Answer, name: str) -> None:
        if 300 <= answer.status < 400:
            problem = f"gateway {self.name} sends us to {host_of(answer.location)[:100]!r}"
            raise TransportError(problem, self._how_to_get(answer.location[:1000], name))
        if answer.status != 200:
            raise TransportError(f"gateway {self.name} answers with HTTP {answer.status}", "is it a trustless gateway?")

    def _how_to_get(self, location: str, name: str) -> str:
        """Return the remedy for a redirect to ``location`` for the block ``name``: one that holds for all blocks."""
        try:
            parts = urlsplit(urljoin(f"{self._url}/ipfs/{name}", location))
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return "is it a trustless gateway?"
        if ".ipfs." in host:
            return (
                "it has a host name for each block, which is not followed: name it by its IP address, "
                f"such as {self._parts.scheme}://127.0.0.1:{self._port} on this machine, or a gateway of paths"
            )
        path, found, rest = parts.path.partition(f"/ipfs/{name}")
        url = f"{parts.scheme}://{parts.netloc}{path}"
        is_address = found and not rest.strip("/") and parts.scheme in ("http", "https") and "@" not in parts.netloc
        if not is_address or url == self._url:
            return "is it a trustless gateway?"
        return f"write {url!r} into ipfs.gateways in its place"

    def _get(self, name: str, seconds: float) -> _Answer:
        """Send one request, on a kept connection if one still works. Raises _SilenceError, TransportError."""
        path = f"{self._path}/ipfs/{name}?format=raw"
        while True:
            connection, is_new = self._take(seconds)
            was_late = threading.Event()
            late = threading.Timer(seconds, _cut, [connection, was_late])  # a socket's timeout starts with every byte
            try:
                late.start()
                if connection.sock is None:
                    connection.connect()
                if was_late.is_set() or self._closed:  # neither finds a connection that is only being made
                    raise TimeoutError
                connection.request("GET", path, headers=self._headers)
                answer, is_usable = _read(connection)
                late.cancel()  # before another thread may have the connection
                if was_late.is_set():  # http.client takes an end for the end of the headers
                    raise TimeoutError
                self._give_back(connection, is_usable)
                return answer
            except (OSError, HTTPException, ValueError) as error:
                self._give_back(connection, is_usable=False)
                if self._closed:
                    raise TransportError(f"the link to gateway {self.name} is closed") from error
                if was_late.is_set() or isinstance(error, TimeoutError):
                    raise _SilenceError from error
                if is_new:
                    remedy = "check its address"
                    if isinstance(error, SSLCertVerificationError):
                        remedy = "set ipfs.ca_file to what signed its certificate"
                    elif "WRONG_VERSION_NUMBER" in str(error):
                        remedy = "it does not speak TLS: write http:// into ipfs.gateways"
                    raise TransportError(f"gateway {self.name} cannot be reached: {error}", remedy) from error
            finally:
                late.cancel()

    def _take(self, seconds: float) -> tuple[HTTPConnection, bool]:
        with self._lock:
            if self._closed:
                raise TransportError(f"the link to gateway {self.name} is closed")
            is_new = not self._idle
            connection = self._connect() if is_new else self._idle.pop()
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            self._busy.add(connection)
            return connection, is_new

    def _connect(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._port
        return HTTPSConnection(host, port, context=self._tls) if self._tls else HTTPConnection(host, port)

    def _give_back(self, connection: HTTPConnection, is_usable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if is_usable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _read(connection: HTTPConnection) -> tuple[_Answer, bool]:
    """Read the answer, and whether the connection may be used again: not if more follows, or if it will close."""
    response: HTTPResponse = connection.getresponse()
    body = response.read(MAX_BLOCK_BYTES + 1)
    if response.length and len(body) <= MAX_BLOCK_BYTES:
        raise IncompleteRead(body, response.length)
    is_usable = response.isclosed() and not response.will_close
    return _Answer(response.status, body, response.headers.get("Location", "")), is_usable


def _cut(connection: HTTPConnection, done: threading.Event | None = None) -> None:
    """End what another thread waits for."""
    if done:
        done.set()
    made = connection.sock
    if made is not None:
        with suppress(OSError):  # it has ended by itself
            socket.socket.shutdown(made, socket.SHUT_RDWR)  # of TLS, only what is below it: another thread reads
