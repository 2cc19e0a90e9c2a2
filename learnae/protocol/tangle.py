"""The tangle: the DAG of a swarm's messages as one peer knows it. Pure: no I/O, no clock.

Verification that needs only the message's own bytes is in messages.py; here is what needs the
rest of the DAG: parents, the author's chain, order in time, equivocation, tips, history.
Solidification is iterative: history may be as deep as it likes.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from learnae.bounded_dict import BoundedDict
from learnae.errors import BannedError, FutureError, LimitError, MessageError, ReplayError, SequenceError, StaleError
from learnae.ipld.cid import CID_BYTES, Cid
from learnae.protocol.bodies import Evidence, FrameHeader, Update
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message
from learnae.protocol.pending import Pending

_MAX_HEADERS = 16  # different ones; true frames have two or three, invented ones as many as they like


@dataclass(frozen=True, slots=True)
class Node:
    """What the tangle remembers of an attached message; the rest stays in its block.

    History is long and boards are small, so equal things are one object: names of parents and bases are
    those that the tangle already holds, frames of one kind share a header, and the base is apart from it.
    """

    cid: Cid
    author: bytes
    seq: int
    time: int
    parents: tuple[Cid, ...]
    block_names: bytes  # one after another: half as large as Cids
    header: FrameHeader | None  # of an update; without its base
    base: Cid | None

    @property
    def blocks(self) -> tuple[Cid, ...]:
        """Return the names of the frame's blocks."""
        names = self.block_names
        return tuple(Cid.from_bytes(names[start : start + CID_BYTES]) for start in range(0, len(names), CID_BYTES))

    @property
    def frame(self) -> FrameHeader | None:
        """Return how to decode the update's frame; None for any other message."""
        return replace(self.header, base=self.base) if self.header and self.base else self.header


@dataclass(slots=True)
class Chain:
    """One author's messages: the newest, and which message holds each seq."""

    newest: Cid
    by_seq: dict[int, Cid] = field(default_factory=dict)
    update: Cid | None = None
    banned: bool = False


@dataclass(slots=True)
class Outcome:
    """What one ``attach`` changed: several messages may have waited for the one that came.

    ``oldest`` is the time of the oldest message that was opened for it (Replicator), attached or not.
    """

    attached: list[Message] = field(default_factory=list)
    equivocations: list[Evidence] = field(default_factory=list)
    refused: list[MessageError] = field(default_factory=list)
    oldest: int | None = None


