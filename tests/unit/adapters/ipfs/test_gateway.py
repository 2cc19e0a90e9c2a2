"""The gateway exchange against gateways that lie, stall, stream for ever, redirect, or are not there."""

import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from daemon import free_port
from hostile_http import Answer, HostileServer, endless, hostile_server, says, silence
from programs import wait_for

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.composite.exchange_link import CONNECTED
from learnae.adapters.ipfs.gateway import GatewayConnection, GatewayExchange
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.config.sections import GatewaySection
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, RAW, Cid
from learnae.runtime.links.connect import connect_gateways

DATA = b"weights"
CID = Cid.of(RAW, DATA)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with hostile_server(says(DATA)) as found:
        yield found


@pytest.fixture
def gateway(server: HostileServer) -> Iterator[GatewayExchange]:
    """What is to come does come, however busy the machine is."""
    exchange = GatewayExchange(server.url, 60, first_wait=60.0, probe_seconds=60.0)
    yield exchange
    exchange.close()


@pytest.fixture
def hasty(server: HostileServer) -> Iterator[GatewayExchange]:
    """One that soon gives up a block, for what never comes."""
    exchange = GatewayExchange(server.url, 60, first_wait=0.3, probe_seconds=60.0)
    yield exchange
    exchange.close()


def probes_well(answer: Answer) -> Answer:
    """Answers the probe, and everything else as ``answer`` does."""
    return lambda request: says(b"")(request) if "bafkqaaa" in request.path else answer(request)


def test_a_block_is_asked_for_by_name_as_raw_bytes(server: HostileServer, gateway: GatewayExchange) -> None:
    assert gateway.fetch(CID) == DATA
    assert server.asked == [f"/ipfs/{CID}?format=raw"]


def test_a_gateway_may_live_below_a_path(server: HostileServer) -> None:
    exchange = GatewayExchange(server.url + "/below/it/", 60)
    assert exchange.fetch(CID) == DATA
    assert server.asked == [f"/below/it/ipfs/{CID}?format=raw"]
    exchange.close()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:{port}", "127.0.0.1:{port}"),
        ("http://LOCALHOST:{port}/", "127.0.0.1:{port}"),
        ("http://127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("http://127.1:{port}", "127.1:{port}"),
    ],
)
def test_the_name_localhost_is_not_said_as_kubo_has_a_host_for_each_block_there(
    server: HostileServer, url: str, host: str
) -> None:
    hosts = []

    def answer(request) -> None:
        hosts.append(request.headers.get_all("Host"))
        says(DATA)(request)

    server.answer = answer
    exchange = GatewayExchange(url.format(port=server.port), 60, first_wait=60.0)
    assert exchange.fetch(CID) == DATA
    assert hosts == [[host.format(port=server.port)]]
    exchange.close()


def test_a_path_of_any_signs_is_asked_for(server: HostileServer) -> None:
    exchange = GatewayExchange(f"{server.url}/wäg%20/a+b", 60)
    assert exchange.fetch(CID) == DATA
    assert server.asked == [f"/w%C3%A4g%20/a+b/ipfs/{CID}?format=raw"]
    exchange.close()


@pytest.mark.parametrize(
    ("url", "port"), [("http://[::1]", 80), ("https://[::1]/x", 443), ("http://[::1]:8080", 8080), ("http://h", 80)]
)
def test_an_address_has_its_port(url: str, port: int) -> None:
    connection = GatewayExchange(url, 60).client.connect().inner
    assert (connection.host, connection.port) == ("h" if url.endswith("h") else "::1", port)


@pytest.mark.parametrize(
    ("location", "remedy"),
    [
        ("http://{name}.ipfs.gateway.example/?format=raw", "its IP address"),
        ("https://{name}.ipfs.localhost:8080/", "its IP address"),
        ("https://gateway.example/ipfs/{name}?format=raw", "write 'https://gateway.example' into"),
        ("https://gateway.example:8443/below/ipfs/{name}/", "write 'https://gateway.example:8443/below' into"),
        ("/elsewhere/ipfs/{name}", "write 'http://127.0.0.1:{port}/elsewhere' into"),
        ("https://login.example/?next={name}", "is it a trustless gateway"),
        ("https://me:sesame@gateway.example/ipfs/{name}", "is it a trustless gateway"),
        ("ftp://gateway.example/ipfs/{name}", "is it a trustless gateway"),
        ("http://[", "is it a trustless gateway"),
        ("", "is it a trustless gateway"),
    ],
)
def test_the_remedy_for_a_redirect_holds_for_every_block(
    server: HostileServer, gateway: GatewayExchange, location: str, remedy: str
) -> None:
    for name, call in ((str(CID), lambda: gateway.fetch(CID)), ("bafkqaaa", lambda: gateway.lacking(list))):
        server.answer = says(b"", 301, Location=location.format(name=name))
        with pytest.raises(TransportError) as caught:
            call()
        assert remedy.format(port=server.port) in caught.value.remedy
        assert name not in caught.value.remedy


