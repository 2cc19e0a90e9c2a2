"""A code that is read aloud gets from one machine to another, past those that guess, lie or hold connections."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from networks import Machine, Network

from learnae.adapters.lan.beacons import Beacon
from learnae.adapters.lan.discovery import BeaconService
from learnae.adapters.lan.mdns import MdnsOffer
from learnae.adapters.lan.rendezvous import OfferServer, accept_code, offer_code
from learnae.errors import ConfigurationError, TransportError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes.invite_code import InviteCode
from learnae.membership.codes.spoken_code import Offer, SpokenCode
from learnae.protocol.identity import Identity

pytestmark = [
    pytest.mark.engine("ip", "nft"),
    pytest.mark.modules("spake2"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]

CODE = InviteCode(Cid.of(DAG_CBOR, b"manifest"), bytes(32), ("mqtts://broker.example.org",))
OTHER = InviteCode(Cid.of(DAG_CBOR, b"another"), bytes(32))
SPOKEN, WRONG = SpokenCode(4, ("orbit", "piano")), SpokenCode(4, ("orbit", "planet"))
ANN, EVE = Identity.from_seed(b"a" * 32), Identity.from_seed(b"e" * 32)
MASKS = [Identity.from_seed(bytes([number] * 32)) for number in range(5)]
PATIENCE = 20.0


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as found:
        yield found


@contextmanager
def _offering(machine: Machine, spoken: SpokenCode | None = SPOKEN) -> Iterator[tuple[Future[bool], SpokenCode, int]]:
    """Run an offer in a thread; it is stopped at the end."""
    stop, ready = threading.Event(), Future[tuple[SpokenCode, int]]()

    def run() -> bool:
        with machine:
            return offer_code(CODE, ANN, lambda *found: ready.set_result(found), spoken, is_stopped=stop.is_set)

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(run)
        try:
            yield result, *ready.result(PATIENCE)
        finally:
            stop.set()


def test_the_code_arrives_after_one_wrong_try(network: Network) -> None:
    member, joiner = network.machine(0), network.machine(0)
    with _offering(member, None) as (result, spoken, port), joiner:
        wrong = SpokenCode(spoken.number, (spoken.words[0], "zebra" if spoken.words[1] != "zebra" else "zigzag"))
        with pytest.raises(ConfigurationError, match=f"not those of the offer {spoken.number}; ask again: 2 of 3"):
            accept_code(wrong, ("10.77.0.1", port))
        assert accept_code(SpokenCode.parse(str(spoken).upper()), seconds=PATIENCE) == CODE
        assert result.result(PATIENCE)


def test_three_wrong_tries_end_the_offer_for_both(network: Network) -> None:
    member, joiner = network.machine(0), network.machine(0)
    with _offering(member) as (result, _, port), joiner:
        for _ in range(3):
            with pytest.raises(ConfigurationError):
                accept_code(WRONG, ("10.77.0.1", port))
        with pytest.raises(ConfigurationError, match="3 wrong tries at the offer 4: it is over; make another one"):
            result.result(PATIENCE)
        with pytest.raises(TransportError, match="does not answer"):
            accept_code(SPOKEN, ("10.77.0.1", port))


def test_an_offer_that_is_not_here_is_told_from_wrong_words(network: Network) -> None:
    joiner = network.machine(0)
    with joiner:
        with pytest.raises(TransportError, match="no offer 4 on this network; are both machines in one network"):
            accept_code(SPOKEN, seconds=0.2)
        with pytest.raises(TransportError, match=r"127\.0\.0\.1 port 9 does not answer: Connection refused"):
            accept_code(SPOKEN, ("127.0.0.1", 9))


def test_one_who_offers_the_same_number_does_not_keep_the_code_away(network: Network) -> None:
    member, liar, joiner = (network.machine(0) for _ in range(3))
    stop = threading.Event()
    offer = Offer(WRONG, OTHER, EVE.author)

    def serve() -> None:
        with liar, OfferServer(offer) as server:
            beacons = [Beacon(bytes(8), each.author, server.port, 4).to_bytes(each) for each in (EVE, *MASKS)]
            with BeaconService(lambda: beacons, every=0.05):
                while not stop.is_set():
                    server.serve(0.1)

    with ThreadPoolExecutor(1) as pool:
        lying = pool.submit(serve)
        try:
            with _offering(member) as (result, _, _), joiner:
                assert accept_code(SPOKEN, seconds=PATIENCE) == CODE
                assert result.result(PATIENCE)
        finally:
            stop.set()
        lying.result(PATIENCE)
    assert offer.tries_left >= 1  # one guess at each of its two addresses, at most


def test_wrong_words_are_said_once_to_a_peer_with_many_addresses(network: Network) -> None:
    member, joiner = network.machine(0), network.machine(0)
    for number in range(4):
        member.ip("addr", "add", f"fd00::{number + 1}/64", "dev", "eth0", "nodad")
    offer = Offer(SPOKEN, CODE, ANN.author)
    stop = threading.Event()

    def serve() -> None:
        with member, OfferServer(offer) as server:
            beacon = Beacon(bytes(8), ANN.author, server.port, 4)
            datagram = beacon.to_bytes(ANN)
            with BeaconService(lambda: [datagram], every=0.05), MdnsOffer(beacon):
                while not stop.is_set():
                    server.serve(0.1)

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        try:
            with joiner, pytest.raises(ConfigurationError, match="not those of the offer 4; ask again: 2 of 3"):
                accept_code(WRONG, seconds=3)
        finally:
            stop.set()
        serving.result(PATIENCE)
    assert offer.tries_left == 2


def test_without_ipv6_the_code_arrives_too(network: Network) -> None:
    member, joiner = network.machine(0), network.machine(0)
    for machine in (member, joiner):
        with machine:
            Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with _offering(member) as (result, spoken, _), joiner:
        assert accept_code(spoken, seconds=PATIENCE) == CODE
        assert result.result(PATIENCE)


def test_garbage_and_held_connections_cost_no_try(network: Network) -> None:
    member, guest, joiner = (network.machine(0) for _ in range(3))
    with _offering(member) as (result, _, port), ExitStack() as held:
        with guest:
            for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff", b"\0\0", b"\0\x05hello", b"\0\x47" + bytes(71)):
                with socket.create_connection(("10.77.0.1", port), PATIENCE) as connection:
                    connection.sendall(data)
                    if data:
                        assert _is_closed(connection)
            for _ in range(10):  # eight are taken at once, of one address two
                connection = held.enter_context(socket.create_connection(("10.77.0.1", port), PATIENCE))
                connection.sendall(b"\0")
            assert _is_closed(connection)
        with joiner:
            assert accept_code(SPOKEN, ("10.77.0.1", port)) == CODE
        assert result.result(PATIENCE)


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:  # with something unread
        return True
