import random
from pathlib import Path

import pytest
from block_rows import spoil
from builders import NOW, SWARM, Author, some_cid

from learnae.adapters.composite.metered import MeteredStore
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.replication import Replicator
from learnae.ports import BlockStore, Traffic
from learnae.protocol.bodies import Evidence
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Outcome, Tangle
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip
from learnae.simulation.network import Network, VirtualClock, Weather


class Side:
    """A replicator on a host whose blocks and inbox the test fills."""

    def __init__(self, store: BlockStore | None = None, at_once: int = 2048, **limits: int) -> None:
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather(delay=(1, 1)))
        self.host = self.network.host()
        self.other = self.network.host()
        self.errors, self.traffic = ErrorLog(), Traffic()
        self.store = MeteredStore(store or MemoryBlockStore(self.host), self.traffic)
        self.tangle = Tangle(Limits(**limits), random.Random(0))
        gossip, clock = MemoryGossip(self.host, 4), self.network.clock
        self.replicator = Replicator(
            SWARM, self.tangle, self.store, gossip, clock, self.errors, messages_per_call=at_once
        )

    def hold(self, *messages: Message) -> None:
        for message in messages:
            self.store.put(DAG_CBOR, message.data)

    def announce(self, *cids: Cid) -> None:
        self.host.inbox.append(cids)

    def hear(self, *cids: Cid) -> Outcome:
        """Hear, and first that others have these heads."""
        self.announce(*cids)
        return self.replicator.hear()

    def problems(self) -> dict[str, int]:
        return dict(self.errors.counts)


def test_history_is_fetched_back_from_a_head() -> None:
    side, said = Side(), Author(1).chain(10)
    side.hold(*said)
    outcome = side.hear(said[-1].cid)
    assert outcome.attached == said
    assert side.tangle.heads() == (said[-1].cid,)
    assert side.traffic.bytes_in == sum(len(message.data) for message in said)
    assert side.replicator.hear().attached == []
    assert side.problems() == {}


def test_what_is_not_here_is_asked_for_and_taken_when_it_comes() -> None:
    side, said = Side(), Author(1).chain(3)
    for message in said:
        side.other.blocks[message.cid] = message.data
    side.announce(said[-1].cid)
    attached: list[Message] = []
    for _ in range(10):
        attached += side.replicator.hear().attached
        side.network.run_until(side.network.clock.time + 10)
    assert attached == said


def test_a_long_history_is_taken_in_bounded_portions() -> None:
    side, said = Side(at_once=40), Author(1).chain(100)
    side.hold(*said)
    side.announce(said[-1].cid)
    for portion in (said[60:], said[20:60]):
        before = side.traffic.bytes_in
        assert side.replicator.hear().attached == []
        assert side.traffic.bytes_in - before == sum(len(message.data) for message in portion)
    assert side.replicator.hear().attached == said


def test_a_wide_history_is_taken_in_bounded_portions() -> None:
    side, said = Side(at_once=40), [Author(number).say() for number in range(50)]
    side.hold(*said)
    side.announce(*(message.cid for message in said))
    assert len(side.replicator.hear().attached) == 40
    assert len(side.replicator.hear().attached) == 10


def test_a_bad_block_is_counted_once_and_not_fetched_again() -> None:
    side = Side()
    bad = side.store.put(DAG_CBOR, b"\x00\x00")
    foreign = Author(1, swarm=some_cid(9)).say()
    child = Author(2).say(foreign)
    side.hold(foreign, child)
    for _ in range(3):
        side.hear(bad, child.cid)
    assert side.problems() == {"EncodingError": 1, "WrongSwarmError": 1}
    assert len(side.tangle) == 0
    assert side.tangle.missing() == []


def test_a_problem_of_one_message_does_not_stop_the_others() -> None:
    side, author = Side(), Author(1)
    first = author.say()
    fast = author.say(time=first.time + 1)
    good = Author(2).say()
    side.hold(first, fast, good)
    assert set(side.hear(fast.cid, good.cid).attached) == {first, good}
    assert side.problems() == {"LimitError": 1}
    assert "allows one message" in side.errors.last["LimitError"]


