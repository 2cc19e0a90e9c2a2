"""Leases: an author's frames are heard while they are wanted, by as many authors as there is room for."""

import threading

import pytest
from builders import SWARM, some_cid
from desk import Desk, guard

from learnae.adapters.mqtt.blocks.leases import Leases
from learnae.adapters.mqtt.topics import Topics
from learnae.protocol.identity import author_of_name, peer_name
from learnae.protocol.neighbourhood.interest import Interest, Zone, place_of


class Setting:
    def __init__(self) -> None:
        self.now = 1000.0
        self.desk = Desk()
        self.leases = Leases(self.desk, Topics("t", str(SWARM), "alice"), 600.0, 2, lambda: self.now)
        guard(self.leases, "_authors", "_ends")
        for number, author in enumerate(("alice", "bob", "carol", "dave")):
            self.leases.note(author, [some_cid(number)])

    def begin(self, number: int) -> list[str]:
        """The authors that are heard once block ``number`` is wanted."""
        self.leases.begin(some_cid(number), print)
        return [topic.split("/")[2] for topic in self.desk.handlers]


@pytest.fixture
def setting():
    return Setting()


def test_the_author_of_a_wanted_block_is_heard_and_no_other(setting):
    assert setting.begin(0) == []  # an own block
    assert setting.begin(9) == []  # that no message has named
    assert setting.begin(1) == ["bob"]
    assert setting.begin(1) == ["bob"]
    assert setting.leases.has("bob")
    assert not setting.leases.has("carol")


def test_the_last_message_that_names_a_block_says_whose_it_is(setting):
    assert setting.leases.names("bob", some_cid(1))
    setting.leases.note("carol", [some_cid(1)])
    assert not setting.leases.names("bob", some_cid(1))
    assert setting.leases.names("carol", some_cid(1))


def test_there_is_room_for_some_and_those_whose_time_is_over_make_room(setting):
    setting.begin(1)
    setting.now += 600
    assert setting.begin(2) == ["bob", "carol"]
    assert setting.begin(3) == ["bob", "carol"]
    setting.now += 1
    assert setting.begin(3) == ["carol", "dave"]


def test_a_lease_ends_with_the_frame_after_its_time(setting):
    setting.begin(1)
    setting.now += 600
    setting.leases.expire("bob")
    assert setting.leases.has("bob")
    setting.now += 1
    setting.leases.expire("bob")
    setting.leases.expire("carol")
    assert not setting.desk.handlers


def test_a_lease_and_its_subscription_end_before_another_begins(setting):
    setting.begin(1)
    setting.now += 601
    unsubscribe, waiting = setting.desk.unsubscribe, threading.Thread(target=setting.begin, args=(1,))

    def meanwhile(topic_filter: str) -> None:
        waiting.start()
        waiting.join(0.1)  # it waits for the lock: else it would find a lease that ends
        unsubscribe(topic_filter)

    setting.desk.unsubscribe = meanwhile
    setting.leases.expire("bob")
    waiting.join(60)
    assert setting.leases.has("bob")
    assert list(setting.desk.handlers) == [f"t/{SWARM}/bob/frame/#"]


def test_leases_of_authors_who_are_not_heard_any_more_end(setting):
    names, whole = [peer_name(bytes([number]) * 32) for number in (1, 2)], Interest.of(b"swarm", bytes(32))
    for number, name in enumerate(names, 100):
        setting.leases.note(name, [some_cid(number)])
        setting.begin(number)

    setting.leases.attend(whole)
    assert all(map(setting.leases.has, names))
    setting.leases.attend(Interest(b"swarm", 0, (Zone.of(place_of(b"swarm", author_of_name(names[0])), 16),)))
    assert [setting.leases.has(name) for name in names] == [True, False]
    assert len(setting.desk.handlers) == 1
