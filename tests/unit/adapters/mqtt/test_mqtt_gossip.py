"""How often heads are announced; everything else is in the contract suite, with a real broker."""

import threading

import pytest
from builders import SWARM, some_cid
from desk import Desk, guard
from programs import wait_for

from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.topics import Topics
from learnae.error_log import ErrorLog
from learnae.ipld import dagcbor
from learnae.protocol.limits import Limits


@pytest.fixture
def desk() -> Desk:
    return Desk()


def heads(*numbers: int):
    return [some_cid(number) for number in numbers]


def test_many_announcements_in_an_interval_are_one_and_the_newest_is_told(desk):
    gossip = MqttGossip(desk, Topics("t", SWARM, "alice"), 600.0, ErrorLog())
    for number in range(50):
        gossip.announce(heads(number))
    assert desk.kept == [dagcbor.encode(heads(0))]
    timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    assert [0 < timer.interval <= 600 for timer in timers] == [True]
    gossip._interval = 0.0
    timers[0].function()  # the interval is over
    timers[0].cancel()
    assert desk.kept[1:] == [dagcbor.encode(heads(49))]
    gossip.announce(heads(49))
    gossip.close()
    gossip.announce(heads(50))
    assert len(desk.kept) == 2  # the same are not said again, and nothing after the end


def test_what_waits_for_the_interval_to_end_is_told_by_itself_unless_the_end_comes_first(desk):
    gossip = MqttGossip(desk, Topics("t", SWARM, "alice"), 0.05, ErrorLog())
    for number in range(2):
        gossip.announce(heads(number))
    wait_for(lambda: len(desk.kept) == 2, "the newest heads")
    gossip._interval = 600.0
    gossip.announce(heads(2))
    timer = gossip._timer
    gossip.close()
    wait_for(lambda: not timer.is_alive(), "the end of the timer")
    assert len(desk.kept) == 2


def test_pushed_messages_are_heard_like_heads_in_bounded_portions(desk):
    gossip = MqttGossip(desk, Topics("t", SWARM, "alice"), 0.0, ErrorLog())
    for number in range(2000):
        gossip.note(some_cid(number))
    heard = list(gossip.heard())
    assert max(map(len, heard)) == Limits().heads
    assert [cid for part in heard for cid in part] == heads(*range(976, 2000))
    assert list(gossip.heard()) == []


def test_what_is_no_announcement_is_counted(desk):
    errors = ErrorLog()
    gossip = MqttGossip(desk, Topics("t", SWARM, "alice"), 0.0, errors)
    guard(gossip, "_heard", "_messages")
    for number in range(2000):
        topic = f"t/{SWARM}/peer-{number}/heads"
        desk.hear(f"t/{SWARM}/+/heads", topic, dagcbor.encode(heads(number)))
        desk.hear(f"t/{SWARM}/+/heads", topic, b"\xff")
    assert len(list(gossip.heard())) == 1024
    assert errors.counts["EncodingError"] == 2000
