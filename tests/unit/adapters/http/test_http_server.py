"""The server against clients that drip, stall, flood, send garbage and play tricks with paths."""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from daemon import HOST
from lan_rig import LanMember, new_swarm
from programs import wait_for

from learnae.adapters.http.certificate import PinnedConnection
from learnae.adapters.http.serving.server import ServerLimits
from learnae.adapters.local.block_database import FILE
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid

DATA = b"weights"
LARGE = bytes(range(256)) * (MAX_BLOCK_BYTES // 256)
LIMITS = ServerLimits(connections=6, per_address=6, seconds=0.5, idle=0.5, blocks=2)
NEVER = 60.0  # seconds: what ends sooner was ended by the server


@pytest.fixture
def opened() -> Iterator[Callable[..., LanMember]]:
    """Opens a member with a block, and closes it."""
    with ExitStack() as stack:

        def make(directory: Path, limits: ServerLimits = LIMITS) -> LanMember:
            member = LanMember(directory, new_swarm(), limits=limits)
            stack.callback(member.close)
            for data in (DATA, LARGE):
                member.store.put(RAW, data)
            return member

        yield make


@pytest.fixture
def member(tmp_path: Path, opened: Callable[..., LanMember]) -> LanMember:
    return opened(tmp_path)


def connect(member: LanMember) -> socket.socket:
    return socket.create_connection((HOST, member.port), NEVER)


def get(cid: Cid, *headers: str) -> bytes:
    return "\r\n".join([f"GET /ipfs/{cid}?format=raw HTTP/1.1", "Host: board", *headers, "", ""]).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server ends it."""
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except ConnectionResetError:  # it did not read all
        pass
    return found


def said(member: LanMember, request: bytes) -> bytes:
    with closing(connect(member)) as connection:
        connection.sendall(request)
        return rest(connection)


def serves_on(member: LanMember) -> bool:
    """Whether an honest client is still answered."""
    found = said(member, get(Cid.of(RAW, DATA), "Connection: close"))
    return found.startswith(b"HTTP/1.1 200 ") and found.endswith(DATA)


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\nHost: board\n\n\r\n\r\n", 400, "EncodingError"),
        (b"GET /\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/2.0\r\nHost: b\r\n\r\n", 400, "EncodingError"),
        (b"GET http://other.invalid/ipfs/x HTTP/1.1\r\nHost: b\r\n\r\n", 400, "EncodingError"),
        (b"CONNECT other.invalid:443 HTTP/1.1\r\nHost: b\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nA : b\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nA: b\r\n c\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nContent-Length: -1\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "EncodingError"),
        (b"POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\n" + b"A: b\r\n" * 65 + b"\r\n", 431, "LimitError"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: b\r\n\r\n", 431, "LimitError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nA: " + b"x" * 20_000, 431, "LimitError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello", 413, "LimitError"),
        (b"PUT /ipfs/x HTTP/1.1\r\nHost: b\r\nContent-Length: 99999999\r\n\r\n", 413, "LimitError"),
        (b"POST /x HTTP/1.1\r\nHost: b\r\nContent-Length: 999999\r\n\r\n", 413, "LimitError"),
        (b"DELETE /ipfs/x HTTP/1.1\r\nHost: b\r\n\r\n", 405, "EncodingError"),
        (b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n", 400, "EncodingError"),
        (b"GET / HTTP/1.1\r\nHost: b\r\nA: ", 408, "LimitError"),
    ],
)
def test_what_is_no_request_of_ours_is_refused_counted_and_ended(
    member: LanMember, request_: bytes, status: int, error: str
) -> None:
    assert said(member, request_).startswith(b"HTTP/1.1 %d " % status)
    wait_for(lambda: member.errors.counts == {error: 1}, "the count")
    assert HOST in member.errors.last[error]
    assert serves_on(member)


@pytest.mark.parametrize(
    "path",
    [
        "/ipfs/../key.pem",
        "/ipfs/%2e%2e/key.pem",
        "/ipfs//etc/passwd",
        "/ipfs/" + "b" * 129,
        "/ipfs/",
        "/ipfs",
        "//ipfs/x",
        "/key.pem",
        "/learnae/1/%s/vector/",
        "/learnae/1/../1/%s/vector",
        "/learnae/1/" + "a" * 59 + "/vector",
        "/learnae/2/%s/vector",
    ],
)
def test_no_path_leads_anywhere_else(member: LanMember, path: str) -> None:
    path = path.replace("%s", str(member.swarm))
    found = said(member, f"GET {path}?format=raw HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
    assert found.split()[1] in (b"400", b"404")
    assert found.endswith(b"\r\n\r\n"), "nothing but the status"


def test_a_client_that_drips_its_headers_is_ended_in_time(member: LanMember) -> None:
    found = b""
    with closing(connect(member)) as connection, suppress(ConnectionError):  # it is cut off, by a reset or an end
        connection.settimeout(0.05)
        while b"408" not in found:
            connection.sendall(b"G")
            with suppress(TimeoutError):
                found += connection.recv(4096)
    assert b" 408 " in found
    assert serves_on(member)


@pytest.mark.parametrize("sent", [b"", b"\r\n" * 3])
def test_a_connection_that_says_nothing_is_ended(member: LanMember, sent: bytes) -> None:
    with closing(connect(member)) as connection:
        connection.sendall(sent)
        assert rest(connection)[:12] in (b"", b"HTTP/1.1 400")
    assert serves_on(member)


def test_a_client_that_goes_away_in_the_middle_costs_nothing(member: LanMember) -> None:
    for part in (b"GET /ip", get(Cid.of(RAW, LARGE))):
        connect(member).sendall(part)  # and it is forgotten: no end is said
        connection = connect(member)
        connection.sendall(part)
        connection.close()
    wait_for(lambda: not member.server._open, "all to be over")
    assert serves_on(member)


def test_one_that_does_not_read_its_answers_holds_up_nobody(tmp_path: Path, opened: Callable[..., LanMember]) -> None:
    slow = ServerLimits(per_address=8, seconds=0.5, slowest=1 << 22, blocks=8)
    member = opened(tmp_path, slow)
    with ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(closing(socket.socket()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((HOST, member.port))
            connection.sendall(get(Cid.of(RAW, LARGE)) * 8)
        assert serves_on(member)
        wait_for(lambda: member.errors.counts.get("LimitError", 0) >= 3, "them to be given up")
    assert "not taken in time" in member.errors.last["LimitError"]


def test_few_blocks_are_in_memory_at_once(tmp_path: Path, opened: Callable[..., LanMember]) -> None:
    member = opened(tmp_path, ServerLimits(seconds=0.5, blocks=1))
    with closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((HOST, member.port))
        slow.sendall(get(Cid.of(RAW, LARGE)) * 8)
        assert slow.recv(12) == b"HTTP/1.1 200"
        found = said(member, get(Cid.of(RAW, DATA), "Connection: close"))
    assert found.startswith(b"HTTP/1.1 429 ")
    assert "too many blocks" in member.errors.last["LimitError"]
    wait_for(lambda: serves_on(member), "room again")


@pytest.mark.parametrize("limits", [ServerLimits(connections=3), ServerLimits(per_address=3)])
def test_no_more_connections_than_allowed(
    tmp_path: Path, opened: Callable[..., LanMember], limits: ServerLimits
) -> None:
    member = opened(tmp_path, limits)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(closing(connect(member)))
        wait_for(lambda: len(member.server._open) == 3, "three")
        assert said(member, b"").startswith(b"HTTP/1.1 429 ")
        assert "too many connections" in member.errors.last["LimitError"]
    wait_for(lambda: serves_on(member), "room again")


def test_requests_in_one_piece_are_answered_in_order(member: LanMember) -> None:
    missing = Cid.of(RAW, b"not here")
    one, two = get(Cid.of(RAW, DATA)), get(Cid.of(RAW, LARGE), "Connection: close")
    found = said(member, one + get(missing) + one + two)
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"404", b"200", b"200"]
    assert hashlib.sha256(found[-len(LARGE) :]).digest() == Cid.of(RAW, LARGE).digest
    assert member.errors.counts == {}, "a block that is not here is no fault"


def test_no_more_bytes_go_out_than_the_owner_allows(tmp_path: Path, opened: Callable[..., LanMember]) -> None:
    member = opened(tmp_path, ServerLimits(rate=1.0))
    request = get(Cid.of(RAW, LARGE), "Connection: close")
    statuses = [said(member, request).split()[1] for _ in range(6)]
    assert statuses == [b"200"] * 4 + [b"429"] * 2, "one address takes half of it"
    with closing(socket.create_connection((HOST, member.port), 60, ("127.0.0.2", 0))) as other:
        other.sendall(request)
        assert rest(other).startswith(b"HTTP/1.1 200 ")
    assert "than may go out" in member.errors.last["LimitError"]
    probe = b"GET /ipfs/bafkqaaa?format=raw HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"
    assert said(member, probe).startswith(b"HTTP/1.1 200 "), "the probe is free"


def test_a_store_that_fails_is_said_and_counted(member: LanMember, tmp_path: Path) -> None:
    member.store.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.write(bytes(200))
    assert said(member, get(Cid.of(RAW, DATA))).startswith(b"HTTP/1.1 500 ")
    wait_for(lambda: member.errors.counts, "the count")
    assert "blocks.sqlite" in str(member.errors.last)


def test_closing_ends_all_connections_and_frees_the_port(member: LanMember) -> None:
    with closing(connect(member)) as waiting:
        waiting.sendall(b"GET /learnae/1/%s/vector HTTP/1.1\r\nHost: b\r\n\r\n" % str(member.swarm).encode())
        assert waiting.recv(15) == b"HTTP/1.1 200 OK"
        for _ in range(2):
            member.server.close()
        rest(waiting)
    with socket.create_server((HOST, member.port)):
        pass
    assert member.errors.counts == {}


def test_a_port_that_is_taken_is_said_and_tried_again(tmp_path: Path) -> None:
    member = LanMember(tmp_path, new_swarm(), serves=False)
    with closing(member):
        with socket.create_server((HOST, member.port)):
            member.server.start()
            wait_for(lambda: "in use" in member.server.state(), "the state")
            assert "choose another lan.serve" in member.errors.last["TransportError"]
        wait_for(lambda: member.server.state().startswith("serving"), "the port")


def test_an_encrypted_connection_counts_once(tmp_path: Path) -> None:
    member = LanMember(tmp_path, new_swarm(), limits=ServerLimits(connections=2), encrypted=True)
    with closing(member), ExitStack() as stack:
        for _ in range(2):
            pinned = PinnedConnection(HOST, member.port, member.identity.author)
            pinned.connect()
            stack.callback(pinned.close)
        assert len(member.server._open) == 2
        assert said(member, b"") == b"", "a third is ended, without a word in another language"


def test_noise_on_an_encrypted_port_is_refused_and_counted(tmp_path: Path) -> None:
    member = LanMember(tmp_path, new_swarm(), limits=LIMITS, encrypted=True)
    with closing(member):
        said(member, get(Cid.of(RAW, DATA)))
        wait_for(lambda: "no handshake" in member.errors.last.get("EncodingError", ""), "the count")
        with closing(connect(member)) as silent:
            rest(silent)
        wait_for(lambda: member.errors.counts["EncodingError"] == 2, "the count")
