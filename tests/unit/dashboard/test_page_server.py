"""The server of the page: who is let in, what is refused, and what it costs."""

import json
import socket
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pages import PageServer, answer_in, read_all
from programs import wait_for

from learnae.dashboard.access import COOKIE_SECONDS, TOKEN_SECONDS
from learnae.dashboard.server import ServerBounds
from learnae.dashboard.writes import labels_of
from learnae.errors import ConfigurationError

EVERY = ("/", "/app.js", "/api/state", "/api/events", "/api/history", "/metrics", "/nothing")
PRIVATE = ("/api/state", "/api/events", "/api/history")


@pytest.fixture
def page() -> Iterator[PageServer]:
    with PageServer() as found:
        yield found


def event_in(connection: socket.socket, left: bytearray) -> dict[str, Any]:
    """Return the next state that is sent."""
    while True:
        while b"\n\n" not in left:
            more = connection.recv(1 << 16)
            assert more, left
            left += more
        text, _, rest = bytes(left).partition(b"\n\n")
        left[:] = rest
        lines = dict(line.split(": ", 1) for line in text.decode().split("\n") if ": " in line)
        if "data" in lines:
            found: dict[str, Any] = json.loads(lines["data"])
            return {**found, "id": lines["id"]}


@pytest.mark.parametrize("path", EVERY)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}", ""]
)
def test_another_name_than_this_machines_is_answered_nothing(page: PageServer, path: str, host: str) -> None:
    status, _, body = page.get(path, Host=host.format(port=page.server.port), Cookie=page.cookie())
    assert (status, body) == (421 if host else 400, b"")


def test_names_of_this_machine_are_taken_with_the_port(page: PageServer) -> None:
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        assert page.get("/api/state", Host=f"{host}:{page.server.port}", Cookie=page.cookie())[0] == 200


def test_a_token_works_once_for_ten_minutes_and_becomes_a_cookie(page: PageServer) -> None:
    token, late = page.token(), page.token()
    status, headers, _ = page.get(f"/?t={token}")
    assert (status, headers["location"]) == (303, "/")
    assert all(word in headers["set-cookie"] for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert headers["set-cookie"].startswith(f"learnae_{page.server.port}=")
    assert page.get(f"/?t={token}")[0] == 403
    page.time += TOKEN_SECONDS
    assert page.get(f"/?t={late}")[0] == 403
    cookie = headers["set-cookie"].partition(";")[0]
    assert page.get("/", Cookie=f"other=1; {cookie}")[0] == 200
    page.time += COOKIE_SECONDS
    assert page.get("/", Cookie=cookie)[0] == 401


@pytest.mark.parametrize("token", ["x", "a" * 54, "é", "%00", "a" * 4000])
def test_what_is_no_token_is_none(page: PageServer, token: str) -> None:
    assert page.get(f"/?t={token}".encode("ascii", "replace").decode())[0] == 403


@pytest.mark.parametrize("path", PRIVATE)
def test_nothing_is_shown_without_the_cookie_of_this_port(page: PageServer, path: str) -> None:
    value = page.cookie().partition("=")[2]
    for cookie in (
        "",
        "x",
        f"learnae_1={value}",
        f"learnae_{page.server.port}=x",
        f"learnae_{page.server.port}={page.token()}",
    ):
        assert page.get(path, Cookie=cookie)[0] == 401
    assert page.built == 0
    status, _, body = page.get("/")
    assert status == 401
    assert b"learnae dashboard" in body


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "null"}]
)
def test_another_origin_reads_nothing_also_with_the_cookie(
    page: PageServer, path: str, headers: Mapping[str, str]
) -> None:
    assert page.get(path, Cookie=page.cookie(), **headers)[0] == 403