def test_one_connection_serves_many_blocks(server: HostileServer, gateway: GatewayExchange) -> None:
    ports = set()

    def note(request) -> None:
        ports.add(request.client_address)
        says(DATA)(request)

    server.answer = note
    for _ in range(5):
        gateway.fetch(CID)
    assert len(ports) == 1


def test_a_kept_connection_that_was_closed_costs_nothing(server: HostileServer, gateway: GatewayExchange) -> None:
    def answer(request) -> None:
        says(DATA)(request)
        request.close_connection = True  # without saying so

    server.answer = answer
    assert [gateway.fetch(CID) for _ in range(4)] == [DATA] * 4


@pytest.mark.parametrize("status", [404, 410, 412, 500, 502, 504])
def test_what_it_has_not_got_is_missing(server: HostileServer, gateway: GatewayExchange, status: int) -> None:
    server.answer = says(b"no", status)
    with pytest.raises(BlockMissingError):
        gateway.fetch(CID)


@pytest.mark.parametrize(("status", "word"), [(301, "elsewhere"), (307, "elsewhere"), (403, "HTTP 403"), (204, "204")])
def test_other_answers_mean_that_it_is_no_gateway_and_redirects_are_not_followed(
    server: HostileServer, gateway: GatewayExchange, status: int, word: str
) -> None:
    server.answer = says(b"", status, Location="http://elsewhere.invalid/x")
    with pytest.raises(TransportError, match=word) as caught:
        gateway.fetch(CID)
    assert caught.type is TransportError
    assert len(server.asked) == 1
    with pytest.raises(TransportError):
        gateway.lacking(list)


def test_no_more_is_read_than_a_block_may_have(server: HostileServer, gateway: GatewayExchange) -> None:
    server.answer = endless(b"x" * 65536, server.over)
    assert len(gateway.fetch(CID)) == MAX_BLOCK_BYTES + 1
    server.answer = says(bytes(3 << 20))
    assert len(gateway.fetch(CID)) == MAX_BLOCK_BYTES + 1
    server.answer = says(DATA)
    assert gateway.fetch(CID) == DATA


def test_a_body_that_drips_is_given_up_in_time(server: HostileServer, hasty: GatewayExchange) -> None:
    server.answer = probes_well(endless(b"x", server.over, pause=0.05))
    with pytest.raises(BlockMissingError, match="not found"):
        hasty.fetch(CID)


def test_headers_that_drip_are_given_up_in_time(server: HostileServer, hasty: GatewayExchange) -> None:
    def drip(request) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not server.over.wait(0.05):
            request.wfile.write(b"x")

    server.answer = probes_well(drip)
    with pytest.raises(BlockMissingError, match="not found"):
        hasty.fetch(CID)


def test_a_body_that_is_cut_short_is_a_broken_link_and_no_lie(server: HostileServer, gateway: GatewayExchange) -> None:
    def answer(request) -> None:
        says(DATA[:3], Content_Length=str(len(DATA)))(request)
        request.close_connection = True

    server.answer = answer
    with pytest.raises(TransportError, match="cannot be reached"):
        gateway.fetch(CID)


def test_one_that_still_looks_for_the_block_is_told_from_one_that_hangs(
    server: HostileServer, hasty: GatewayExchange
) -> None:
    server.answer = probes_well(silence(server.over))
    with pytest.raises(BlockMissingError):
        hasty.fetch(CID)
    server.answer = silence(server.over)
    hasty.probe_seconds = 0.3
    with pytest.raises(TransportError, match="does not answer") as caught:
        hasty.fetch(CID)
    assert caught.type is TransportError


