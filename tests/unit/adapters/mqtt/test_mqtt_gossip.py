"""How often state is announced, and what pushed messages are; all else is in the contract suite, with a real broker."""

import threading

import pytest
from builders import SWARM, Author, some_cid
from desk import Desk, guard
from programs import wait_for

from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.gossip import MqttGossip, parse_announcement
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.error_log import ErrorLog
from learnae.errors import EncodingError, LimitError
from learnae.ipld import dagcbor
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message


@pytest.fixture
def desk() -> Desk:
    return Desk()


def gossip_at(desk: Desk, interval: float, errors: ErrorLog | None = None) -> MqttGossip:
    return MqttGossip(desk, Topics("t", str(SWARM), "alice"), interval, errors or ErrorLog(), Frontier())


def news(number: int) -> Announcement:
    return Announcement((Entry(b"8 bytes!", number, some_cid(number), some_cid(0)),))


def entry_of(message: Message) -> Entry:
    checkpoint = message.cid if message.checkpoint else None
    return Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, checkpoint)


def test_many_announcements_in_an_interval_are_one_and_the_newest_is_told(desk):
    gossip = gossip_at(desk, 600.0)
    for number in range(50):
        gossip.announce(news(number))
    assert desk.kept == [news(0).to_bytes()]
    timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    assert [0 < timer.interval <= 600 for timer in timers] == [True]
    gossip._interval = 0.0
    timers[0].function()  # the interval is over
    timers[0].cancel()
    assert desk.kept[1:] == [news(49).to_bytes()]
    gossip.announce(news(49))
    gossip.close()
    gossip.announce(news(50))
    assert len(desk.kept) == 2  # the same is not said again, and nothing after the end


def test_what_waits_for_the_interval_to_end_is_told_by_itself_unless_the_end_comes_first(desk):
    gossip = gossip_at(desk, 0.05)
    for number in range(2):
        gossip.announce(news(number))
    wait_for(lambda: len(desk.kept) == 2, "the newest announcement")
    gossip._interval = 600.0
    gossip.announce(news(2))
    timer = gossip._timer
    gossip.close()
    wait_for(lambda: not timer.is_alive(), "the end of the timer")
    assert len(desk.kept) == 2


def test_the_newest_pushed_message_of_each_author_is_heard_as_its_announcement(desk):
    gossip, one, other = gossip_at(desk, 0.0), Author(1), Author(2)
    said = [one.say(), other.say(), one.say()]
    for message in said:
        gossip.note(message)
    assert list(gossip.heard()) == [
        Heard(peer_name(message.author), Announcement((entry_of(message),))) for message in said[1:]
    ]
    assert list(gossip.heard()) == []


@pytest.mark.parametrize("seq", [0, 1])
def test_a_push_never_hides_what_its_author_has_announced_since(desk, seq):
    gossip, author = gossip_at(desk, 0.0), Author(1)
    said, name = author.chain(2), peer_name(author.author)
    announcement = Announcement((Entry(author.author[:PREFIX_BYTES], 1, said[1].cid, said[0].cid),))
    gossip.note(said[seq])
    desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/{name}/heads", announcement.to_bytes())
    pushed = [Heard(name, Announcement((entry_of(said[1]),)))] * seq
    assert list(gossip.heard()) == [Heard(name, announcement), *pushed]


def test_what_is_kept_for_the_next_look_is_bounded_and_locked(desk):
    gossip = gossip_at(desk, 0.0)
    guard(gossip, "_heard", "_pushed")
    said = [Author(number).say() for number in range(1100)]
    for number, message in enumerate(said):
        desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/peer-{number}/heads", news(number).to_bytes())
        gossip.note(message)
    heard = list(gossip.heard())
    assert heard[:32] == [Heard(f"peer-{number}", news(number)) for number in range(76, 108)]
    assert [each.announcement.entries for each in heard[32:]] == [(entry_of(message),) for message in said[76:]]
    assert list(gossip.heard())[:1] == [Heard("peer-108", news(108))]


def test_who_announces_fast_is_read_once_a_look_and_known_peers_first(desk):
    """500 a second are one at a time; a peer whose messages are here is read before a thousand strangers."""
    frontier, author = Frontier(), Author(1)
    gossip = MqttGossip(desk, Topics("t", str(SWARM), "alice"), 0.0, ErrorLog(), frontier)
    gossip.announce(Announcement((Entry(author.author[:PREFIX_BYTES], 0, author.say().cid, None),)))
    for number in range(500):
        desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/fast/heads", news(number).to_bytes())
        desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/sybil-{number}/heads", b"\xff" * 8000)
    desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/{peer_name(author.author)}/heads", news(7).to_bytes())
    heard = list(gossip.heard())
    assert heard == [Heard(peer_name(author.author), news(7)), Heard("fast", news(499))]
    assert gossip._errors.counts["EncodingError"] == 30


def test_what_is_no_announcement_is_counted_and_a_peer_that_left_is_heard(desk):
    errors = ErrorLog()
    gossip, topic = gossip_at(desk, 0.0, errors), f"t/{SWARM}/peer/heads"
    for number, payload in enumerate((b"\xff", dagcbor.encode([some_cid(1)]))):
        desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/wrong-{number}/heads", payload)
    desk.hear(f"t/{SWARM}/+/heads", topic, news(1).to_bytes())
    desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/gone/heads", b"")
    desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/alice/heads", news(2).to_bytes())  # its own
    assert list(gossip.heard()) == [Heard("peer", news(1)), Heard("gone", Announcement())]
    assert errors.counts["EncodingError"] == 2


def test_announcements_are_bounded():
    assert parse_announcement("alice", news(1).to_bytes()) == news(1)
    with pytest.raises(EncodingError):
        parse_announcement("alice", bytes(9000))
    with pytest.raises(LimitError, match="name of 65 characters"):
        parse_announcement("x" * 65, b"")


def test_the_frontier_is_told_of_all_announcements(desk):
    frontier = Frontier()
    gossip = MqttGossip(desk, Topics("t", str(SWARM), "alice"), 600.0, ErrorLog(), frontier)
    gossip.announce(news(3))
    gossip.announce(news(4))  # here, though not told yet
    desk.hear(f"t/{SWARM}/+/heads", f"t/{SWARM}/bob/heads", news(7).to_bytes())
    gossip.close()
    assert len(list(gossip.heard())) == 1
    assert frontier.start_of(some_cid(7)) == 5