def test_only_the_own_page_writes_and_only_json() -> None:
    given: list[object] = []

    def give(label: str, seconds: float | None) -> None:
        if label == "unknown":
            raise ConfigurationError("there is no class 'unknown' in this swarm", "there are walk, run")
        given.append((label, seconds))

    with PageServer(labels_of(give)) as page:
        cookie, wish = page.cookie(), {"label": "walk", "seconds": 5}
        assert page.post("/api/label", wish)[0] == 401
        for headers in ({"Origin": "http://evil.example"}, {"Origin": ""}, {"Sec_Fetch_Site": "cross-site"}):
            assert page.post("/api/label", wish, Cookie=cookie, **headers)[0] == 403
        assert page.post("/api/label", wish, Cookie=cookie, Content_Type="text/plain")[0] == 415
        assert (
            page.ask(
                "POST", "/api/label", b"{", Cookie=cookie, Origin=f"http://{page.host}", Content_Type="application/json"
            )[0]
            == 400
        )
        for wrong in ([], 7, {"label": 7}, {"label": "a", "seconds": "b"}, {"label": "a", "seconds": True}, {}):
            assert page.post("/api/label", wrong, Cookie=cookie)[0] == 400
        assert page.post("/api/invite", wish, Cookie=cookie)[0] == 404
        assert given == []
        status, _, body = page.post("/api/label", wish, Cookie=cookie)
        assert (status, json.loads(body)) == (200, wish)
        status, _, body = page.post("/api/label", {"label": "unknown"}, Cookie=cookie)
        assert (status, json.loads(body)["remedy"]) == (400, "there are walk, run")
        assert given == [("walk", 5)]


@pytest.mark.parametrize(
    "path",
    [
        "/../access.py",
        "/%2e%2e/access.py",
        "/page/app.js",
        "//etc/passwd",
        "/app.js/",
        "/uplot-LICENSE.txt",
        "/static/../app.js",
        "/app.js%00",
    ],
)
def test_no_path_leads_to_a_file(page: PageServer, path: str) -> None:
    assert page.get(path, Cookie=page.cookie())[0] == 404


def test_what_is_too_large_or_strange_is_refused(page: PageServer) -> None:
    long = {"X_Long": "a" * 65_536}
    assert page.get("/", **long)[0] in (431, 0)  # 0: it closed before all was sent
    assert page.get("/", Transfer_Encoding="chunked")[0] == 501
    assert page.ask("POST", "/api/label", Content_Length="65537")[0] == 413
    assert page.ask("GET", "/", Content_Length="1")[0] == 413
    assert page.ask("PUT", "/")[0] == 405
    for data in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
    ):
        assert page.say(data)[0] == 400
    assert page.get("/app.js")[0] == 200


