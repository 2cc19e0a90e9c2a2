"""What must hold in a swarm whatever happens to it; a witness of all that was ever shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from learnae.errors import BlockMissingError, LearnaeError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.protocol.messages import Envelope

if TYPE_CHECKING:
    from learnae.simulation.seeds.machine import Machine

NEVER_TWICE = "no peer signs two messages with one seq"
NOT_BACK = "what a peer has counted never goes back"
KNOWS = "what a running peer knows of an author never goes back"
BOUNDED = "memory and disk of a peer are bounded"
NO_BLAME = "no honest peer is banned, or declares a fork"
RUNS = "a peer starts, and none of its errors ends it"
SPEAKS = "peers publish again once all is well"
AGREES = "all know the same once all is well"
KEPT = "nothing is lost that anyone could have heard"
FRAMES = "all that is live can be decoded"
CONSENSUS = "all estimate the same model"
LEARNS = "the model is better than chance"

_MESSAGES_A_AUTHOR = 96  # twice what a peer says in the longest grace, with checkpoints that come late
_BLOCKS_A_MESSAGE = 2  # itself and its frame, as models here have one block
_SPARE_BLOCKS = 256  # records, starting weights, and what came too late: ten minutes of it
_NEAR = 1e-4  # of estimates, relative: replicas are the same, sums are in float32
_CHANCE = 0.6  # accuracy: of two classes, with rows that a line divides


class Broken(Exception):
    """An ``invariant`` does not hold: ``detail`` says where."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


@dataclass(eq=False)
class Witness:
    """Sees each message of an honest peer at the moment when others may fetch it."""

    def __post_init__(self) -> None:
        self.said: dict[tuple[int, int], Cid] = {}
        self.newest: dict[int, int] = {}  # by peer

    def see(self, peer: int, author: bytes, data: bytes) -> bool:
        """Take in a block that ``peer``, whose key is ``author``, shows; True if it is a new message of its own.

        Raises Broken.
        """
        try:
            envelope = Envelope.read(data)
        except LearnaeError:  # a record of membership
            return False
        if envelope.author != author:
            return False
        cid = Cid.of(DAG_CBOR, data)
        is_new = (peer, envelope.seq) not in self.said
        before = self.said.setdefault((peer, envelope.seq), cid)
        if before != cid:
            raise Broken(NEVER_TWICE, f"peer {peer} has signed {before.short} and {cid.short} with seq {envelope.seq}")
        self.newest[peer] = max(self.newest.get(peer, -1), envelope.seq)
        return is_new


def check_running(machine: Machine, machines: list[Machine]) -> None:
    """Raise Broken where a running peer breaks what must hold at any time."""
    peer, name = machine.peer, f"peer {machine.number}"
    tangle, limits = peer.tangle, peer.manifest.limits
    known = {author: entry.seq for author, entry in tangle.entries()}
    for author, seq in machine.known.items():
        if known.get(author, seq) < seq:
            raise Broken(KNOWS, f"{name} knew message {seq} of an author, and now {known[author]}")
    machine.known = known
    for other in machines:
        if other.is_honest and (tangle.is_banned(other.author) or tangle.forked(other.author)):
            raise Broken(NO_BLAME, f"{name} has proof that peer {other.number} has forked")
    waiting = sum(1 for _ in tangle.waiting())
    if waiting > limits.pending_messages:
        raise Broken(BOUNDED, f"{waiting} messages wait at {name}")
    most = _MESSAGES_A_AUTHOR * max(len(known), len(machines))
    if len(tangle) > most:
        raise Broken(BOUNDED, f"the tangle of {name} has {len(tangle)} messages, at most {most} were expected")
    blocks = len(machine.store.names)
    if not machine.is_archive and blocks > _BLOCKS_A_MESSAGE * most + _SPARE_BLOCKS:
        raise Broken(BOUNDED, f"the disk of {name} has {blocks} blocks for {len(tangle)} messages")


def check_restarted(machine: Machine, newest: int, steps: int, released: int) -> None:
    """Raise Broken where a peer that has shown message ``newest`` after so many ``steps`` starts with less.

    Or where one that has ``released`` so many private steps has paid for fewer.
    """
    last = machine.peer.own.last
    seq = last.seq if last else -1
    if seq < newest:
        raise Broken(NOT_BACK, f"peer {machine.number} has shown message {newest}, and goes on after {seq}")
    if machine.peer.steps < steps:
        raise Broken(NOT_BACK, f"peer {machine.number} has shown {steps} steps, and goes on after {machine.peer.steps}")
    spent = machine.peer.options.privacy()
    if spent and spent.releases < released:
        raise Broken(NOT_BACK, f"peer {machine.number} has released {released} steps, and paid for {spent.releases}")


def check_end(machines: list[Machine], witness: Witness, is_one: bool, accuracy: float | None) -> None:
    """Raise Broken where peers differ that have all had time to hear each other.

    ``is_one`` says that all follow all; ``accuracy`` is the lowest of their estimates, None if it says nothing.
    """
    for machine in machines:
        known = dict(machine.peer.tangle.entries())
        for other in machines:
            said = witness.newest.get(other.number, -1)
            heard = known[other.author].seq if other.author in known else -1
            if other.is_honest and heard < said:
                raise Broken(
                    KEPT, f"peer {machine.number} knows message {heard} of peer {other.number}, which said {said}"
                )
        _check_frames(machine, machines)
    if is_one:
        _check_consensus(machines)
    if accuracy is not None and accuracy < _CHANCE:
        raise Broken(LEARNS, f"{accuracy:.2f} of the rows after training")


def _check_frames(machine: Machine, machines: list[Machine]) -> None:
    for other in machines:
        for cid in machine.peer.tangle.checkpoints_of(other.author)[:1]:
            node = machine.peer.tangle.node(cid)
            for block in node.blocks if node else ():
                if not any(_holds(each, block) for each in machines):
                    raise Broken(
                        FRAMES, f"the frame of message {node.seq if node else 0} of peer {other.number} is nowhere"
                    )


def _holds(machine: Machine, cid: Cid) -> bool:
    try:
        machine.store.get(cid)
    except BlockMissingError:
        return False
    return True


def _check_consensus(machines: list[Machine]) -> None:
    first, *others = machines
    estimate = first.peer.estimate()
    for machine in others:
        other = machine.peer.estimate()
        apart = float(np.linalg.norm(estimate - other)) / max(float(np.linalg.norm(estimate)), 1e-9)
        if apart > _NEAR:
            raise Broken(CONSENSUS, f"those of peers {first.number} and {machine.number} are {apart:.2g} apart")
