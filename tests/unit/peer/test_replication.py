import random
from pathlib import Path

import pytest
from block_rows import spoil
from builders import NOW, SWARM, Author, some_cid
from machine import announced

from learnae.adapters.composite.metered import MeteredStore
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.peer.replication import Replicator
from learnae.ports import BlockStore, Heard, Traffic
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Evidence
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Outcome, Tangle
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip
from learnae.simulation.network import Network, VirtualClock, Weather

ME = Author(0).author


class Side:
    """A replicator on a host whose blocks and inbox the test fills."""

    def __init__(self, store: BlockStore | None = None, at_once: int = 2048, **limits: int) -> None:
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather(delay=(1, 1)))
        self.host = self.network.host()
        self.other = self.network.host()
        self.errors, self.traffic = ErrorLog(), Traffic()
        self.store = MeteredStore(store or MemoryBlockStore(self.host), self.traffic)
        self.tangle = Tangle(Limits(**limits), random.Random(0), ME)
        gossip, clock = MemoryGossip(self.host, 4), self.network.clock
        self.replicator = Replicator(
            SWARM, self.tangle, self.store, gossip, clock, self.errors, messages_per_call=at_once
        )

    def hold(self, *messages: Message) -> None:
        for message in messages:
            self.store.put(DAG_CBOR, message.data)

    def announce(self, *messages: Message) -> None:
        """One other peer a message has it as its newest, and knows nothing of a checkpoint."""
        self.host.inbox += map(announced, messages)

    def announce_all(self, *entries: Entry, kept: tuple[Cid, ...] = (), announcer: str = "other") -> None:
        """One other peer announces them all."""
        self.host.inbox.append(Heard(announcer, Announcement(entries, kept)))

    def hear(self, *messages: Message) -> Outcome:
        """Hear, and first that others have these as their newest."""
        self.announce(*messages)
        return self.replicator.hear()

    def problems(self) -> dict[str, int]:
        return dict(self.errors.counts)

    def said(self) -> list[Announcement]:
        """Announce, and return what the other host has heard so far."""
        self.replicator.announce()
        self.network.run_until(self.network.clock.time + 10)
        return [heard.announcement for heard in self.other.inbox]


def entry(head: Message, checkpoint: Message | None = None) -> Entry:
    return Entry(head.author[:PREFIX_BYTES], head.seq, head.cid, checkpoint.cid if checkpoint else None)


def invented(*numbers: int) -> list[Entry]:
    return [Entry(b"%8d" % number, 1, some_cid(number), some_cid(number)) for number in numbers]


# -- what is announced is fetched


def test_a_chain_is_fetched_from_its_head_back_to_its_checkpoint() -> None:
    side, said = Side(), Author(1).chain(10)
    side.hold(*said)
    outcome = side.hear(said[-1])
    assert outcome.attached == said
    assert side.tangle.newest_of(said[0].author) == said[-1].cid
    assert side.traffic.bytes_in == sum(len(message.data) for message in said)
    assert side.replicator.hear().attached == []
    assert side.problems() == {}


def test_long_chains_of_many_authors_need_the_room_of_one() -> None:
    side, chains = Side(pending_messages=40), [Author(number).chain(30) for number in range(1, 5)]
    for said in chains:
        side.hold(*said)
    side.announce_all(*(entry(said[-1], said[0]) for said in chains))
    assert len(side.replicator.hear().attached) == 4 * 30
    assert side.problems() == {}


def test_what_came_before_a_checkpoint_is_not_fetched() -> None:
    side, author = Side(), Author(1)
    past, checkpoint, head = author.chain(5), author.say(checkpoint=True), author.say()
    side.hold(*past, checkpoint, head)
    side.announce_all(entry(head, checkpoint))
    assert side.replicator.hear().attached == [checkpoint, head]
    assert side.traffic.bytes_in == len(checkpoint.data) + len(head.data)
    assert list(side.tangle.missing()) == []


def test_what_is_not_here_is_asked_for_and_taken_when_it_comes() -> None:
    side, said = Side(), Author(1).chain(3)
    for message in said:
        side.other.blocks[message.cid] = message.data
    side.announce(said[-1])
    attached: list[Message] = []
    for _ in range(10):
        attached += side.replicator.hear().attached
        side.network.run_until(side.network.clock.time + 10)
    assert attached == said


