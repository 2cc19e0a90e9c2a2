"""Kubo's RPC through ipfshttpclient 0.7.0, whose newest daemon was go-ipfs 0.7: the low-level calls only.

What its high-level calls get wrong against today's Kubo: ``connect`` refuses every daemon newer than 0.8,
``swarm.connect`` sends an address letter by letter, ``pubsub`` speaks a form that ended with 0.11, answers are read
into memory whole. https://docs.ipfs.tech/reference/kubo/rpc/
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import BadStatusLine
from typing import Any

import requests
import urllib3
from ipfshttpclient import exceptions, multipart
from ipfshttpclient.http_requests import ClientSync

from learnae.adapters.tls import authorities_of, trusted
from learnae.config.sections import IpfsSection
from learnae.errors import ConfigurationError, TransportError
from learnae.system.credentials import read_credential
from learnae.text import version_numbers

NO_OPTIONS: Mapping[str, str] = {}
_CONNECT_SECONDS = 5.0
_CHUNK = 1 << 16
_ANSWER_BYTES = 1 << 20  # what a daemon says of itself is far shorter
_LINE_BYTES = 1 << 16  # a longer line of a stream is passed over
_FAILURES = (exceptions.Error, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
_STATUS_OF_ERRORS = 500  # Kubo's for "I have understood, and cannot"
_OLDEST = 0, 29  # Kubo's first version that names pins in its list
_SOME_SOCKET = "/unix/kubo"  # for the library; the path itself goes to the system
_SOCKET_PATH_BYTES = 107  # what Linux takes, without the end's zero
_REMEDIES = {
    FileNotFoundError: "start it: ipfs daemon; does it listen there (Addresses.API)?",
    PermissionError: "let this user open its socket, by group or mode",
    socket.gaierror: "check the host's name in ipfs.api",
}

logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of every connection that is lost


class KuboError(TransportError):
    """Says that the daemon answers, but refuses."""


class KuboRpc:
    """Calls one daemon at a multiaddress: TCP, TLS or a Unix socket. Safe to use from several threads.

    Every call takes at most the seconds it is given, besides connecting. Raises KuboError if the daemon
    refuses, another TransportError if it cannot be reached, does not answer, or ``close`` was called.
    """

    def __init__(self, api: str, headers: dict[str, str] | None = None, ca_file: str = "") -> None:
        """Trust what ``ca_file`` has signed; connect to nothing. Raises ConfigurationError for what cannot be used."""
        self.api = api
        self._has_credential = bool(headers)
        path = _socket_path(api)
        try:
            all_headers = {"Accept-Encoding": "identity", **(headers or {})}
            self._http = ClientSync(_SOME_SOCKET if path else api, "api/v0", headers=all_headers)
        except (exceptions.Error, ValueError, AssertionError) as error:
            raise _no_address(api) from error
        self._http.open_session()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # over both: a socket that is opened while others are cut is cut, too
        session = self._session = self._http._session
        session.trust_env = False  # a proxy for the web is none for the own daemon
        with authorities_of("ipfs.ca_file"):
            session.verify = trusted(ca_file)
        session.max_redirects = 0
        _own_sockets(session, path, self._note)

    @classmethod
    def from_section(cls, section: IpfsSection) -> KuboRpc:
        """Make the RPC of the daemon that ``[ipfs]`` names, with its credential; raises ConfigurationError."""
        if not section.token_file:
            return cls(section.api, ca_file=section.ca_file)
        if not section.is_private:
            raise ConfigurationError(
                "ipfs.token_file would be sent unencrypted to another machine", "use a /https address or a tunnel"
            )
        return cls(section.api, {"Authorization": _authorization(section.token_file)}, section.ca_file)

    def call(
        self,
        command: str,
        *arguments: str,
        seconds: float,
        options: Mapping[str, str] = NO_OPTIONS,
        data: bytes | None = None,
        most: int = _ANSWER_BYTES,
    ) -> bytes:
        """Return the answer's first ``most`` + 1 bytes; ``data`` is sent along as a file."""
        parts, size = list[bytes](), 0  # Kubo sends 4 KiB at a time
        with self._open(command, arguments, options, seconds, data) as chunks:
            deadline = time.monotonic() + seconds
            for chunk in chunks:
                parts.append(chunk)
                size += len(chunk)
                if size > most:
                    break
                if time.monotonic() > deadline:
                    raise TransportError(f"Kubo at {self.api} takes more than {seconds:.0f} s for {command}")
        return b"".join(parts)[: most + 1]

    def ask(
        self,
        command: str,
        *arguments: str,
        seconds: float,
        options: Mapping[str, str] = NO_OPTIONS,
        data: bytes | None = None,
    ) -> Any:
        """Return the answer, which is one JSON document; None for an empty one."""
        answer = self.call(command, *arguments, seconds=seconds, options=options, data=data)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError as error:
            raise TransportError(f"what answers at {self.api} is no Kubo", "check ipfs.api") from error

    def lines(
        self, command: str, *arguments: str, silence: float, options: Mapping[str, str] = NO_OPTIONS
    ) -> Iterator[bytes]:
        """Yield the answer's lines as they come, but those too long; ``silence`` seconds without any are an error."""
        with self._open(command, arguments, options, silence, None) as chunks:
            line, skipping = bytearray(), False
            for chunk in chunks:
                first, *rest = chunk.split(b"\n")
                line += first
                for start in rest:
                    if line and not skipping:
                        yield bytes(line)
                    line, skipping = bytearray(start), False
                if skipping or len(line) > _LINE_BYTES:
                    line, skipping = bytearray(), True
            if line:
                yield bytes(line)

    def version(self, seconds: float) -> str:
        """Ask for the daemon's version; raises TransportError, too, if it is older than what is used here needs."""
        answer = self.ask("version", seconds=seconds)
        version = answer.get("Version") if isinstance(answer, dict) else None
        if not isinstance(version, str):
            raise TransportError(f"what answers at {self.api} is no Kubo", "check ipfs.api")
        if version_numbers(version) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise TransportError(f"Kubo at {self.api} is {version[:40]!r}, too old", f"install {oldest} or newer")
        return version[:40]

    def close(self) -> None:
        """End all calls under way. Idempotent."""
        with self._lock:
            self._closed.set()
            for each in self._sockets:
                _cut(each)
        self._session.close()  # not the client's close_session: it would open another one, unknown here

    def _note(self, made: socket.socket) -> None:
        with self._lock:
            self._sockets.add(made)
            if self._closed.is_set():
                _cut(made)

    @contextmanager
    def _open(
        self, command: str, arguments: Sequence[str], options: Mapping[str, str], silence: float, data: bytes | None
    ) -> Iterator[Iterator[bytes]]:
        """Send a command and give the answer in chunks of bounded size."""
        parameters = [*options.items(), *(("arg", argument) for argument in arguments)]
        body, headers = (None, None) if data is None else multipart.stream_bytes(data, chunk_size=1 << 20)
        closables: list[Any] = []
        try:
            if self._closed.is_set():
                raise TransportError(f"the link to Kubo at {self.api} is closed")
            closables, chunks = self._http._request(
                "POST", command, parameters, auth=None, data=body, headers=headers,
                timeout=(_CONNECT_SECONDS, silence), chunk_size=_CHUNK,
            )  # fmt: skip
            yield chunks
        except _FAILURES as error:
            raise self._explained(error, command) from error
        finally:
            for closable in closables:
                closable.close()

    def _explained(self, error: Exception, command: str) -> TransportError:
        if self._closed.is_set():
            return TransportError(f"the link to Kubo at {self.api} is closed")
        if isinstance(error, (exceptions.StatusError, requests.TooManyRedirects)):
            return self._refusal(error, command)
        if isinstance(error, (exceptions.TimeoutError, requests.Timeout, TimeoutError)) or "timed out" in str(error):
            return TransportError(f"Kubo at {self.api} does not answer", "restart it")
        if "certificate verify failed" in str(error):
            stranger = f"Kubo at {self.api} has a certificate that is not trusted"
            return TransportError(stranger, "set ipfs.ca_file to what signed it, and name the host as it does")
        return self._unreached(error)

    def _unreached(self, error: Exception) -> TransportError:
        if any(isinstance(cause, BadStatusLine) and not isinstance(cause, OSError) for cause in _causes(error)):
            return TransportError(f"what answers at {self.api} is no Kubo", "check ipfs.api")
        away = f"Kubo at {self.api} cannot be reached"
        if "WRONG_VERSION_NUMBER" in str(error):
            return TransportError(f"{away}: no TLS is spoken there", "leave out /https in ipfs.api")
        said = next((cause for cause in _causes(error) if isinstance(cause, OSError) and cause.errno), None)
        if isinstance(said, ConnectionRefusedError):
            return TransportError(away, _REMEDIES[FileNotFoundError])
        if said is None or isinstance(said, ConnectionError):
            return TransportError(f"{away}: it hangs up", "restart it: ipfs daemon; is that its Addresses.API?")
        return TransportError(f"{away}: {said.strerror}", _REMEDIES.get(type(said), "check ipfs.api"))

    def _refusal(self, error: Exception, command: str) -> TransportError:
        response = getattr(getattr(error, "original", error), "response", None)
        status = getattr(response, "status_code", 0)
        if isinstance(error, exceptions.ErrorResponse) and status == _STATUS_OF_ERRORS:
            return KuboError(f"Kubo says to {command}: {str(error)[:200]}")
        if status in (401, 403):
            remedy = f"see whether its API.Authorizations has that credential, and allows it /api/v0/{command}"
            remedy = remedy if self._has_credential else "set ipfs.token_file"
            return TransportError(f"Kubo at {self.api} does not let us in", remedy)
        known = ", or does not know this command" if status == 404 else ""
        return TransportError(f"what answers at {self.api} is no Kubo{known} (HTTP {status})", "check ipfs.api")


