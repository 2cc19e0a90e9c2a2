"""A small HTTP/1.1 server for strangers: one thread a connection, few of them, and every wait has an end.

Threads, and neither asyncio nor http.server: they cost an agent 1.7 and 0.7 MB before the first request, and an answer
reads SQLite, for which a loop would need threads, too.
"""

import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from learnae.adapters.http.serving.requests import HEAD_BYTES, HEAD_END, RefusedError, Request
from learnae.adapters.http.serving.service import Response, SwarmService
from learnae.adapters.token_bucket import Spending
from learnae.basics.error_log import ErrorLog
from learnae.errors import EncodingError, LearnaeError, LimitError, PeerError, StateError, TransportError
from learnae.system.backoff import Backoff

if TYPE_CHECKING:
    import ssl

_log = logging.getLogger(__name__)

_BACKLOG = 16
_USUAL_PORTS = range(8733, 8749)  # one for each peer of a machine
_CHUNK = 1 << 16
_BURST_SECONDS = 4.0  # of the rate, that may go out at once, and at least a few of the largest blocks
_BURST_BYTES = 8 << 20
_JOIN_SECONDS = 2.0
_REBIND = (1.0, 30.0)  # seconds until a port that is taken, or an address that is not there yet, is tried again


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds what strangers can take. Times in seconds.

    >>> ServerLimits().answer_seconds(1 << 20)
    42.0
    """

    connections: int = 32
    per_address: int = 8  # of an IPv4 address, or of the first half of an IPv6 one
    seconds: float = 10.0  # for a handshake, and for a request with its body, whole
    idle: float = 15.0  # between two requests; one that waits for news is at work
    slowest: float = 32_768.0  # bytes a second that a reader must take, or it holds a block in memory for too long
    blocks: int = 8  # in memory at once: as many MiB
    rate: float = 4 << 20  # bytes a second of blocks, for all together

    def answer_seconds(self, size: int) -> float:
        """Return how long an answer of so many bytes may take."""
        return self.seconds + size / self.slowest

    def bucket(self, purse: Callable[[int], bool] | None = None) -> Spending:
        """Return what says whether so many bytes may go out now; they are spent from the ``purse``, too."""
        return Spending(max(_BURST_BYTES, self.rate * _BURST_SECONDS), self.rate, purse=purse)


def free_place() -> tuple[str, int]:
    """Return all addresses of this machine, and the first port that is free on them; the first one if none is."""
    host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - what is asked for
    for port in _USUAL_PORTS:
        with suppress(OSError), _listener(host, port):
            return host, port
    return host, _USUAL_PORTS[0]


def place_of(state: str) -> tuple[str, int] | None:
    """Return where a server listens that says this of its state; None if it does not."""
    found = re.match(r"serving at (.+):(\d+): ", state)
    return (found[1].strip("[]"), int(found[2])) if found else None


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)


class HttpServer:
    """Listens at ``host`` and ``port`` from ``start`` on, until ``close``; counts in ``errors`` what it refuses.

    ``tls`` makes the context of encrypted connections. Where the address cannot be had now, it is tried again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        service: SwarmService,
        errors: ErrorLog,
        limits: ServerLimits = ServerLimits(),
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._place, self._service, self._errors, self._limits, self._tls = (host, port), service, errors, limits, tls
        self._name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bytes] = {}
        self._threads: set[threading.Thread] = set()
        self._room = threading.BoundedSemaphore(limits.blocks)
        self._listener: socket.socket | None = None
        self._reason = "starting"
        self._sent: Counter[int] = Counter()  # answers by status
        self._closing = threading.Event()
        self._acceptor = threading.Thread(target=self._serve, name="http server", daemon=True)

    def start(self) -> None:
        """Listen from now on; does not wait."""
        self._acceptor.start()

    def state(self) -> str:
        """Return what the status says of the server."""
        if self._reason:
            return f"away: {self._reason}"
        answers = sum(count for status, count in self._sent.items() if status < 400)
        return f"serving at {self._name}: {len(self._open)} connections, {answers} answers"

    def close(self) -> None:
        """End all connections. Idempotent."""
        self._closing.set()
        with self._lock:
            listener, connections, threads = self._listener, list(self._open), list(self._threads)
        if listener is not None:
            _cut(listener)  # which wakes the thread that accepts
        for connection in connections:
            _cut(connection)
        for thread in (self._acceptor, *threads):
            if thread.is_alive():
                thread.join(_JOIN_SECONDS)

    # -- accepting

    def _serve(self) -> None:
        backoff = Backoff(*_REBIND)
        while not self._closing.is_set():
            try:
                with self._listen() as listener:
                    backoff.succeeded()
                    self._accept_from(listener)
            except OSError as error:
                if self._closing.is_set():
                    return
                problem = f"cannot serve at {self._name}: {error.strerror or error}"
                if self._reason != problem:
                    self._reason = problem
                    self._note(TransportError(problem, "choose another lan.serve, or stop what has the port"))
                    _log.warning("%s; it is tried again", problem)
                self._closing.wait(backoff.failed())

    def _listen(self) -> socket.socket:
        listener = _listener(*self._place)
        with self._lock:
            self._listener = listener
        self._reason = ""
        _log.info("serving blocks at %s", self._name)
        return listener

    def _accept_from(self, listener: socket.socket) -> None:
        while not self._closing.is_set():
            connection, address = listener.accept()
            origin = _origin(address[0])
            thread = threading.Thread(
                target=self._converse, args=(connection, origin, address[0]), name="http", daemon=True
            )
            with self._lock:
                crowded = len(self._open) >= self._limits.connections
                greedy = sum(each == origin for each in self._open.values()) >= self._limits.per_address
                if not (crowded or greedy):
                    self._open[connection] = origin
                    self._threads.add(thread)
            if crowded or greedy:
                who = f"from {address[0]}" if greedy else "in all"
                self._note(
                    LimitError(f"too many connections {who}", "lan.connections and lan.per_address are the most")
                )
                if not self._tls:  # where it is another language before the handshake
                    with suppress(OSError):
                        connection.settimeout(0)
                        connection.send(_head(429, {}, 0, keeps=False))
                connection.close()
                continue
            try:
                thread.start()
            except RuntimeError:  # no memory for one
                self._forget(connection, thread)
                connection.close()

    def _forget(self, connection: socket.socket, thread: threading.Thread) -> None:
        with self._lock:
            self._open.pop(connection, None)
            self._threads.discard(thread)

    # -- one connection

    def _converse(self, connection: socket.socket, origin: bytes, address: str) -> None:
        def note(error: LearnaeError) -> None:
            if not self._closing.is_set():
                self._note(type(error)(f"{address}: {error.problem}", error.remedy))

        try:
            connection.settimeout(self._limits.seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                plain = connection
                connection = self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    del self._open[plain]
                    self._open[connection] = origin
                self._shake_hands(connection)
            _Conversation(connection, origin, self._service, self._limits, self._room, self._sent, note).go_on()
        except PeerError as error:
            note(error)
        except TimeoutError:
            note(LimitError("an answer that is not taken in time", "it is given up"))
        except OSError as error:  # it went away
            _log.debug("%s: %s", address, error)
        finally:
            self._forget(connection, threading.current_thread())
            _cut(connection)
            connection.close()

    def _shake_hands(self, connection: "ssl.SSLSocket") -> None:
        try:
            connection.do_handshake()
        except OSError as error:
            raise EncodingError(
                f"no handshake of TLS 1.3: {error}", "addresses of this machine begin with https://"
            ) from error

    def _note(self, error: LearnaeError) -> None:
        self._errors.count(error)
        _log.debug("%s", error)


class _Conversation:
    """Reads requests from one connection and answers them, in order."""

    def __init__(
        self,
        connection: socket.socket,
        origin: bytes,
        service: SwarmService,
        limits: ServerLimits,
        room: threading.BoundedSemaphore,
        sent: "Counter[int]",
        note: Callable[[LearnaeError], None],
    ) -> None:
        self._connection, self._service, self._limits, self._room = connection, service, limits, room
        self._sent, self._note, self._origin = sent, note, origin
        self._left = b""  # what has come of the next request

    def go_on(self) -> None:
        """Answer one request after the other; raises PeerError for what cannot be answered, OSError."""
        keeps = True
        while keeps:
            head = self._head()
            if head is None:
                return
            request, is_read = Request("GET", "/", keeps=False), False
            try:
                request = replace(Request.parse(head), asker=self._origin)
                self._service.check(request)
                with self._room_for(request):
                    body = self._body(request)
                    is_read = True
                    self._say(self._service.answer(request, body), request, request.keeps)
                keeps = request.keeps
            except RefusedError as refused:
                keeps = request.keeps and (is_read or not request.length)  # an unread body is no next request
                self._say(Response(refused.status), request, keeps)
                if refused.error:
                    self._note(refused.error)
            except StateError as error:  # of the own store
                keeps = False
                self._say(Response(500), request, keeps)
                self._note(error)

    @contextmanager
    def _room_for(self, request: Request) -> Iterator[None]:
        """Bound how many blocks are in memory; raises RefusedError if there is no room in time."""
        if request.method not in ("GET", "PUT") or not request.path.startswith("/ipfs/"):
            yield
            return
        if not self._room.acquire(timeout=self._limits.seconds):
            raise RefusedError(429, LimitError("too many blocks at once", "they are asked for again"))
        try:
            yield
        finally:
            self._room.release()

    def _say(self, response: Response, request: Request, keeps: bool) -> None:
        body = b"" if request.method == "HEAD" else response.body
        head = _head(response.status, response.headers, len(response.body), keeps)
        self._sent[response.status] += 1
        self._send(head + body if len(body) < _CHUNK else head, self._limits.answer_seconds(len(body)))
        if len(body) >= _CHUNK:
            self._send(body, self._limits.answer_seconds(len(body)))

    def _head(self) -> bytes | None:
        """Return the next request up to its empty line; None if the other end is done, or idle for too long."""
        deadline = time.monotonic() + (self._limits.seconds if self._left else self._limits.idle)
        while HEAD_END not in self._left:
            if len(self._left) > HEAD_BYTES:
                raise self._refused(431, LimitError(f"more than {HEAD_BYTES} bytes of headers", "it is refused"))
            try:
                more = self._receive(deadline)
            except TimeoutError:
                if not self._left:
                    return None
                error = LimitError(f"no whole request in {self._limits.seconds:g} s", "it is refused")
                raise self._refused(408, error) from None
            if not more:
                if self._left:
                    raise EncodingError("a request that was cut short", "it is ignored")
                return None
            if not self._left:
                deadline = time.monotonic() + self._limits.seconds
            self._left += more
        head, _, self._left = self._left.partition(HEAD_END)
        if len(head) > HEAD_BYTES:
            raise self._refused(431, LimitError(f"more than {HEAD_BYTES} bytes of headers", "it is refused"))
        return head

    def _body(self, request: Request) -> bytes:
        length = request.length
        if length and "expect" in request.headers:
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n", self._limits.seconds)
        deadline = time.monotonic() + self._limits.answer_seconds(length)
        parts, size = [self._left[:length]], min(len(self._left), length)
        self._left = self._left[length:]
        while size < length:
            try:
                more = self._receive(deadline, min(_CHUNK, length - size))
            except TimeoutError as error:
                raise RefusedError(408, LimitError("a body that does not come", "it is refused")) from error
            if not more:
                raise EncodingError("a body that was cut short", "it is ignored")
            parts.append(more)
            size += len(more)
        return b"".join(parts)

    def _refused(self, status: int, error: PeerError) -> PeerError:
        """Answer with ``status`` alone, and return what ends the connection."""
        self._say(Response(status), Request("GET", "/"), keeps=False)
        return error

    def _receive(self, deadline: float, most: int = HEAD_BYTES) -> bytes:
        self._wait_until(deadline)
        return self._connection.recv(most)

    def _send(self, data: bytes, seconds: float) -> None:
        """Send all of it within so many ``seconds``; raises OSError."""
        deadline, view = time.monotonic() + seconds, memoryview(data)
        while view:
            self._wait_until(deadline)
            view = view[self._connection.send(view[:_CHUNK]) :]

    def _wait_until(self, deadline: float) -> None:
        """Let the next call wait no longer; raises TimeoutError if it is too late."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)


def _head(status: int, headers: Mapping[str, str], size: int, keeps: bool) -> bytes:
    """Return status line and headers; an answer that has no body by its nature says no length."""
    fields = {**headers, "Connection": "keep-alive" if keeps else "close"}
    if status not in (204, 304):
        fields["Content-Length"] = str(size)
    if status == 405:
        fields["Allow"] = "GET, HEAD"
    if status == 429:
        fields["Retry-After"] = "1"
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _origin(address: str) -> bytes:
    """Return what connections of one machine have in common: an IPv4 address, or the network of an IPv6 one."""
    if ":" not in address:
        return socket.inet_aton(address)
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    is_v4 = packed.startswith(bytes(10) + b"\xff\xff")
    return packed[12:] if is_v4 else packed[:8]


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
