"""What a replicator makes of authors who are no members, not yet, or not any more."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from builders import NOW, SWARM, Author, identity
from machine import announced

from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, Cid
from learnae.membership.gate import Gate
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import Founder, MembershipPolicy
from learnae.membership.records import REMOVE, Body, Invite, Join, Record, Vote, compose_record, prove_join
from learnae.peer.replication import Replicator
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Tangle
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip
from learnae.simulation.network import Host, Network, VirtualClock, Weather


class AskedStore(MemoryBlockStore):
    """Notes what it is asked for."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.asked: list[Cid] = []

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        self.asked += cids


class Side:
    """Ann's machine, in a swarm that she has made."""

    def __init__(self) -> None:
        self.ann, self.bob, self.key = Author(1), Author(2), identity(9)
        founder = Founder(self.ann.author, self.ann.identity.x25519)
        policy = MembershipPolicy.of("invite", [founder], 1)
        self.host = Network(VirtualClock(NOW), random.Random(0), Weather()).host()
        self.store, self.errors = AskedStore(self.host), ErrorLog()
        self.gate = Gate(Ledger(policy, SWARM))
        self.tangle = Tangle(Limits(), random.Random(0), self.ann.author)
        self.replicator = Replicator(
            SWARM, self.tangle, self.store, MemoryGossip(self.host, 4), self.host.network.clock, self.errors,
            gate=self.gate,
        )  # fmt: skip
        self.records: list[Record] = []
        self.other = Ledger(policy, SWARM)  # what another machine knows
        self.write(self.ann, Keyring(self.ann.identity, self.other).mint())

    def write(self, author: Author, body: Body) -> Record:
        record = compose_record(author.identity, SWARM, self.other.heads(), NOW, body)
        self.other.add(record.data)
        self.records.append(record)
        return record

    def welcome_bob(self) -> None:
        invite = self.write(self.ann, Invite(self.key.author, 1, NOW + 1000))
        proof = prove_join(self.key, SWARM, self.bob.author)
        join = self.write(self.bob, Join(self.bob.identity.x25519, invite.cid, proof))
        self.write(self.ann, Keyring(self.ann.identity, self.other).welcome_for(join.cid, NOW))

    def hold(self, *blocks: Message | Record) -> None:
        for block in blocks:
            self.store.put(DAG_CBOR, block.data)

    def hear(self, *messages: Message, kept: tuple[Cid, ...] = ()) -> list[Cid]:
        self.host.inbox += [*map(announced, messages), Heard("other", Announcement((), kept))]
        return [message.cid for message in self.replicator.hear().attached]

    def wants(self) -> list[Cid]:
        """Hear, and return what is asked for."""
        self.store.asked.clear()
        self.replicator.hear()
        return self.store.asked


@pytest.fixture
def side() -> Side:
    return Side()


def test_what_a_stranger_announces_is_not_asked_for(side: Side) -> None:
    message = side.bob.say()
    assert side.hear(message) == []
    assert side.wants() == []
    side.hold(message)
    assert side.hear(message) == []
    assert len(side.tangle) == 0


def test_a_strangers_message_under_a_members_name_is_refused_and_counted(side: Side) -> None:
    message = side.bob.say()
    side.hold(message)
    side.host.inbox.append(
        Heard("liar", Announcement((Entry(side.ann.author[:PREFIX_BYTES], 7, message.cid, message.cid),)))
    )
    assert side.hear() == []
    assert side.errors.counts == {"StrangerError": 1}
    side.hear()
    assert side.errors.counts == {"StrangerError": 1}


def test_records_are_found_by_the_last_ones_and_let_in_who_was_announced_before(side: Side) -> None:
    said = side.bob.say()
    side.hold(said)
    assert side.hear(said) == []
    side.welcome_bob()
    *before, last = side.records
    side.hear(kept=(last.cid,))
    assert side.wants() == [last.cid]
    side.hold(last)
    side.hear()
    assert last.cid not in side.wants()
    assert side.wants()
    side.hold(*before)
    assert side.hear() == [said.cid], "its announcement came first"
    assert side.replicator.records == len(side.records)


def test_who_is_removed_is_forgotten_and_heard_no_more(side: Side) -> None:
    side.welcome_bob()
    first, second = side.bob.chain(2)
    side.hold(*side.records, first, second)
    assert side.hear(first, second, kept=(side.records[-1].cid,)) == [first.cid, second.cid]
    side.hold(vote := side.write(side.ann, Vote(side.bob.author, REMOVE)))
    third = side.bob.say()
    side.hold(third)
    assert side.hear(third, kept=(vote.cid,)) == []
    assert list(side.tangle.authors()) == []
    assert {first.cid, second.cid} <= set(side.tangle.forget(NOW, 0))
    assert side.hear(third) == []


def test_a_record_that_is_wrong_is_counted_and_asked_for_once(side: Side) -> None:
    eve = compose_record(Author(5).identity, SWARM, (), NOW, Vote(side.ann.author, REMOVE))
    side.hold(eve)
    side.hear(kept=(eve.cid,))
    assert side.errors.counts == {"MembershipError": 1}
    side.hear(kept=(eve.cid,))
    assert side.errors.counts == {"MembershipError": 1}
    assert side.wants() == []


def test_heads_of_records_and_waiting_joins_are_announced(side: Side) -> None:
    side.welcome_bob()
    side.hold(*side.records)
    side.hear(kept=(side.records[-1].cid,))
    invite = side.write(side.ann, Invite(identity(8).author, 1, NOW + 1000))
    carol = Author(3)
    join = side.write(carol, Join(carol.identity.x25519, invite.cid, prove_join(identity(8), SWARM, carol.author)))
    side.hold(invite, join)
    side.hear(kept=(invite.cid, join.cid))
    assert side.replicator._kept_in_turn() == (invite.cid, join.cid)
