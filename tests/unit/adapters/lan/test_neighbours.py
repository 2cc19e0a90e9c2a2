"""Beacons are what their peer signed; neighbours are bounded and forgotten."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.adapters.lan.beacons import BEACON_BYTES, QUESTION, Beacon, open_name, sealed_name, sealed_names
from learnae.adapters.lan.neighbours import MAX_AGE_SECONDS, MAX_PER_ADDRESS, Neighbour, Neighbours
from learnae.basics.error_log import ErrorLog
from learnae.errors import EncodingError, LimitError, SignatureError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.identity import Identity

ANN, EVE = Identity.from_seed(b"a" * 32), Identity.from_seed(b"e" * 32)
SWARM = open_name(Cid.of(DAG_CBOR, b"manifest"))
BEACON = Beacon(SWARM, ANN.author, 7780)
DAY = 86_400_000


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 65535), st.integers(0, 255), st.binary(min_size=8, max_size=8))
def test_a_beacon_is_read_as_it_was_signed(port: int, number: int, swarm: bytes) -> None:
    beacon = Beacon(swarm, ANN.author, port, number)
    data = beacon.to_bytes(ANN)
    assert len(data) == BEACON_BYTES <= 150
    assert Beacon.from_bytes(data) == beacon


@given(st.integers(0, BEACON_BYTES * 8 - 1))
def test_one_bit_that_is_another_is_refused(bit: int) -> None:
    data = bytearray(BEACON.to_bytes(ANN))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((SignatureError, EncodingError)):
        Beacon.from_bytes(bytes(data))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_and_counted(data: bytes) -> None:
    errors = ErrorLog()
    neighbours = Neighbours(errors)
    assert neighbours.hear(data, "192.0.2.1") == (data == QUESTION)
    assert not neighbours.known()
    assert errors.counts == ({} if data == QUESTION else {"EncodingError": 1})


def test_a_beacon_that_another_peer_signed_or_without_a_port_is_refused() -> None:
    with pytest.raises(SignatureError):
        Beacon.from_bytes(BEACON.to_bytes(EVE))
    with pytest.raises(EncodingError, match="without a port"):
        Beacon.from_bytes(replace(BEACON, port=0).to_bytes(ANN))


def test_who_misses_three_beacons_is_forgotten() -> None:
    clock = Clock()
    neighbours = Neighbours(monotonic=clock)
    neighbours.hear(BEACON.to_bytes(ANN), "192.0.2.1")
    clock.now = MAX_AGE_SECONDS / 2
    neighbours.hear(Beacon(SWARM, EVE.author, 1).to_bytes(EVE), "192.0.2.2")
    assert [each.address for each in neighbours.known()] == ["192.0.2.2", "192.0.2.1"]
    clock.now = MAX_AGE_SECONDS + 1
    assert [each.address for each in neighbours.known()] == ["192.0.2.2"]
    neighbours.hear(BEACON.to_bytes(ANN), "192.0.2.1")
    assert [each.address for each in neighbours.known(frozenset([SWARM]))] == ["192.0.2.1", "192.0.2.2"]


def test_one_address_takes_no_room_from_others() -> None:
    clock = Clock()
    errors = ErrorLog()
    neighbours = Neighbours(errors, clock)
    neighbours.hear(BEACON.to_bytes(ANN), "192.0.2.1")
    for number in range(200):
        neighbours.hear(Beacon(SWARM, EVE.author, 1 + number).to_bytes(EVE), "192.0.2.66")
    assert sum(each.address == "192.0.2.66" for each in neighbours.known()) == MAX_PER_ADDRESS
    assert errors.counts == {"LimitError": 200 - MAX_PER_ADDRESS}
    assert neighbours.known()[-1].address == "192.0.2.1"
    clock.now = 30.0
    neighbours.hear(Beacon(SWARM, EVE.author, 1).to_bytes(EVE), "192.0.2.66")  # one that is known is renewed
    assert neighbours.known()[0].port == 1


def test_what_a_peer_says_itself_makes_no_neighbour() -> None:
    neighbours = Neighbours(monotonic=Clock(), own=ANN.author)
    neighbours.hear(BEACON.to_bytes(ANN), "192.0.2.1")
    assert not neighbours.known()


def test_many_addresses_are_bounded() -> None:
    neighbours = Neighbours(monotonic=Clock())
    for number in range(2000):
        address = f"10.0.{number // 250}.{number % 250}"
        neighbours.note(Neighbour(address, 1, SWARM, bytes(32)))
        assert neighbours.may_try(address)
    assert len(neighbours.known()) == 512


def test_an_address_is_tried_a_few_times_a_minute() -> None:
    clock = Clock()
    neighbours = Neighbours(monotonic=clock)
    assert [neighbours.may_try("192.0.2.1") for _ in range(8)] == [True] * 6 + [False] * 2
    assert neighbours.may_try("192.0.2.2")
    clock.now = 10.0
    assert [neighbours.may_try("192.0.2.1") for _ in range(2)] == [True, False]


def test_offers_and_exchanges_are_not_mixed_up() -> None:
    neighbours = Neighbours(monotonic=Clock())
    neighbours.note(Neighbour("192.0.2.1", 1, bytes(8), ANN.author, 4))
    neighbours.note(Neighbour("192.0.2.1", 2, SWARM, ANN.author))
    neighbours.note(Neighbour("192.0.2.2", 3))  # mDNS of a sealed swarm names none
    assert [each.port for each in neighbours.known(number=4)] == [1]
    assert [each.port for each in neighbours.known(frozenset([SWARM]))] == [3, 2]
    assert [each.port for each in neighbours.known(frozenset([b"another!"]))] == [3]
    assert neighbours.numbers() == {4}


def test_a_sealed_swarm_has_another_name_each_day_and_clocks_may_differ() -> None:
    root = b"r" * 32
    noon = 20_000 * DAY + DAY // 2
    today = sealed_name(root, noon)
    assert sealed_name(root, noon + DAY // 2 - 1) == today
    assert len({sealed_name(root, noon + days * DAY) for days in range(30)}) == 30
    assert sealed_name(b"s" * 32, noon) != today
    for days, is_known in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        assert (today in sealed_names(root, noon + days * DAY)) == is_known
    assert sealed_names(root, 0)


def test_more_neighbours_of_one_address_are_refused() -> None:
    neighbours = Neighbours(monotonic=Clock())
    for port in range(1, MAX_PER_ADDRESS + 1):
        neighbours.note(Neighbour("192.0.2.1", port))
    with pytest.raises(LimitError, match=r"192\.0\.2\.1 says that it is more than 16 machines"):
        neighbours.note(Neighbour("192.0.2.1", 1000))
