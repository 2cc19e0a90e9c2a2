"""One set of messages, delivered in any order, repeated and replayed: everywhere the same is left of it."""

import random
from dataclasses import dataclass, field

import pytest
from builders import NOW, Author, new_tangle, some_frame, update_body
from nightly import how_many

from learnae.errors import BannedError, PeerError
from learnae.ipld.cid import Cid
from learnae.protocol.announcements import Entry
from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message
from learnae.protocol.tangle import Tangle

ORDERS = how_many(1000, 10_000)
NEWCOMER_EVERY = 5
LATER = NOW + 2 * HOUR


@dataclass
class Swarm:
    """What was said and delivered, and what must be left: the live messages, and who is banned."""

    delivered: list[Message] = field(default_factory=list)
    live: list[Message] = field(default_factory=list)
    banned: set[bytes] = field(default_factory=set)
    kept: set[Cid] = field(default_factory=set)
    gone: set[Cid] = field(default_factory=set)  # what only false evidence names
    unproven: set[Cid] = field(default_factory=set)  # that evidence: a newcomer cannot judge it any more

    def hear(self, *messages: Message, live: bool = False) -> None:
        self.delivered += messages
        self.live += messages if live else ()


def conversation() -> Swarm:
    """Seven authors: updates, a gap, a lost beginning, a fork, a declared one, evidence of both, and false evidence."""
    swarm, learner, gap, rootless, liar, restored, reporter, forger = Swarm(), *map(Author, range(1, 8))
    key = learner.say(body=update_body(), blocks=(some_frame(1),))
    delta = learner.say(body=update_body("delta", key.cid), blocks=(some_frame(2),))
    swarm.hear(key, delta)
    checkpoint = learner.say(body=update_body(), blocks=(some_frame(1),), checkpoint=True)  # equal frames: one block
    swarm.hear(checkpoint, learner.say(body=update_body("delta", checkpoint.cid), blocks=(some_frame(3),)), live=True)

    swarm.hear(gap.say(checkpoint=True))
    gap.say()  # is lost
    swarm.hear(gap.say(blocks=(some_frame(4),)), gap.say())
    gap.say()
    swarm.hear(gap.say(delta, checkpoint=True), gap.say(), live=True)
    gap.say()
    swarm.hear(gap.say())  # waits

    rootless.say()
    swarm.hear(rootless.say(), rootless.say(blocks=(some_frame(5),)))

    swarm.hear(liar.say())
    lies = liar.fork()
    swarm.hear(*lies, liar.say(), liar.say(checkpoint=True), liar.say())
    swarm.banned.add(liar.author)

    said = restored.chain(3)
    restored.last = said[0]
    again = [restored.say(time=NOW + 60_000 + 1000 * number) for number in range(2)]
    swarm.hear(*said, *again)
    swarm.hear(restored.say(previous=said[-1], time=NOW + HOUR, checkpoint=True, forked=3))
    swarm.hear(restored.say(checkpoint=True), restored.say(), live=True)

    evidence = [reporter.say(), reporter.accuse(*lies), reporter.accuse(said[1], again[0])]
    swarm.hear(*evidence)
    swarm.hear(reporter.say(checkpoint=True), live=True)
    swarm.kept = {message.cid for message in evidence[1:]}
    swarm.gone = {key.cid, delta.cid, said[0].cid}
    false = forger.accuse(key, delta), forger.accuse(lies[0], said[0], restored.author)
    swarm.unproven = {message.cid for message in false}
    swarm.hear(*false, live=True)
    return swarm


CONVERSATION = conversation()


class Witness:
    """Hears in the order that it is given, and keeps on its disk what was not let go."""

    def __init__(self) -> None:
        self.tangle = new_tangle()
        self.disk: dict[Cid, Message | None] = {}  # None: a frame

    def hear(self, message: Message) -> None:
        self.disk[message.cid] = message
        try:
            attached = self.tangle.attach(message, LATER).attached
        except BannedError:
            self.tangle.refuse(message.cid)
            return
        except PeerError:
            return
        self.disk.update(dict.fromkeys(block for each in attached for block in each.blocks))

    def forget(self, uptime: int) -> None:
        for cid in self.tangle.forget(LATER, uptime):
            self.disk.pop(cid, None)

    def needed(self) -> set[Cid]:
        """Return what must be on its disk, and nothing else."""
        names = {*self.tangle.cids(), *self.tangle.kept()}
        for message in self.tangle._pending.messages():
            names.add(message.cid)
        for cid in self.tangle.cids():
            names.update(self.tangle.node(cid).blocks)
        for chain in self.tangle._chains.values():
            names.update(cid for evidence in chain.conflicts.values() for cid in evidence.names)
        return names


def left(tangle: Tangle) -> tuple[set[Cid], set[bytes], set[Cid]]:
    banned = {author for author in tangle.authors() if tangle.is_banned(author)}
    return set(tangle.cids()), banned, set(tangle.kept())


def witness_of_everything(rng: random.Random) -> Witness:
    """Hear a part, everything, and again some of it; let a grace pass; hear everything again."""
    witness, said = Witness(), CONVERSATION.delivered
    passes = (rng.sample(said, rng.randrange(len(said))), rng.sample(said, len(said)), rng.choices(said, k=8))
    for uptime, delivered in enumerate(passes):
        for message in delivered:
            witness.hear(message)
        witness.forget(uptime)
    witness.forget(len(passes) + Limits().grace)
    for message in rng.sample(said, len(said)):
        witness.hear(message)
    witness.forget(3 * Limits().grace)
    return witness


def newcomer_from(witness: Witness, rng: random.Random) -> Tangle:
    """Ask the witness for what its vector and what it keeps names, and for what that needs, until nothing is new."""
    newcomer = Witness()
    entries, kept = [entry for _, entry in witness.tangle.entries()], list(witness.tangle.kept())
    while wanted := wanted_by(newcomer.tangle, entries, kept):
        served = [message for cid in sorted(wanted) if (message := witness.disk.get(cid))]
        if not served:
            assert wanted <= CONVERSATION.gone, "what a newcomer needs is not there"
            break
        for message in rng.sample(served, len(served)):
            newcomer.hear(message)
    return newcomer.tangle


def wanted_by(tangle: Tangle, entries: list[Entry], kept: list[Cid]) -> set[Cid]:
    announced = {cid for entry in entries for cid in tangle.wanted_of(entry)}
    return {*announced, *tangle.missing(), *(cid for cid in kept if tangle.lacks_kept(cid))}


@pytest.fixture(scope="module")
def expected() -> tuple[set[Cid], set[bytes], set[Cid]]:
    return {message.cid for message in CONVERSATION.live}, CONVERSATION.banned, CONVERSATION.kept


def test_every_order_leaves_the_same(expected: tuple[set[Cid], set[bytes], set[Cid]]) -> None:
    for seed in range(ORDERS):
        rng = random.Random(seed)
        witness = witness_of_everything(rng)
        assert left(witness.tangle) == expected, f"order {seed}"
        assert set(witness.disk) == witness.needed(), f"order {seed}"
        assert witness.tangle.needed() == witness.needed() | {some_frame(5)}, f"order {seed}"  # its message waits
        if seed % NEWCOMER_EVERY == 0:
            live, banned, kept = left(newcomer_from(witness, rng))
            assert (live, banned) == expected[:2], f"newcomer after order {seed}"
            assert kept == CONVERSATION.kept | CONVERSATION.unproven, f"newcomer after order {seed}"
