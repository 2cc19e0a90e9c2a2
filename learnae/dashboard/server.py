"""The server of the page: HTTP/1.1 on asyncio, in a thread of its own beside the peer, bounded in all it takes.

The name that a request calls this server by is checked before all else: a page of the web may have let its own name
point here. Nothing is read from the disk by a name in a request, and nothing is written but what ``Writes`` does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnae.adapters.http.serving.requests import HEAD_BYTES, HEAD_END, RefusedError, Request
from learnae.basics import strict_json
from learnae.config.sections import is_own_machine
from learnae.dashboard.access import COOKIE_SECONDS, Access
from learnae.dashboard.board import Board, Snapshot
from learnae.errors import LearnaeError

_log = logging.getLogger(__name__)

_HTML, _TEXT, _JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
_STATIC = {
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/panels.js": ("panels.js", "text/javascript; charset=utf-8"),
    "/app.css": ("app.css", "text/css; charset=utf-8"),
    "/uplot.js": ("uplot.js", "text/javascript; charset=utf-8"),
    "/uplot.css": ("uplot.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_PAGE = Path(__file__).with_name("page")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PHRASES = {  # http.HTTPStatus takes half a megabyte
    200: "OK", 303: "See Other", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large", 415: "Unsupported Media Type",
    421: "Misdirected Request", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    501: "Not Implemented", 503: "Service Unavailable",
}  # fmt: skip
_COMPRESSED = 1024  # bytes: what is shorter goes as it is
_NO_COOKIE = "open the address that `learnae dashboard` prints on this machine"

Write = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ServerBounds:
    """Bounds what others cost: ``connections`` in all and ``per_address`` of another machine, ``viewers`` of events,
    ``body`` bytes, ``requests`` of one connection, ``seconds`` for a request and for an answer that is not taken,
    seconds from one sign of life to the next (``beat``), and between two looks (``pause``).
    """

    connections: int = 64
    per_address: int = 8
    viewers: int = 8
    body: int = 65_536
    requests: int = 100
    seconds: float = 10.0
    beat: float = 15.0
    pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a whole body."""

    status: int
    body: bytes = b""
    kind: str = _TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Connection:
    """One connection: ``is_watching`` events, with a token that was good."""

    writer: asyncio.StreamWriter
    address: str
    used: float = field(default_factory=time.monotonic)
    is_watching: bool = False


