"""Six peers that invite, welcome, vote, leave and lie, cut off from each other now and then: in the end they agree."""

import contextlib
import random
from collections.abc import Iterable
from functools import lru_cache

import pytest
from nightly import how_many
from rosters import DAY, NOW, SWARM, person

from learnae.errors import MembershipError, ReplayError, StateError
from learnae.ipld.cid import Cid
from learnae.membership import ledger as ledger_module
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.policy import INVITE, VOUCHED, Founder, MembershipPolicy
from learnae.membership.records import (
    ADMIT,
    REMOVE,
    Body,
    Invite,
    Join,
    Leave,
    Record,
    Rekey,
    Uninvite,
    Unknown,
    Vote,
    Welcome,
    compose_record,
    prove_join,
)
from learnae.membership.roster import roster

pytestmark = pytest.mark.slow

SEEDS = how_many(120, 10_000)
PEERS = [person(number) for number in range(1, 7)]
FOUNDERS, STEPS = 3, 120


class Peer:
    """One ledger and keyring, and what was sent to it and has not arrived."""

    def __init__(self, number: int, policy: MembershipPolicy, rng: random.Random) -> None:
        self.identity = PEERS[number]
        self.ledger = Ledger(policy, SWARM)
        self.keyring = Keyring(self.identity, self.ledger, rng.randbytes)
        self.inbox: list[bytes] = []

    @property
    def is_member(self) -> bool:
        return self.ledger.may_speak(self.identity.author)

    def hear(self, data: bytes) -> None:
        with contextlib.suppress(ReplayError, MembershipError):
            self.ledger.add(data)


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        founders = [Founder(one.author, one.x25519) for one in PEERS[:FOUNDERS]]
        self.policy = MembershipPolicy.of(
            self.rng.choice((INVITE, VOUCHED)), founders, self.rng.choice((1, 2, 2, 2, 3, 3))
        )
        self.peers = [Peer(number, self.policy, self.rng) for number in range(len(PEERS))]
        self.sides = [0] * len(PEERS)
        self.said: list[Record] = []
        self.time = NOW
        self.tell(self.peers[0], self.write(self.peers[0], self.peers[0].keyring.mint()), self.peers)
        for peer in self.peers:
            self.empty(peer)

    # -- what a peer does

    def step(self) -> None:
        rng, peer = self.rng, self.rng.choice(self.peers)
        self.time += rng.choice((1, 1000, DAY // 50))
        chance = rng.random()
        if chance < 0.3:
            for _ in range(8):
                self.receive(rng.choice(self.peers))
        elif chance < 0.35:
            self.sides = [rng.randrange(2) for _ in self.peers] if rng.random() < 0.7 else [0] * len(self.peers)
        elif chance < 0.42:
            self.meet(peer, rng.choice(self.peers))
        elif chance < 0.45:
            self.publish(peer, self.lie(peer))
        elif peer.is_member:
            body = self.deed(peer)
            if body is not None:
                self.publish(peer, self.write(peer, body))
        else:
            body = self.request(peer)
            if body is not None:
                self.publish(peer, compose_record(peer.identity, SWARM, [], self.time, body))

    def deed(self, peer: Peer) -> Body | None:  # noqa: PLR0911 - one a kind
        rng, roster_ = self.rng, peer.ledger.roster()
        if peer.keyring.current() is None and rng.random() < 0.7:
            return peer.keyring.mint()
        if roster_.pending and rng.random() < 0.8:
            return self.help_in(peer, rng.choice(roster_.pending))
        whom = rng.choice(PEERS).author
        kind = rng.choice(("invite", "invite", "invite", "vote", "vote", "admit", "uninvite", "leave", "rekey", "note"))
        if kind == "invite":
            return Invite(person(100 + rng.randrange(3)).author, rng.randint(1, 2), self.time + DAY // 2)
        if kind == "vote":
            return Vote(whom, REMOVE)
        if kind == "admit":
            joins = [record.cid for record in self.known(peer) if record.author == whom and is_join(record)]
            return Vote(whom, ADMIT, rng.choice([None, *joins]))
        if kind == "uninvite" and roster_.invites:
            return Uninvite(rng.choice(sorted(roster_.invites)))
        if kind == "leave" and rng.random() < 0.2:
            return Leave()
        return peer.keyring.mint() if kind == "rekey" else Unknown("note") if kind == "note" else None

    def help_in(self, peer: Peer, join: Cid) -> Body:
        try:
            return peer.keyring.welcome_for(join, self.time)
        except (MembershipError, StateError):
            record = peer.ledger.get(join)
            assert record is not None
            return Vote(record.author, ADMIT, join)

    def request(self, peer: Peer) -> Body | None:
        if self.policy.kind == VOUCHED:
            return Join(peer.identity.x25519)
        invites = [record for record in self.known(peer) if isinstance(record.body, Invite)]
        if not invites:
            return None
        invite = self.rng.choice(invites[-4:])
        key = next(one for one in map(person, range(100, 103)) if one.author == invite.body.key)
        return Join(peer.identity.x25519, invite.cid, prove_join(key, SWARM, peer.identity.author))

    def lie(self, peer: Peer) -> Record:
        """A record that pretends to know only a part of what was said, and may say what is not true."""
        rng = self.rng
        past = rng.sample(self.said, min(len(self.said), rng.randrange(4)))
        links = [record.cid for record in self.said]
        peers = [one.author for one in PEERS]
        body = rng.choice(
            [
                Vote(rng.choice(peers), REMOVE),
                Vote(rng.choice(peers), ADMIT, rng.choice(links)),
                Welcome(rng.choice(links), rng.randbytes(8), rng.randbytes(32), rng.randbytes(48)),
                Uninvite(rng.choice(links)),
                Invite(person(100).author, 16, NOW + 10 * DAY),
                Join(peer.identity.x25519, rng.choice(links), bytes(64)),
                Rekey(
                    (), rng.randbytes(32), tuple((one, rng.randbytes(48)) for one in sorted(peers)), rng.randbytes(48)
                ),
            ]
        )
        return compose_record(peer.identity, SWARM, {record.cid for record in past}, rng.randrange(2 * NOW), body)

    def known(self, peer: Peer) -> list[Record]:
        return [record for record in self.said if record.cid in peer.ledger]

    def write(self, peer: Peer, body: Body) -> Record:
        return peer.ledger.write(peer.identity, self.time, body)

    # -- how it gets to others

    def publish(self, peer: Peer, record: Record) -> None:
        here = self.sides[self.peers.index(peer)]
        others = [one for one, side in zip(self.peers, self.sides, strict=True) if side == here]
        self.tell(peer, record, [one for one in others if self.rng.random() < 0.8])

    def tell(self, peer: Peer, record: Record, others: Iterable[Peer]) -> None:
        self.said.append(record)
        peer.hear(record.data)
        for one in others:
            one.inbox += [record.data] * self.rng.choice((1, 1, 2))

    def receive(self, peer: Peer) -> None:
        if peer.inbox:
            at = self.rng.randrange(len(peer.inbox))
            peer.inbox[at], peer.inbox[-1] = peer.inbox[-1], peer.inbox[at]
            peer.hear(peer.inbox.pop())

    def empty(self, peer: Peer) -> None:
        while peer.inbox:
            self.receive(peer)

    def meet(self, one: Peer, other: Peer) -> None:
        for record in self.known(other):
            one.hear(record.data)

    def heal(self) -> None:
        for peer in self.peers:
            peer.inbox = [record.data for record in self.said if record.cid not in peer.ledger]
            self.empty(peer)

    def agree(self) -> None:
        """Let members mint what is due, several at once, until nothing is."""
        for _ in range(2):
            due = [peer for peer in self.peers if peer.is_member and peer.keyring.current() is None]
            if not due:
                return
            minting = self.rng.sample(due, self.rng.randint(1, len(due)))
            minted = [(peer, peer.keyring.mint()) for peer in minting]
            for peer, body in minted:
                self.said.append(self.write(peer, body))
            self.heal()


@pytest.fixture(autouse=True)
def _each_record_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six ledgers of one process verify the same bytes: most of the time, and always with the same result."""
    monkeypatch.setattr(ledger_module, "open_record", lru_cache(maxsize=4096)(ledger_module.open_record))


def is_join(record: Record) -> bool:
    return isinstance(record.body, Join)


@pytest.mark.parametrize("seeds", [range(first, first + SEEDS // 4) for first in range(0, SEEDS, SEEDS // 4)])
def test_all_agree_after_healing(seeds: range) -> None:
    ends = set[tuple[int, int]]()
    for seed in seeds:
        world = World(seed)
        for _ in range(STEPS):
            world.step()
        world.heal()
        expected = roster(world.policy, world.said)
        for peer in world.peers:
            found = peer.ledger.roster()
            assert (found.members, found.removed, found.invites) == (
                expected.members, expected.removed, expected.invites,
            ), seed  # fmt: skip
            assert set(found.pending) <= set(expected.pending)
        world.agree()
        members = [peer for peer in world.peers if peer.is_member]
        epochs = {peer.keyring.current() for peer in members}
        assert len(epochs) == bool(members), seed
        assert None not in epochs, seed
        assert len({peer.keyring.root for peer in members}) == bool(members), seed
        for name, _ in epochs:
            for peer in world.peers:
                assert peer.is_member or peer.keyring.secret_of(name) is None, seed
        ends.add((len(expected.members), len(expected.removed)))
    assert len(ends) > 5, "too little happens in these worlds"
