"""What is dropped unread: of one that floods, and of all strangers together; known peers have their own share."""

from builders import SWARM

from learnae.adapters.mqtt.blocks.inbox import Counts
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.adapters.mqtt.turnstile import Turnstile

TOPICS = Topics("t", str(SWARM), "bob")


def test_a_flood_is_dropped_and_those_who_speak_as_usual_are_heard():
    counts = Counts()
    turnstile = Turnstile(TOPICS, "alice".__eq__, counts)

    def heard(peer: str, channel: str, number: int, size: int = 0) -> int:
        return sum(turnstile.passes(Received(TOPICS.of(peer, channel), bytes(size), "", False)) for _ in range(number))

    assert 128 <= heard("stranger", "want", 1000) < 200
    assert heard("stranger", "message", 10) == 10, "another channel"
    assert heard("bob", "want", 10) == 0, "its own"
    assert 8 <= heard("another", "message", 100, 65_536) < 12
    assert heard("another", "frame", 20, 1 << 20) == 20, "only those of authors who are followed come"
    assert 300 <= sum(heard(f"sybil-{number}", "want", 1) for number in range(2000)) < 500
    assert heard("alice", "want", 100) == 100
    assert counts["dropped: too fast"] > 2000