def test_a_newer_announcement_replaces_what_the_announcer_said_before() -> None:
    side, author = Side(), Author(1)
    old, new = author.say(), author.say(checkpoint=True)
    side.announce_all(entry(old, old))
    side.replicator.hear()
    side.hold(old, new)
    side.announce_all(entry(new, new))
    assert side.replicator.hear().attached[-1] == new
    other = Side()
    other.announce_all(entry(old, old))
    other.announce_all(entry(new, new))
    other.hold(old, new)
    assert other.replicator.hear().attached == [new]


def test_who_knows_less_does_not_take_back_what_another_has_announced() -> None:
    side, author = Side(), Author(1)
    old, new = author.say(), author.say(checkpoint=True)
    side.announce_all(entry(new, new), announcer="one")
    side.announce_all(entry(old, old), announcer="other")
    side.replicator.hear()
    side.hold(new)
    assert side.replicator.hear().attached == [new]


def test_what_was_asked_for_is_taken_in_though_it_comes_when_a_newer_one_is_announced() -> None:
    """Blocks that take as long as a tick would otherwise never be in time."""
    side, author = Side(), Author(1)
    old, new = author.say(), author.say(checkpoint=True)
    side.announce_all(entry(old, old))
    side.replicator.hear()
    side.announce_all(entry(new, new))
    side.hold(old)
    assert side.replicator.hear().attached == [old]


def test_a_long_chain_is_taken_in_bounded_portions() -> None:
    side, said = Side(at_once=40), Author(1).chain(100)
    side.hold(*said)
    side.announce(said[-1])
    for portion in (said[60:], said[20:60]):
        before = side.traffic.bytes_in
        assert side.replicator.hear().attached == []
        assert side.traffic.bytes_in - before == sum(len(message.data) for message in portion)
    assert side.replicator.hear().attached == said


def test_many_authors_are_taken_in_bounded_portions() -> None:
    side, said = Side(at_once=40), [Author(number).say() for number in range(1, 51)]
    side.hold(*said)
    side.announce(*said)
    assert len(side.replicator.hear().attached) == 40
    assert len(side.replicator.hear().attached) == 10


def test_what_a_checkpoint_has_replaced_is_dropped_before_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    side, author = Side(grace=0), Author(1)
    old, checkpoint = author.say(), author.say(checkpoint=True)
    side.hear(old)  # which is asked for before the checkpoint comes
    side.hold(checkpoint)
    side.hear(checkpoint)
    for _ in range(2):
        side.tangle.forget(NOW, 0)
    opened: list[bytes] = []
    monkeypatch.setattr(side.replicator, "opener", lambda data, *_: opened.append(data))
    side.hold(old)
    side.replicator.hear()
    assert opened == []
    assert side.problems() == {}, "it has only come late"
    assert not side.store.has(old.cid)


# -- what is wrong


def test_a_bad_block_is_counted_once_and_not_fetched_again() -> None:
    side = Side()
    bad = side.store.put(DAG_CBOR, b"\x00\x00")
    foreign = Author(1, swarm=some_cid(9)).say()
    child = Author(1).say(previous=foreign)
    side.hold(foreign, child)
    for _ in range(3):
        side.announce_all(Entry(b"8 bytes!", 1, bad, bad))
        side.hear(child)
    assert side.problems() == {"EncodingError": 1, "WrongSwarmError": 1, "SequenceError": 1}
    assert len(side.tangle) == 0
    assert list(side.tangle.missing()) == []


def test_a_problem_of_one_message_does_not_stop_the_others() -> None:
    side, author = Side(), Author(1)
    first = author.say()
    fast = author.say(time=first.time + 1)
    good = Author(2).say()
    side.hold(first, fast, good)
    assert set(side.hear(fast, good).attached) == {first, good}
    assert side.problems() == {"LimitError": 1}
    assert "allows one message" in side.errors.last["LimitError"]


def test_a_message_of_tomorrow_is_taken_tomorrow() -> None:
    side = Side()
    message = Author(1).say(time=NOW + 24 * HOUR)
    side.hold(message)
    assert side.hear(message).attached == []
    assert side.problems() == {"FutureError": 1}
    assert side.replicator.hear().attached == []
    assert side.problems() == {"FutureError": 1}, "not opened again until it is announced again"
    side.network.clock.time += 24 * HOUR
    assert side.hear(message).attached == [message]


def test_a_message_older_than_the_horizon_does_not_stay_on_the_disk() -> None:
    side = Side()
    new, old = Author(2).say(time=NOW), Author(1).say(time=NOW - 25 * HOUR)
    side.hold(new, old)
    side.hear(new)
    assert side.hear(old).attached == []
    assert side.problems() == {"StaleError": 1}
    assert not side.store.has(old.cid)


