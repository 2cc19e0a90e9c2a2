"""Where a member is tried next: beacons give places, never who is there, and few tries."""

from __future__ import annotations

from learnae.adapters.lan.beacons import Beacon
from learnae.adapters.lan.neighbours import Neighbour, Neighbours
from learnae.adapters.lan.whereabouts import Whereabouts
from learnae.protocol.identity import Identity

ANN, BOB, EVE = (Identity.from_seed(bytes([number]) * 32) for number in range(3))
SWARM = b"8 bytes!"
HOME = ("192.0.2.1", 8733)


class Neighbourhood:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.heard = Neighbours(monotonic=lambda: self.now)

    def say(self, identity: Identity, address: str, port: int = 8733, swarm: bytes = SWARM) -> None:
        self.heard.hear(Beacon(swarm, identity.author, port).to_bytes(identity), address)

    def member(self, key: bytes | None) -> Whereabouts:
        def ask() -> None:
            self.asked += 1

        return Whereabouts(
            HOME, key, self.heard, lambda: frozenset([SWARM]), lambda by: by in (ANN.author, BOB.author), ask
        )


def test_a_member_is_found_where_its_beacon_comes_from_and_not_where_others_do() -> None:
    around = Neighbourhood()
    around.say(BOB, "192.0.2.2")
    around.say(EVE, "192.0.2.3")
    around.say(ANN, "192.0.2.4", swarm=b"another!")
    member = around.member(ANN.author)
    member.leave(HOME)
    assert member.place == HOME
    assert around.asked == 1
    around.say(ANN, "192.0.2.9", 9000)
    member.leave(HOME)
    assert member.place == ("192.0.2.9", 9000)
    member.leave(HOME)  # of another thread, that has failed there, too
    assert member.place == ("192.0.2.9", 9000)
    member.leave(member.place)
    assert member.place == HOME, "the configured place is tried again"


def test_without_a_key_any_member_will_do() -> None:
    around = Neighbourhood()
    around.say(EVE, "192.0.2.3")
    around.say(BOB, "192.0.2.2")
    member = around.member(None)
    member.leave(HOME)
    assert member.place == ("192.0.2.2", 8733)


def test_a_service_that_names_no_peer_is_no_member() -> None:
    around = Neighbourhood()
    around.heard.note(Neighbour("192.0.2.5", 8733, way="mdns"))
    for key in (None, ANN.author):
        member = around.member(key)
        member.leave(HOME)
        assert member.place == HOME


def test_an_address_that_repeats_a_members_beacon_is_tried_a_few_times_a_minute_and_hides_no_other() -> None:
    around = Neighbourhood()
    for port in range(1, 9):
        around.say(ANN, "192.0.2.66", port)
    around.say(ANN, "192.0.2.9")
    member = around.member(ANN.author)
    tried = []
    for _ in range(40):
        member.leave(member.place)
        tried.append(member.place)
    assert sum(host == "192.0.2.66" for host, _ in tried) == 6
    assert ("192.0.2.9", 8733) in tried[:10]
    assert HOME in tried[:11]