@pytest.mark.parametrize(
    "noise", [b"\x00" * 100, b"HTTP/9.9 banana\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999]
)
def test_noise_is_no_answer(server: HostileServer, gateway: GatewayExchange, noise: bytes) -> None:
    def answer(request) -> None:
        request.wfile.write(noise)
        request.close_connection = True

    server.answer = answer
    with pytest.raises(TransportError):
        gateway.fetch(CID)


def test_nobody_there(server: HostileServer) -> None:
    exchange = GatewayExchange(f"http://127.0.0.1:{free_port()}", 1)
    for call in (lambda: exchange.fetch(CID), lambda: exchange.lacking(list)):
        with pytest.raises(TransportError, match="cannot be reached"):
            call()


def test_closing_ends_a_call_under_way(server: HostileServer) -> None:
    server.answer = silence(server.over)
    exchange = GatewayExchange(server.url, 600, first_wait=600)
    ended = []

    def fetch() -> None:
        try:
            exchange.fetch(CID)
        except TransportError as error:
            ended.append(str(error))

    thread = threading.Thread(target=fetch)
    thread.start()
    wait_for(lambda: server.asked, "the request")
    exchange.close()
    thread.join(60)
    assert ended == [f"the link to gateway {server.url} is closed"]


class Held(GatewayConnection):
    """A connection that is held up while it is made; ``meanwhile`` happens before or after it is there."""

    def __init__(self, server: HostileServer, before: Callable[[], None], after: Callable[[], None]) -> None:
        super().__init__(HTTPConnection("127.0.0.1", server.port))
        self.before, self.after = before, after

    def connect(self) -> None:
        self.before()
        super().connect()
        self.after()


def nothing() -> None:
    pass


def until_too_late() -> None:
    """Until the timer of the call under way has ended."""
    wait_for(lambda: not any(isinstance(one, threading.Timer) for one in threading.enumerate()), "the end of patience")


def test_closing_ends_a_call_whose_connection_is_being_made(
    server: HostileServer, gateway: GatewayExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = silence(server.over)
    monkeypatch.setattr(gateway.client, "connect", lambda: Held(server, gateway.close, nothing))
    with pytest.raises(TransportError, match="is closed"):
        gateway.fetch(CID)
    assert server.asked == []


def test_a_connection_that_takes_too_long_is_given_up_before_anything_is_asked(
    server: HostileServer, hasty: GatewayExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter([Held(server, until_too_late, nothing)])
    connect = hasty.client.connect
    monkeypatch.setattr(hasty.client, "connect", lambda: next(made, None) or connect())
    server.answer = probes_well(says(DATA))
    with pytest.raises(BlockMissingError, match="not found"):
        hasty.fetch(CID)
    assert [path for path in server.asked if "bafkqaaa" not in path] == []


def test_nobody_else_is_given_a_connection_that_is_being_cut(
    server: HostileServer, hasty: GatewayExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, read = [], GatewayConnection.answer

    def slowly(connection: GatewayConnection, most: int) -> object:
        found = read(connection, most)
        used.append(connection)
        if len(used) == 1:
            until_too_late()  # the answer is here, and it is late
        return found

    monkeypatch.setattr(GatewayConnection, "answer", slowly)
    server.answer = lambda request: says(b"" if "bafkqaaa" in request.path else DATA)(request)
    with pytest.raises(BlockMissingError):
        hasty.fetch(CID)
    assert used[0] not in hasty.client.idle
    assert used[1] in hasty.client.idle


def test_a_lying_gateway_is_refused_and_counted_and_the_next_one_heals(server: HostileServer, tmp_path: Path) -> None:
    server.answer = probes_well(says(b"poison"))
    problems = ErrorLog()
    with hostile_server(says(DATA)) as honest:
        exchanges = connect_gateways(GatewaySection(gateways=f"{server.url} {honest.url}/", timeout=60)).exchanges
        store = BlockService(LocalBlockStore(tmp_path), problems)
        links = store.join(exchanges)
        wait_for(lambda: all(link.state == CONNECTED for link in links.values()), "both gateways")
        store.want([CID])
        wait_for(lambda: store.has(CID), "the block")
        assert store.get(CID) == DATA
        store.want([])
        store.close()
    assert list(exchanges) == [f"gateway {server.url}", f"gateway {honest.url}"]
    assert problems.counts["EncodingError"] == 1
    assert f"gateway {server.url} sent wrong bytes" in problems.last["EncodingError"]