def test_a_message_of_tomorrow_is_taken_tomorrow() -> None:
    side, day = Side(), 24 * 3600_000
    message = Author(1).say(time=NOW + day)
    side.hold(message)
    assert side.hear(message.cid).attached == []
    assert side.problems() == {"FutureError": 1}
    side.network.clock.time += day
    assert side.hear(message.cid).attached == [message]


def test_a_future_parent_is_opened_once_a_call() -> None:
    side = Side()
    future = Author(1).say(time=NOW + 24 * 3600_000)
    child = Author(2).say(future, time=NOW)
    side.hold(future, child)
    side.hear(child.cid)
    assert side.problems() == {"FutureError": 1}


def test_invented_heads_do_not_make_a_peer_deaf() -> None:
    side, message = Side(wanted=128), Author(1).say()
    side.hold(message)
    for start in range(0, 256, 64):
        side.hear(*(some_cid(number) for number in range(start, start + 64)))
    assert side.hear(message.cid).attached == [message]


def test_what_is_asked_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    side, asked = Side(wanted=100), []
    monkeypatch.setattr(side.store, "want", lambda cids: asked.append(len(cids)))
    for start in range(0, 512, 64):
        side.announce(*(some_cid(number) for number in range(start, start + 64)))
    side.replicator.hear()
    assert asked == [100]


def test_a_message_older_than_the_horizon_does_not_stay_on_the_disk() -> None:
    side = Side()
    old = Author(1).say(time=NOW - 25 * 3600_000)
    side.hold(old)
    assert side.hear(old.cid).attached == []
    assert side.problems() == {"StaleError": 1}
    assert not side.store.has(old.cid)


def test_an_announcement_is_read_up_to_the_limit() -> None:
    side, message = Side(heads=2), Author(1).say()
    side.hold(message)
    assert side.hear(some_cid(1), some_cid(2), message.cid).attached == []
    assert side.hear(some_cid(1), message.cid).attached == [message]


def test_evidence_makes_a_peer_ask_for_both_halves() -> None:
    side = Side()
    one, two = Author(1).say(time=NOW), Author(1).say(time=NOW + 1)
    witness = Author(2).say(body=Evidence(one.author, one.cid, two.cid).to_fields())
    side.hold(one, witness)
    side.hear(witness.cid)
    assert side.tangle.missing() == [two.cid]
    side.hold(two)
    assert [found.author for found in side.replicator.hear().equivocations] == [one.author]
    assert side.tangle.is_banned(one.author)


def test_invented_evidence_leaves_room_for_true_evidence() -> None:
    side, liar, witness = Side(wanted=4), Author(1), Author(3)
    for number in range(0, 6, 2):
        lie = liar.say(body=Evidence(witness.author, some_cid(number), some_cid(number + 1)).to_fields())
        side.hold(lie)
        side.hear(lie.cid)
    one, two = Author(2).say(time=NOW), Author(2).say(time=NOW + 1)
    truth = witness.say(body=Evidence(one.author, one.cid, two.cid).to_fields())
    side.hold(one, two, truth)
    side.hear(truth.cid)
    side.replicator.hear()
    assert side.tangle.is_banned(one.author)


def test_own_messages_are_stored_and_announced() -> None:
    side, message = Side(), Author(1).say()
    assert side.replicator.add_own(message).attached == [message]
    assert side.store.get(message.cid) == message.data
    side.replicator.announce()
    side.network.run_until(NOW + 10)
    assert side.other.inbox == [(message.cid,)]


def test_a_message_damaged_on_the_own_disk_is_taken_when_a_good_copy_comes(tmp_path: Path) -> None:
    store, message = LocalBlockStore(tmp_path), Author(1).say()
    side = Side(store)
    side.hold(message)
    spoil(tmp_path, message.cid, b"damaged")
    side.hear(message.cid)
    side.hold(message)
    assert side.hear(message.cid).attached == [message]
