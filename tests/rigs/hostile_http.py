"""An HTTP server on loopback that is a hostile or broken peer: it answers as each test tells it."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class HostileServer:
    """Where it listens, what was asked, and ``answer``, which may be replaced at any time."""

    port: int
    answer: Answer
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    has_tls: bool = False

    @property
    def url(self) -> str:
        """Return its address as a gateway."""
        return f"http{'s' if self.has_tls else ''}://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """Return its address as a daemon."""
        return f"/ip4/127.0.0.1/tcp/{self.port}{'/https' if self.has_tls else ''}"


@contextmanager
def hostile_server(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[HostileServer]:
    """Serve until the end, behind ``tls`` if there is any; calls that hang then end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.asked.append(self.path)
            try:
                found.answer(self)
            except OSError:  # the other end has had enough
                self.close_connection = True

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def handle(self) -> None:
            with suppress(OSError):  # a client that does not trust this server, or has read enough, hangs up
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:  # a client that does not finish its handshake hangs a thread of its own
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    found = HostileServer(server.server_address[1], answer, has_tls=tls is not None)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        found.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Return an ordinary answer."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("Transfer-Encoding") == "chunked":
            while size := int(request.rfile.readline(), 16):
                request.rfile.read(size + 2)
            request.rfile.readline()
        request.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def endless(chunk: bytes, over: threading.Event, pause: float = 0.0) -> Answer:
    """Return a body without an end, a chunk every ``pause`` seconds."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        while not over.wait(pause):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    return answer


def silence(over: threading.Event) -> Answer:
    """Return no answer at all."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        over.wait()
        request.close_connection = True

    return answer
