"""Read-only exchange over any trustless IPFS gateway, such as a trainer's Kubo, with the standard library."""

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ssl import SSLCertVerificationError
from urllib.parse import quote, urljoin, urlsplit

from learnae.adapters.http.block_reader import HEADERS, BlockReader, ReaderWaits
from learnae.adapters.http.client import HttpClient
from learnae.adapters.http.connection import Answer
from learnae.adapters.tls import authorities_of, client_context
from learnae.basics.overriding import override
from learnae.errors import TransportError
from learnae.text import host_of

_FIRST_WAIT_SECONDS = 2.0  # for a block at first: a gateway begins with its own blocks
_PROBE_SECONDS = 3.0  # for the probe, which needs no search


class GatewayExchange(BlockReader):
    """Only fetches blocks, from the gateway at ``url``."""

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
        path = quote(self._parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")  # what is quoted already stays
        headers = HEADERS
        if (self._parts.hostname or "").rstrip(
            "."
        ) == "localhost":  # Kubo sends that name to another host for each block
            headers = {**HEADERS, "Host": f"127.0.0.1:{self._port}"}
        with authorities_of("ipfs.ca_file"):
            self._tls = client_context(ca_file) if self._parts.scheme == "https" else None
        client = HttpClient(f"gateway {self.name}", self._connect, _how_to_reach)
        super().__init__(client, path, headers, ReaderWaits(first_wait, timeout, probe_seconds))

    @override
    def redirected(self, location: str, name: str) -> TransportError:
        problem = f"gateway {self.name} sends us to {host_of(location)[:100]!r}"
        return TransportError(problem, self._how_to_get(location[:1000], name))

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

    def _connect(self) -> "GatewayConnection":
        host, port = self._parts.hostname or "", self._port
        return GatewayConnection(
            HTTPSConnection(host, port, context=self._tls) if self._tls else HTTPConnection(host, port)
        )


class GatewayConnection:
    """Speaks with any server of the web: Python's own client, whose complaints are errors of a connection here."""

    def __init__(self, inner: HTTPConnection) -> None:
        self.inner = inner
        self.timeout: float | None = None

    @property
    def sock(self) -> socket.socket | None:
        """Return the socket, once there is one."""
        return self.inner.sock

    def connect(self) -> None:
        """Connect."""
        self.inner.timeout = self.timeout
        self.inner.connect()

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> None:
        """Send a request."""
        self.inner.request(method, path, body, dict(headers))

    def answer(self, most: int) -> tuple[Answer, bool]:
        """Read the answer, and whether the connection may be used again: not if more follows, or if it will close."""
        try:
            response: HTTPResponse = self.inner.getresponse()
            body = response.read(most + 1)
        except HTTPException as error:
            raise ConnectionError(f"{type(error).__name__} {error}") from error
        if response.length and len(body) <= most:
            raise ConnectionError(f"{response.length} bytes are missing")
        is_usable = response.isclosed() and not response.will_close
        return Answer(response.status, body, response.headers.get("Location", "")), is_usable

    def close(self) -> None:
        """Let go of it."""
        self.inner.close()


def _how_to_reach(error: Exception) -> str:
    if isinstance(error, SSLCertVerificationError):
        return "set ipfs.ca_file to what signed its certificate"
    if "WRONG_VERSION_NUMBER" in str(error):
        return "it does not speak TLS: write http:// into ipfs.gateways"
    return "check its address"