class Tangle:
    """All attached messages, and a bounded set of those whose parents are not here yet.

    >>> from learnae.ipld.cid import DAG_CBOR
    >>> from learnae.protocol.identity import Identity
    >>> from learnae.protocol.messages import compose
    >>> alice, swarm, now = Identity.generate(), Cid.of(DAG_CBOR, b"a manifest"), 1_700_000_000_000
    >>> body = {"kind": "join", "name": "alice", "role": "agent", "software": "0.1"}
    >>> first = compose(alice, swarm, 0, (), now, body)
    >>> second = compose(alice, swarm, 1, (first.cid,), now + 1000, body)
    >>> tangle = Tangle(Limits(), random.Random())
    >>> tangle.attach(second, now).attached, tangle.missing() == [first.cid]
    ([], True)
    >>> [message.seq for message in tangle.attach(first, now).attached]
    [0, 1]
    >>> tangle.heads() == (second.cid,)
    True
    """

    def __init__(self, limits: Limits, rng: random.Random) -> None:
        self.limits = limits
        self._rng = rng
        self._nodes: dict[Cid, Node] = {}
        self._chains: dict[bytes, Chain] = {}
        self._tips: dict[Cid, None] = {}
        self._pending = Pending(limits)
        self._wanted = BoundedDict[Cid, None](limits.wanted)  # invented names must leave room for true ones
        self._refused = BoundedDict[Cid, None](limits.refused)
        self._headers = BoundedDict[FrameHeader, FrameHeader](_MAX_HEADERS)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, cid: Cid) -> bool:
        return cid in self._nodes

    def node(self, cid: Cid) -> Node | None:
        """Return what is remembered of an attached message; None if it is not attached."""
        return self._nodes.get(cid)

    def cids(self) -> Iterable[Cid]:
        """Return all attached messages, in the order in which they were attached."""
        return self._nodes.keys()

    def newest_of(self, author: bytes) -> Cid | None:
        """Return the author's message with the highest seq."""
        chain = self._chains.get(author)
        return chain.newest if chain else None

    def waiting_of(self, author: bytes) -> Message | None:
        """Return the author's message with the highest seq among those whose past is not here yet."""
        return self._pending.newest_of(author)

    def waiting(self) -> Iterable[Message]:
        """Return all messages whose past is not here yet."""
        return self._pending.messages()

    def authors(self) -> Iterable[bytes]:
        """Return the authors of all attached messages."""
        return self._chains.keys()

    def is_banned(self, author: bytes) -> bool:
        """Return True if the author has equivocated."""
        chain = self._chains.get(author)
        return chain is not None and chain.banned

    # -- what to ask for

    def is_new(self, cid: Cid) -> bool:
        """Return True if an announced head is neither attached, waiting nor refused."""
        return cid not in self._nodes and cid not in self._refused and cid not in self._pending

    def want(self, cid: Cid) -> None:
        """Ask for an old message by name: half of an equivocation, or a base older than the cut."""
        if self.is_new(cid):
            self._wanted[cid] = None

    def missing(self) -> list[Cid]:
        """Return the messages that others here refer to and that are not here."""
        return [*self._wanted, *self._pending.missing()]

    def refuse(self, cid: Cid) -> None:
        """Remember that this block is no valid message, and drop what waits for it."""
        for dropped in [cid, *self._pending.drop_descendants(cid)]:
            self._wanted.pop(dropped, None)
            self._refused[dropped] = None

    # -- attach

    def attach(self, message: Message, now: int, rooted: bool = False) -> Outcome:
        """Add a verified message, and all that waited for it; ``now`` in Unix milliseconds.

        A message whose parents are not all here waits, unless it is ``rooted``: this peer's own last one, which holds
        even if its past is lost everywhere or the clock was set back. Raises ReplayError, FutureError, StaleError,
        BannedError, SequenceError or LimitError; errors of messages that waited are in the outcome.
        """
        cid, asked_for = message.cid, message.cid in self._wanted or self._pending.waits_for(message.cid)
        if rooted:
            self._pending.take(cid)
        if cid in self._nodes or cid in self._pending:
            raise ReplayError(f"message {cid.short} again")
        if message.time > now + self.limits.skew and not rooted:
            ahead = (message.time - now) / 1000
            raise FutureError(f"message {cid.short} is dated {ahead:.0f} s ahead", "check the clocks of both machines")
        if not asked_for:
            self._check_unsolicited(message, now)
        outcome = Outcome()
        absent = [parent for parent in message.parents if parent not in self._nodes]
        if absent and message.time >= now - self.limits.horizon and not rooted:
            self._wait(message, absent)
            return outcome
        self._link(message, outcome)
        self._release(message.cid, outcome)
        return outcome

    def give_up_waiting(self, now: int) -> Outcome:
        """Attach what waits and has become older than the horizon: its past will never come.

        Else a parent that all peers have pruned would block the messages on it for ever.
        """
        outcome = Outcome()
        for message in self._pending.older_than(now - self.limits.horizon):
            if message.cid not in self._pending:  # released by one that was older still
                continue
            self._pending.take(message.cid)
            try:
                self._link(message, outcome)
                self._release(message.cid, outcome)
            except MessageError as error:
                outcome.refused.append(error)
        return outcome

    def _check_unsolicited(self, message: Message, now: int) -> None:
        """Raise StaleError or BannedError; not for what was asked for, or honest peers would never converge."""
        if message.time < now - self.limits.horizon:
            raise StaleError(f"message {message.cid.short} is older than the horizon")
        if self.is_banned(message.author):
            raise BannedError(f"{peer_name(message.author)[:8]} has signed two messages with one seq")

    def _wait(self, message: Message, absent: list[Cid]) -> None:
        self._wanted.pop(message.cid, None)
        if not self._refused.keys().isdisjoint(absent):
            self.refuse(message.cid)
            raise SequenceError(f"message {message.cid.short} stands on a refused message")
        self._pending.add(message, absent)

    def _link(self, message: Message, outcome: Outcome) -> None:
        try:
            self._check_order(message)
        except MessageError:
            self.refuse(message.cid)
            raise
        self._wanted.pop(message.cid, None)
        chain = self._chains.setdefault(message.author, Chain(message.cid))
        self._nodes[message.cid] = self._node_of(message, chain)
        for parent in message.parents:
            self._tips.pop(parent, None)
        self._tips[message.cid] = None
        self._extend_chain(chain, message, outcome)
        outcome.attached.append(message)

    def _node_of(self, message: Message, chain: Chain) -> Node:
        newest = self._nodes.get(chain.newest)
        frame = message.body.frame if isinstance(message.body, Update) else None
        header = replace(frame, base=None) if frame else None
        return Node(
            cid=message.cid,
            author=newest.author if newest else message.author,
            seq=message.seq,
            time=message.time,
            parents=tuple(map(self._held, message.parents)),
            block_names=b"".join(block.to_bytes() for block in message.blocks),
            header=self._headers.setdefault(header, header) if header else None,
            base=self._held(frame.base) if frame and frame.base else None,
        )

    def _held(self, cid: Cid) -> Cid:
        node = self._nodes.get(cid)
        return node.cid if node else cid

    def _extend_chain(self, chain: Chain, message: Message, outcome: Outcome) -> None:
        first = chain.by_seq.setdefault(message.seq, message.cid)
        if first != message.cid:
            chain.banned = True
            outcome.equivocations.append(Evidence(message.author, first, message.cid))
        newest = self._nodes.get(chain.newest)
        if newest is None or message.seq >= newest.seq:
            chain.newest = message.cid
            if isinstance(message.body, Update):
                chain.update = message.cid

    def _check_order(self, message: Message) -> None:
        parents = [self._nodes.get(parent) for parent in message.parents]
        if any(parent is not None and parent.time >= message.time for parent in parents):
            raise SequenceError(f"message {message.cid.short} is not younger than its parents")
        previous = parents[0] if message.seq else None
        if previous is None:  # the first message, or one whose parent is beyond the cut
            return
        if previous.author != message.author or previous.seq != message.seq - 1:
            raise SequenceError(f"message {message.cid.short} does not continue its author's chain")
        if message.time - previous.time < self.limits.interval:
            problem = f"{peer_name(message.author)[:8]} speaks every {message.time - previous.time} ms"
            raise LimitError(problem, f"the swarm allows one message in {self.limits.interval} ms")

    def _release(self, cid: Cid, outcome: Outcome) -> None:
        solid = [cid]
        while solid:
            for child in self._pending.release(solid.pop()):
                try:
                    self._link(child, outcome)
                    solid.append(child.cid)
                except MessageError as error:
                    outcome.refused.append(error)

    # -- what to say

    def heads(self) -> tuple[Cid, ...]:
        """Return the tips to announce: all, or a random choice where there are more than fit."""
        tips = [tip for tip in self._tips if not self.is_banned(self._nodes[tip].author)]
        if len(tips) > self.limits.heads:
            tips = self._rng.sample(tips, self.limits.heads)
        return tuple(tips)

    def parents_for(self, author: bytes, now: int) -> tuple[Cid, ...]:
        """Return the parents of the author's next message: its previous one, then up to two fresh tips."""
        own = self.newest_of(author)
        fresh = now - self.limits.horizon // 2  # so that no peer's walk ends at them
        others = [
            tip
            for tip in self._tips
            if self._nodes[tip].author != author
            and fresh <= self._nodes[tip].time <= now + self.limits.skew // 2  # own messages must be nearer than skew
            and not self.is_banned(self._nodes[tip].author)
        ]
        room = self.limits.parents - 1
        chosen = others if len(others) <= room else self._rng.sample(others, room)
        return (own, *chosen) if own else tuple(chosen)

    def time_for(self, author: bytes, parents: tuple[Cid, ...], now: int) -> int:
        """Return the time of the author's next message: the clock's, but after its parents' (hybrid logical clock)."""
        own = self.newest_of(author)
        after = [self._nodes[parent].time + 1 for parent in parents]
        if own:
            after.append(self._nodes[own].time + self.limits.interval)
        return max([now, *after])

    # -- forget

    def prune(self, now: int, keep: Iterable[Cid] = ()) -> list[Cid]:
        """Forget what is older than the horizon, not in ``keep`` and in no live frame chain.

        Direct parents of what stays also stay, so that a newcomer's walk ends at messages that
        some peer still holds. Returns the names of all blocks that may go: messages and frames.
        """
        cut = now - self.limits.horizon
        if all(node.time >= cut for node in self._nodes.values()):
            return []
        kept = self._needed(cut).union(keep)
        gone: dict[Cid, None] = {}
        for cid in [cid for cid in self._nodes if cid not in kept]:
            node = self._nodes.pop(cid)
            self._tips.pop(cid, None)
            gone.update(dict.fromkeys([cid, *node.blocks]))
            self._forget_in_chain(cid, node)
        for cid, node in self._nodes.items():  # equal frames are one block
            for name in (cid, *node.blocks):
                gone.pop(name, None)
        return list(gone)

    def _needed(self, cut: int) -> set[Cid]:
        fresh = [cid for cid, node in self._nodes.items() if node.time >= cut]
        needed = {*fresh, *(parent for cid in fresh for parent in self._nodes[cid].parents)}
        for chain in self._chains.values():
            step = chain.update if chain.update and self._nodes[chain.update].time >= cut else None
            while step is not None and step in self._nodes:
                needed.add(step)
                step = self._nodes[step].base
        return needed

    def _forget_in_chain(self, cid: Cid, node: Node) -> None:
        chain = self._chains[node.author]
        if chain.by_seq.get(node.seq) == cid:
            del chain.by_seq[node.seq]
        if chain.update == cid:
            chain.update = None
        if chain.by_seq:
            chain.newest = chain.by_seq[max(chain.by_seq)]
        elif not chain.banned:
            del self._chains[node.author]
