"""Machines of one network find each other, whatever one of them says."""

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from networks import Machine, Network

from learnae.adapters.lan.beacons import Beacon, open_name
from learnae.adapters.lan.discovery import BeaconService, browse
from learnae.adapters.lan.mdns import MdnsOffer
from learnae.adapters.lan.multicast import Multicast
from learnae.adapters.lan.neighbours import MAX_PER_ADDRESS, Neighbour, Neighbours
from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.identity import Identity

pytestmark = [
    pytest.mark.engine("ip", "nft"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces"),
]

SWARM = open_name(Cid.of(DAG_CBOR, b"manifest"))
ANN, BOB, EVE = (Identity.from_seed(letter * 32) for letter in (b"a", b"b", b"e"))
PATIENCE = 20.0  # seconds until a test gives up; browsing ends as soon as what is looked for is here


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(bridges=2) as found:
        yield found


def _serving(identity: Identity, port: int = 7780) -> Callable[[], list[bytes]]:
    datagram = Beacon(SWARM, identity.author, port).to_bytes(identity)
    return lambda: [datagram]


def _addresses(neighbours: Neighbours) -> set[str]:
    return {each.address for each in neighbours.known(frozenset([SWARM]))}


def _browse(machine: Machine, is_found: Callable[[Neighbours], bool], mdns: bool = False) -> Neighbours:
    with machine:
        found = browse(PATIENCE, is_found=is_found, mdns=mdns)
    assert is_found(found), found.known()
    return found


def test_two_machines_find_each_other_by_both_families(network: Network) -> None:
    first, second, asker = (network.machine(0) for _ in range(3))
    heard = threading.Event()

    class Listening(Neighbours):
        def note(self, neighbour: Neighbour) -> None:
            super().note(neighbour)
            if neighbour.peer == BOB.author:
                heard.set()

    with first:
        ann = BeaconService(_serving(ANN), Listening())
    with ann:
        with second:
            bob = BeaconService(_serving(BOB))
        with bob:
            assert heard.wait(PATIENCE)
            found = _browse(asker, lambda heard: len(_addresses(heard)) == 4)
    known = {(each.address.split(":")[0], each.peer, each.port) for each in found.known(frozenset([SWARM]))}
    assert known == {
        (a, p.author, 7780) for a, p in (("10.77.0.1", ANN), ("fe80", ANN), ("10.77.0.2", BOB), ("fe80", BOB))
    }
    assert all(each.endswith("%eth0") for each in _addresses(found) if each.startswith("fe80"))
    assert not found.known(frozenset([b"another!"]))


def test_a_service_that_missed_others_hears_them_when_it_asks(network: Network) -> None:
    first, second = network.machine(0), network.machine(0)
    with first:
        ann = BeaconService(_serving(ANN), every=1000.0)
    second.nft("udp dport 21077")
    has_asked = threading.Event()

    def nothing() -> list[bytes]:  # what it says of itself, after its first question, which is lost
        has_asked.set()
        return []

    with second:
        bob = BeaconService(nothing, every=1000.0)
    with ann, bob:
        assert has_asked.wait(PATIENCE)
        second.nft("")
        assert not bob.neighbours.known()
        bob.ask()
        bob.ask()
        deadline = time.monotonic() + PATIENCE
        while not bob.neighbours.known() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert {each.peer for each in bob.neighbours.known()} == {ANN.author}
    bob.ask()  # closed by now: nothing happens


def test_one_who_asks_is_answered_though_every_second_datagram_is_lost(network: Network) -> None:
    first, asker = network.machine(0), network.machine(0)
    for machine in (first, asker):
        machine.nft("udp dport 21077 numgen inc mod 2 == 0")
    with first:
        service = BeaconService(_serving(ANN))
    with service:
        _browse(asker, lambda heard: bool(_addresses(heard)))


def test_where_multicast_is_lost_browsing_ends_with_nothing(network: Network) -> None:
    first, asker = network.machine(0), network.machine(0)
    first.nft("udp dport 21077")
    with first:
        service = BeaconService(_serving(ANN))
    with service, asker:
        assert not browse(0.5, mdns=False).known()
        assert service.state() == "connected"


def test_a_liar_hides_no_one(network: Network) -> None:
    first, liar, asker = (network.machine(0) for _ in range(3))
    forged = Beacon(SWARM, ANN.author, 666).to_bytes(EVE)
    own = [Beacon(SWARM, EVE.author, port).to_bytes(EVE) for port in range(1, 40)]
    errors = ErrorLog()
    heard = Neighbours(errors)
    with liar:
        group = Multicast()
    with first:
        service = BeaconService(_serving(ANN))
    with service, group, asker:

        def is_found(neighbours: Neighbours) -> bool:
            for datagram in (forged, b"", b"x" * 2000, *own):
                group.send(datagram)
            return "LimitError" in errors.counts and any(each.peer == ANN.author for each in neighbours.known())

        browse(PATIENCE, heard, is_found, mdns=False)
    known = heard.known(frozenset([SWARM]))
    assert {each.port for each in known if each.peer == ANN.author} == {7780}
    assert 666 not in {each.port for each in known}
    assert sum(each.address == "10.77.0.2" for each in known) <= MAX_PER_ADDRESS
    assert {"SignatureError", "EncodingError", "LimitError"} <= set(errors.counts)


def test_a_machine_with_two_networks_is_found_in_both_and_follows_a_cable(network: Network) -> None:
    router, left, right = network.machine(0), network.machine(0), network.machine(1)
    with router:
        service = BeaconService(_serving(ANN), every=0.2)
    with service:
        assert _addresses(_browse(left, lambda heard: "10.77.0.1" in _addresses(heard)))
        network.plug(router, "eth1", 1, 1)
        assert _addresses(_browse(right, lambda heard: "10.77.1.1" in _addresses(heard)))
        router.ip("link", "set", "eth0", "down")
        assert _addresses(_browse(right, lambda heard: "10.77.1.1" in _addresses(heard)))
        assert service.state() == "connected"


@pytest.mark.modules("zeroconf")
def test_an_offer_is_found_by_mdns_too(network: Network) -> None:
    first, asker = network.machine(0), network.machine(0)
    for machine in (first, asker):
        machine.ip("route", "add", "default", "via", "10.77.0.200")
    with first:
        offer = MdnsOffer(Beacon(bytes(8), ANN.author, 4711, 42))
        offer.__enter__()
    try:
        found = _browse(asker, lambda heard: bool(heard.known(number=42)), mdns=True)
    finally:
        offer.__exit__()
    assert {(each.address, each.port, each.way) for each in found.known(number=42)} == {("10.77.0.1", 4711, "mdns")}