def test_every_answer_says_what_browsers_may_do_with_it(page: PageServer) -> None:
    for path in EVERY:
        _, headers, _ = page.get(path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_slow_connections_are_bounded_and_keep_no_viewer_out() -> None:
    with PageServer(bounds=ServerBounds(connections=8)) as page:
        cookie = page.cookie()
        slow = [page.connect() for _ in range(40)]
        for connection in slow:
            connection.sendall(b"GET / HT")
        assert page.get("/api/state", Cookie=cookie)[0] == 200
        for connection in slow[:30]:
            assert read_all(connection) == b""  # the oldest have been closed
        for connection in slow:
            connection.close()


def test_a_request_that_does_not_end_is_given_up() -> None:
    with PageServer(bounds=ServerBounds(seconds=0.2)) as page, page.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        assert read_all(connection) == b""


def test_a_connection_serves_a_bounded_number_of_requests() -> None:
    with PageServer(bounds=ServerBounds(requests=3)) as page, page.connect() as connection:
        connection.sendall(f"GET /icon.svg HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode() * 10)
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 3


def test_a_viewer_that_never_reads_is_dropped_and_costs_one_event() -> None:
    with PageServer(bounds=ServerBounds(seconds=0.3), now={"text": "x" * 4_000_000}) as page, page.connect() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = f"GET /api/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: {page.cookie()}\r\n\r\n"
        viewer.sendall(lines.encode())
        wait_for(lambda: page.built > 2, "the tick to go on beside it")
        wait_for(lambda: not page.board._watchers, "the viewer to be dropped")
        built = page.built
        assert page.get("/icon.svg")[0] == 200
        wait_for(lambda: not page.board.is_wanted, "nothing to be wanted")
        assert page.built >= built


def test_viewers_are_bounded() -> None:
    with PageServer(bounds=ServerBounds(viewers=2)) as page:
        lines = f"GET /api/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: {page.cookie()}\r\n\r\n".encode()
        viewers = [page.connect() for _ in range(2)]
        for viewer in viewers:
            viewer.sendall(lines)
            assert viewer.recv(100).startswith(b"HTTP/1.1 200")
        assert page.say(lines)[0] == 429
        viewers.pop().close()
        wait_for(lambda: page.board._watchers == 1, "one to go")
        viewers.pop().close()


def test_the_state_has_a_tag_and_is_compressed_where_that_is_wished() -> None:
    with PageServer(now={"text": "x" * 10_000}) as page:
        cookie = page.cookie()
        status, headers, body = page.get("/api/state", Cookie=cookie, Accept_Encoding="gzip, br")
        assert status == 200
        assert len(body) < 500
        found = json.loads(zlib.decompress(body, 31))
        assert found["set"] == page.parts
        serial = int(headers["etag"].strip('"').partition("-")[2])
        assert found["serial"] == serial
        assert page.get("/api/state", Cookie=cookie, If_None_Match=headers["etag"])[0] in (200, 304)
        page._stop.set()  # now nothing changes any more
        page._tick.join()
        _, headers, _ = page.get("/api/state", Cookie=cookie)
        assert page.get("/api/state", Cookie=cookie, If_None_Match=headers["etag"])[0] == 304


def test_history_is_given_since_a_time(page: PageServer) -> None:
    cookie = page.cookie()
    assert json.loads(page.get("/api/history", Cookie=cookie)[2]) == [[1000, 0.5, 1.0, None, None]]
    assert json.loads(page.get("/api/history?since=1000", Cookie=cookie)[2]) == []
    assert page.get("/api/history?since=-1", Cookie=cookie)[0] == 400


def test_events_bring_all_once_and_then_what_changed() -> None:
    with PageServer(now={"time": 1}, peer={"name": "a"}, other=1) as page, page.connect() as viewer:
        cookie = page.cookie()
        viewer.sendall(f"GET /api/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: {cookie}\r\n\r\n".encode())
        left = bytearray()
        first = event_in(viewer, left)
        assert first["set"] == page.parts
        page.parts = {"now": {"time": 2}, "peer": {"name": "a"}}
        found: dict[str, Any] = {}
        while not (found.get("set") or found.get("gone")):
            found = event_in(viewer, left)
        assert (found["set"], found["gone"]) == ({"now": {"time": 2}}, ["other"])
        newest = event_in(viewer, left)["id"]
        with page.connect() as again:
            resumed = (
                f"GET /api/events HTTP/1.1\r\nHost: {page.host}\r\nCookie: {cookie}\r\nLast-Event-ID: {newest}\r\n\r\n"
            )
            again.sendall(resumed.encode())
            said = event_in(again, bytearray())
            assert said["set"] in ({}, page.parts)  # all, if it was away for longer than a few states


def test_metrics_have_a_switch_of_their_own_and_need_no_token(page: PageServer) -> None:
    status, headers, body = page.get("/metrics")
    assert (status, body) == (200, b"learnae_up 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    with PageServer(metrics=False) as off:
        assert off.get("/metrics")[0] == 404


def test_nothing_is_built_while_no_viewer_is_there(page: PageServer) -> None:
    page.get("/")
    page.get("/app.js")
    assert page.built == 0
    assert answer_in(b"") == (0, {}, b"")