def test_a_message_damaged_on_the_own_disk_is_taken_when_a_good_copy_comes(tmp_path: Path) -> None:
    store, message = LocalBlockStore(tmp_path), Author(1).say()
    side = Side(store)
    side.hold(message)
    spoil(tmp_path, message.cid, b"damaged")
    side.hear(message)
    side.hold(message)
    assert side.hear(message).attached == [message]


# -- what is bounded


def test_invented_entries_do_not_make_a_peer_deaf() -> None:
    side, message = Side(wanted=128), Author(1).say()
    side.hold(message)
    for start in range(0, 256, 64):
        side.announce_all(*invented(*range(start, start + 64)), announcer=str(start))
        side.replicator.hear()
    assert side.hear(message).attached == [message]


def test_what_is_asked_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    side, asked = Side(wanted=100), list[Cid]()
    monkeypatch.setattr(side.store, "want", lambda cids, *_: asked.extend(cids))
    for start in range(0, 512, 64):
        side.announce_all(*invented(*range(start, start + 64)), announcer=str(start))
    side.replicator.hear()
    assert 50 <= len(asked) <= 100


def test_an_announcement_is_read_up_to_the_limit() -> None:
    side, message = Side(entries=2), Author(1).say()
    side.hold(message)
    side.announce_all(*invented(1, 2), entry(message, message))
    assert side.replicator.hear().attached == []
    side.announce_all(*invented(1), entry(message, message))
    assert side.replicator.hear().attached == [message]


def test_a_waiting_chain_of_a_known_author_stays_whatever_strangers_bring() -> None:
    side, honest = Side(pending_messages=40, pending_bytes=1 << 20), Author(1)
    first = honest.say()
    side.hold(first)
    side.hear(first)
    side.network.clock.time += 60_000
    lost, *chain = honest.chain(20, start=NOW + 1000)
    side.hold(*chain)
    side.announce_all(entry(chain[-1]), announcer=peer_name(honest.author))
    side.replicator.hear()
    for number in range(2, 200):
        stranger = Author(number).chain(2)[1]
        side.hold(stranger)
        side.announce_all(entry(stranger), announcer=f"stranger {number}")
        side.replicator.hear()
    assert [message.seq for message in side.tangle.waiting() if message.author == honest.author] != []
    side.hold(lost)
    assert side.replicator.hear().attached == [lost, *chain]


def test_strangers_are_taken_in_at_a_bounded_rate_and_in_turn() -> None:
    side = Side()
    side.replicator._room[False].left = 3
    said = [Author(number).say() for number in range(1, 60)]
    side.hold(*said)
    side.announce_all(*map(entry, said[:50]), announcer="flood")
    side.announce_all(entry(said[50]), announcer="newcomer")
    assert said[50] in side.replicator.hear().attached
    assert len(side.tangle) <= 3
    side.network.clock.time += 1000
    assert 30 <= len(side.replicator.hear().attached) <= 42


def test_a_block_that_is_refused_leaves_the_disk_at_once() -> None:
    side, spoilt = Side(), Author(1).say().data
    bad = [side.store.put(DAG_CBOR, data) for data in (b"no message", bytes(100_000), spoilt[:-1] + b"!")]
    for number, cid in enumerate(bad):
        side.announce_all(Entry(b"8 bytes!", 1, cid, cid), announcer=str(number))
    side.replicator.hear()
    assert not any(map(side.store.has, bad))


def test_messages_are_asked_for_with_a_bound_and_booked_on_who_has_named_them(monkeypatch: pytest.MonkeyPatch) -> None:
    side, asked = Side(), []
    monkeypatch.setattr(side.store, "want", lambda cids, most, origin: asked.append((list(cids), most, origin)))
    side.announce_all(*invented(1), announcer="one")
    side.announce_all(*invented(2), announcer="other")
    side.replicator.hear()
    assert asked == [([some_cid(1)], 65_536, "one"), ([some_cid(2)], 65_536, "other")]


def test_what_never_comes_is_given_up_with_all_that_waits_for_it() -> None:
    side, (_, waiting) = Side(), Author(1).chain(2)
    side.hold(waiting)
    side.hear(waiting)
    for _ in range(120):
        side.network.clock.time += 6000
        side.replicator.hear()
    assert list(side.tangle.waiting()) == []
    assert waiting.cid in side.tangle.let_go()