class DashboardServer:
    """Serves ``board`` at ``place``, from ``start`` to ``close``.

    ``writes`` holds what may be asked for, by path. With ``metrics`` these are shown to this machine without a token.
    ``access`` is made for the port, once that is known.
    """

    def __init__(
        self,
        board: Board,
        place: tuple[str, int],
        access: Callable[[int], Access],
        writes: Mapping[str, Write],
        metrics: bool = False,
        bounds: ServerBounds | None = None,
    ) -> None:
        self._board = board
        self._place = place
        self._make_access = access
        self._writes = writes
        self._metrics = metrics
        self._bounds = bounds or ServerBounds()
        self._connections: dict[_Connection, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._viewers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Event | None = None
        self.port = 0

    def start(self) -> None:
        """Listen, and serve in a thread; raises OSError if the place is taken."""
        host, port = self._place
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=128)
        self.port = listener.getsockname()[1]
        self._access = self._make_access(self.port)
        self._thread = threading.Thread(target=self._run, args=(listener,), name="dashboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; idempotent."""
        loop, thread, self._thread = self._loop, self._thread, None
        if thread is None:
            return
        if loop is not None and self._ended is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(self._ended.set)
        thread.join(self._bounds.seconds)

    # -- the thread

    def _run(self, listener: socket.socket) -> None:
        asyncio.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        self._loop, self._ended, self._news = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._board.on_news = self._tell
        server = await asyncio.start_server(self._converse, sock=listener, limit=HEAD_BYTES)
        await self._ended.wait()
        self._board.on_news = lambda: None
        server.close()
        self._fire()
        for connection in list(self._connections):
            connection.writer.transport.abort()
        if self._tasks:  # they end by themselves then
            await asyncio.wait(self._tasks, timeout=self._bounds.seconds / 2)

    def _tell(self) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._fire)

    def _fire(self) -> None:
        event, self._news = self._news, asyncio.Event()
        event.set()

    async def _wait_for_news(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    # -- one connection

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = str((writer.get_extra_info("peername") or ("",))[0])
        connection = _Connection(writer, address)
        if not self._make_room(address):
            writer.transport.abort()
            return
        self._connections[connection] = None
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            for number in range(1, self._bounds.requests + 1):
                if not await self._answer_one(reader, connection, number < self._bounds.requests):
                    break
        except (OSError, EOFError, TimeoutError) as error:  # it went away, or is too slow
            _log.debug("dashboard: %s: %r", address, error)
        finally:
            self._connections.pop(connection, None)
            self._tasks.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    def _make_room(self, address: str) -> bool:
        """Let the connection that has been idle for longest go where there are too many."""
        own = [each for each in self._connections if each.address == address]
        if not is_own_machine(address) and len(own) >= self._bounds.per_address:
            return False
        if len(self._connections) >= self._bounds.connections:
            idle = [each for each in self._connections if not each.is_watching]
            if not idle:
                return False
            oldest = min(idle, key=lambda each: each.used)
            self._connections.pop(oldest)
            oldest.writer.transport.abort()
        return True

    async def _answer_one(self, reader: asyncio.StreamReader, connection: _Connection, may_keep: bool) -> bool:
        """Answer one request; return True if another one may follow."""
        writer, request = connection.writer, Request("GET", "/", keeps=False)
        try:
            async with asyncio.timeout(self._bounds.seconds):
                try:
                    head = await reader.readuntil(HEAD_END)
                except asyncio.LimitOverrunError:
                    raise RefusedError(431) from None
                except asyncio.IncompleteReadError:
                    return False
                request = Request.parse(head)
                self._check(request)
                body = await reader.readexactly(request.length)
            connection.used = time.monotonic()
            if request.path == "/api/events" and request.method == "GET":
                if refused := self._refused(request):
                    await self._say(writer, refused, request, keeps=False)
                else:
                    await self._watch(reader, connection, request)
                return False
            answer = await self._answer(request, body, connection.address)
        except RefusedError as refused:
            await self._say(writer, Answer(refused.status), request, keeps=False)
            return False
        keeps = request.keeps and may_keep
        await self._say(writer, answer, request, keeps)
        return keeps

    def _check(self, request: Request) -> None:
        """Raise RefusedError unless the request is for this server, and of a kind and size that it takes."""
        if not self._access.is_own_host(request.headers.get("host", "")):
            raise RefusedError(421)
        if request.method not in ("GET", "HEAD", "POST"):
            raise RefusedError(405)
        if request.length > (self._bounds.body if request.method == "POST" else 0):
            raise RefusedError(413)

    async def _say(self, writer: asyncio.StreamWriter, answer: Answer, request: Request, keeps: bool) -> None:
        body, headers = answer.body, {**_SAFE, "Cache-Control": "no-store", **answer.headers}
        if len(body) > _COMPRESSED and "gzip" in request.headers.get("accept-encoding", ""):
            packer = zlib.compressobj(6, zlib.DEFLATED, 31)
            body, headers["Content-Encoding"] = packer.compress(body) + packer.flush(), "gzip"
        if answer.status != 304:
            headers |= {"Content-Type": answer.kind, "Content-Length": str(len(body)), "Vary": "Accept-Encoding"}
        headers["Connection"] = "keep-alive" if keeps else "close"
        writer.write(_head(answer.status, headers) + (b"" if request.method == "HEAD" else body))
        async with asyncio.timeout(self._bounds.seconds):
            await writer.drain()

    # -- what is asked for

    async def _answer(self, request: Request, body: bytes, address: str) -> Answer:
        path = request.path
        if request.method == "POST":
            return await self._write(request, body)
        if path == "/":
            return self._page(request)
        if path in _STATIC:
            name, kind = _STATIC[path]
            return Answer(200, _packaged(name), kind, {"Cache-Control": "max-age=300"})
        if path == "/metrics":
            return await self._show_metrics(address)
        if path not in ("/api/state", "/api/history"):
            return Answer(404, b"there is no such page\n")
        known = self._history if path == "/api/history" else self._state
        return self._refused(request) or await known(request)

    def _refused(self, request: Request, writes: bool = False) -> Answer | None:
        """Return the answer to a request without the cookie, or of another origin; None for a good one."""
        if not self._access.is_from_own_page(request.headers, writes):
            return _failed(403, "another origin asks", "open the page itself")
        if not self._access.admits(request.headers):
            return _failed(401, "no token", _NO_COOKIE)
        return None

    def _page(self, request: Request) -> Answer:
        if token := request.query.get("t", ""):
            cookie = self._access.redeem(token)
            if not cookie:
                return Answer(403, _closed("This address has been used, or is more than ten minutes old."), _HTML)
            cookie += f"; HttpOnly; SameSite=Strict; Path=/; Max-Age={COOKIE_SECONDS}"
            return Answer(303, b"", _TEXT, {"Location": "/", "Set-Cookie": cookie})
        if not self._access.admits(request.headers):
            return Answer(401, _closed("This page belongs to the owner of the machine."), _HTML)
        return Answer(200, _packaged("index.html"), _HTML)

    async def _snapshot(self) -> Snapshot | None:
        """Return a state of now, which the tick is asked for; an older one where it takes too long."""
        self._board.ask()
        deadline = time.monotonic() + self._bounds.seconds / 2
        while True:
            newest, now = self._board.newest, time.monotonic()
            if (newest and now - newest.at < 2 * self._bounds.pause) or now >= deadline:
                return newest
            await self._wait_for_news(deadline - now)
            self._board.ask()

    async def _state(self, request: Request) -> Answer:
        snapshot = await self._snapshot()
        if snapshot is None:
            return _failed(503, "the peer has not said anything yet", "wait: it may be at work", {"Retry-After": "1"})
        tag = f'"{self._board.run}-{snapshot.serial}"'
        if request.headers.get("if-none-match") == tag:
            return Answer(304, headers={"ETag": tag})
        return Answer(200, snapshot.text().encode(), _JSON, {"ETag": tag})

    async def _history(self, request: Request) -> Answer:
        since = request.query.get("since", "0")
        if not (since.isascii() and since.isdecimal() and len(since) < 16):
            return _failed(400, "since is no number", "use Unix milliseconds")
        return Answer(200, strict_json.dumps(self._board.history.since(int(since))).encode(), _JSON)

    async def _show_metrics(self, address: str) -> Answer:
        if not self._metrics:
            return Answer(404, b"set metrics = true below [dashboard]\n")
        if not is_own_machine(address):
            return Answer(403, b"metrics are for this machine alone\n")
        snapshot = await self._snapshot()
        if snapshot is None:
            return Answer(503, b"the peer has not said anything yet\n")
        return Answer(200, snapshot.metrics.encode(), _METRICS_TYPE)

    async def _write(self, request: Request, body: bytes) -> Answer:
        if refused := self._refused(request, writes=True):
            return refused
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            return _failed(415, "the body is no JSON", f"send Content-Type: {_JSON}")
        write = self._writes.get(request.path)
        if write is None:
            return _failed(404, "this peer does not do that", "")
        try:
            wish = json.loads(body)
            done = await asyncio.to_thread(write, wish if isinstance(wish, dict) else {})
        except (ValueError, RecursionError):
            return _failed(400, "the body is no JSON", "send an object")
        except LearnaeError as error:
            return _failed(400, error.problem, error.remedy)
        return Answer(200, strict_json.dumps(done).encode(), _JSON)

    # -- events

    async def _watch(self, reader: asyncio.StreamReader, connection: _Connection, request: Request) -> None:
        """Send what changes until the viewer goes, or takes nothing for too long. At most one event waits."""
        assert self._ended is not None
        writer = connection.writer
        if self._viewers >= self._bounds.viewers:
            too_many = _failed(429, f"{self._viewers} pages are open", "close one", {"Retry-After": "5"})
            await self._say(writer, too_many, request, keeps=False)
            return
        self._viewers += 1
        self._board.watch(1)
        connection.is_watching = True
        gone = asyncio.ensure_future(reader.read(1))  # it says nothing more
        try:
            head = {**_SAFE, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "Connection": "close"}
            writer.write(_head(200, head) + b"retry: 2000\n\n")
            last = self._resumed(request)
            while not gone.done() and not writer.is_closing() and not self._ended.is_set():
                newest = self._board.newest
                if newest is not None and newest is not last:
                    text = newest.text() if last is None else newest.change_from(last)
                    writer.write(f"id: {self._board.run}-{newest.serial}\nevent: state\ndata: {text}\n\n".encode())
                    last = newest
                else:
                    writer.write(b": still here\n\n")
                async with asyncio.timeout(self._bounds.seconds):
                    await writer.drain()
                news = asyncio.ensure_future(self._wait_for_news(self._bounds.beat))
                await asyncio.wait({gone, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
        finally:
            gone.cancel()
            self._viewers -= 1
            self._board.watch(-1)

    def _resumed(self, request: Request) -> Snapshot | None:
        """Return the snapshot that the viewer has, if it is still known here."""
        run, _, serial = (request.headers.get("last-event-id") or request.query.get("after", "")).partition("-")
        is_number = serial.isascii() and serial.isdecimal() and len(serial) < 16
        return self._board.known(int(serial)) if run == self._board.run and is_number else None


def _packaged(name: str) -> bytes:
    return (_PAGE / name).read_bytes()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_PHRASES[status]}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _failed(status: int, error: str, remedy: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, strict_json.dumps({"error": error, "remedy": remedy}).encode(), _JSON, headers or {})


def _closed(why: str) -> bytes:
    """Return the page for who has no cookie."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Learnae</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/app.css">'
        f'<main class="closed"><h1>Learnae</h1><p>{why}</p>'
        "<p>Type <code>learnae dashboard</code> in a terminal of that machine, and open the address that it prints: "
        "it works once, and for ten minutes.</p></main></html>"
    ).encode()