def _authorization(name: str) -> str:
    """Make the header from a secret as in Kubo's API.Authorizations: ``bearer:TOKEN`` or ``basic:USER:PASSWORD``."""
    secret = read_credential(name, "ipfs.token_file")
    kind, colon, rest = secret.partition(":")
    if colon and kind == "basic":
        return "Basic " + base64.b64encode(rest.encode()).decode()
    if colon and kind == "bearer":
        return f"Bearer {rest}"
    raise ConfigurationError(
        "ipfs.token_file holds no credential", "write bearer:TOKEN or basic:USER:PASSWORD, as in API.Authorizations"
    )


def _cut(each: socket.socket) -> None:
    """End another thread's wait; of a TLS socket, only what is below TLS is touched from here."""
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(each, socket.SHUT_RDWR)


def _no_address(api: str) -> ConfigurationError:
    remedy = "use a multiaddress such as /ip4/127.0.0.1/tcp/5001 or /unix/run/ipfs/api.sock"
    return ConfigurationError(f"ipfs.api is {api!r}", remedy)


def _socket_path(api: str) -> str:
    """Return the path of a Unix socket, as it is written; empty for another address. Raises ConfigurationError."""
    if not api.startswith("/unix/"):
        return ""
    path = api.removeprefix("/unix")
    if path.endswith("/") or "\0" in path:
        raise _no_address(api)
    if (length := len(os.fsencode(path))) > _SOCKET_PATH_BYTES:
        problem = f"ipfs.api names a socket by {length} bytes"
        raise ConfigurationError(problem, f"no system opens one by more than {_SOCKET_PATH_BYTES}: use a shorter path")
    return path


def _own_sockets(session: Any, path: str, note: Callable[[socket.socket], None]) -> None:
    """Let ``session`` connect to the Unix socket at ``path``, if that is not empty, and ``note`` what it opens.

    So ``close`` reaches calls under way. The library would send the path through the host name of an URL, which has
    no capitals.
    """
    manager = session.get_adapter("http://").poolmanager
    manager.connection_pool_kw.pop("strict", None)  # urllib3 2 warns of it at every request
    pools = manager.pool_classes_by_scheme

    def noting(base: Any) -> Any:
        class Noted(base):  # type: ignore[misc]
            """A connection that can be cut from outside."""

            def connect(self) -> None:
                super().connect()
                note(self.sock)

            def _new_conn(self) -> Any:
                return _open_socket(path, self.timeout) if path else super()._new_conn()

        return Noted

    for scheme, pool in list(pools.items()):
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": noting(pool.ConnectionCls)})


def _open_socket(path: str, seconds: float) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(seconds)
        made.connect(path)
    except BaseException:
        made.close()
        raise
    return made


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was raised for: libraries wrap what the system says several times."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