# -- evidence


def test_evidence_makes_a_peer_ask_for_both_halves() -> None:
    side = Side()
    one, two = Author(1).say(time=NOW), Author(1).say(time=NOW + 1)
    witness = Author(2).say(body=Evidence(one.author, one.cid, two.cid).to_fields())
    side.hold(one, witness)
    side.hear(witness)
    assert list(side.tangle.missing()) == [two.cid]
    side.hold(two)
    assert [found.author for found in side.replicator.hear().equivocations] == [one.author]
    assert side.tangle.is_banned(one.author)


def test_kept_evidence_is_announced_and_taken_in_though_its_author_has_a_newer_checkpoint() -> None:
    side, witness = Side(), Author(2)
    one, two = Author(1).say(time=NOW), Author(1).say(time=NOW + 1)
    begin, accusation = witness.say(), witness.say(body=Evidence(one.author, one.cid, two.cid).to_fields())
    checkpoint = witness.say(checkpoint=True)
    side.hold(begin, accusation, checkpoint, one, two)
    side.announce_all(entry(checkpoint, checkpoint), kept=(accusation.cid,))
    side.replicator.hear()
    assert side.tangle.is_banned(one.author)
    assert side.said()[-1].kept == (accusation.cid,)


def test_invented_evidence_leaves_room_for_true_evidence() -> None:
    side, liar, witness = Side(wanted=4), Author(1), Author(3)
    for number in range(0, 6, 2):
        lie = liar.say(body=Evidence(witness.author, some_cid(number), some_cid(number + 1)).to_fields())
        side.hold(lie)
        side.hear(lie)
    one, two = Author(2).say(time=NOW), Author(2).say(time=NOW + 1)
    truth = witness.say(body=Evidence(one.author, one.cid, two.cid).to_fields())
    side.hold(one, two, truth)
    side.hear(truth)
    side.replicator.hear()
    assert side.tangle.is_banned(one.author)


# -- what is said


def test_own_messages_are_stored_and_announced() -> None:
    side, message = Side(), Author(0).say()
    assert side.replicator.add_own(message).attached == [message]
    assert side.store.get(message.cid) == message.data
    assert side.said() == [Announcement((entry(message, message),))]


def test_a_vector_names_each_author_with_its_head_and_its_checkpoint() -> None:
    side, author = Side(), Author(1)
    checkpoint, head = author.say(), author.say()
    side.hold(checkpoint, head)
    side.hear(head)
    assert side.said() == [Announcement((entry(head, checkpoint),))]


def test_where_authors_do_not_fit_the_own_and_the_followed_are_always_said_and_the_others_in_turn() -> None:
    side, own, others = Side(), Author(0).say(), [Author(number).say() for number in range(1, 101)]
    side.replicator.add_own(own)
    side.hold(*others)
    side.hear(*others)
    followed, turns = [other.author for other in others[:8]], list[set[bytes]]()
    for _ in range(5):
        side.replicator.announce(followed)
        side.network.run_until(side.network.clock.time + 10)
        turns.append({each.author for each in side.other.inbox[-1].announcement.entries})
    always = {author[:PREFIX_BYTES] for author in (ME, *followed)}
    assert all(always <= turn and len(turn) == Limits().entries for turn in turns)
    assert len(set().union(*turns)) == 101


# -- how much of what was announced is here


def test_progress_counts_authors_that_are_attached_as_far_as_they_were_announced_first() -> None:
    side, one, two = Side(), Author(1), Author(2).say()
    first, second = one.say(), one.say()
    side.announce_all(entry(second, first), entry(two, two))
    side.replicator.hear()
    assert side.replicator.progress() == (0, 2)
    side.hold(first, two)
    side.replicator.hear()
    assert side.replicator.progress() == (1, 2), "of the first author only the checkpoint is here"
    side.hold(second)
    side.replicator.hear()
    assert side.replicator.progress() == (2, 2)
    side.announce(one.say())
    side.replicator.hear()
    assert side.replicator.progress() == (2, 2), "what is said since is not caught up with"
    side.replicator.begin()
    assert side.replicator.progress() == (0, 0)


def test_what_others_know_of_this_peer_is_noted_before_it_is_here() -> None:
    side, said = Side(), Author(0).chain(8)
    assert side.replicator.own_claimed == -1
    side.announce(said[7], said[3])
    side.replicator.hear()
    assert side.replicator.own_claimed == 7
