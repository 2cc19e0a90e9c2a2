"""The tangle: the DAG of a swarm's live messages as one peer knows it. Pure.

Verification that needs only the message's own bytes is in messages.py; here is what needs the rest of the DAG: the
author's chain since its last checkpoint, order in time, equivocation, and what may be forgotten. Links to others'
messages are hints: nothing waits for them.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView, MutableMapping
from dataclasses import dataclass, field

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import BannedError, FutureError, LimitError, MessageError, ReplayError, SequenceError, StaleError
from learnae.ipld.cid import RAW, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Entry
from learnae.protocol.bodies import Evidence, FrameHeader, Update
from learnae.protocol.chain import Chain
from learnae.protocol.evidence_book import EvidenceBook
from learnae.protocol.hearsay import Bringer
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import MAX_SEQ, Limits
from learnae.protocol.messages import Message
from learnae.protocol.pending import Pending

_DRAG = 8  # others' dates move the own one by at most this part of skew
_MAX_HEADERS = 16  # different ones; true frames have two or three, invented ones as many as they like


@dataclass(frozen=True, slots=True)
class Node:
    """What the tangle remembers of an attached message; the rest stays in its block.

    Boards are small, so equal things are one object: frames of one kind share a header, and the base is apart from it.
    """

    cid: Cid
    author: bytes
    seq: int
    time: int
    parents: tuple[Cid, ...]
    blocks: tuple[Cid, ...]  # of the frame: the names that the tangle counts
    header: FrameHeader | None  # of an update; without its base
    base: Cid | None

    @property
    def frame(self) -> FrameHeader | None:
        """Return how to decode the update's frame; None for any other message."""
        header, base = self.header, self.base
        return FrameHeader(header.kind, header.codec, header.count, base) if header and base else header


@dataclass(slots=True)
class Outcome:
    """What one ``attach`` changed: several messages may have waited for the one that came."""

    attached: list[Message] = field(default_factory=list)
    equivocations: list[Evidence] = field(default_factory=list)
    refused: list[MessageError] = field(default_factory=list)


class Tangle:
    """All live messages, and a bounded set of those that do not reach a checkpoint yet. ``me`` is the own key.

    Tangles of one process make each node once if they share ``nodes``, which the caller bounds.

    >>> from learnae.ipld.cid import DAG_CBOR
    >>> from learnae.protocol.identity import Identity
    >>> from learnae.protocol.messages import compose
    >>> alice, swarm, now = Identity.generate(), Cid.of(DAG_CBOR, b"a manifest"), 1_700_000_000_000
    >>> body = {"kind": "join", "peer": {"name": "alice", "role": "agent", "software": "0.1"}}
    >>> first = compose(alice, swarm, 7, (swarm,), now, body, checkpoint=True)
    >>> second = compose(alice, swarm, 8, (first.cid,), now + 1000, body)
    >>> tangle = Tangle(Limits(), random.Random())
    >>> tangle.attach(second, now).attached, list(tangle.missing()) == [first.cid]
    ([], True)
    >>> [message.seq for message in tangle.attach(first, now).attached]
    [7, 8]
    >>> [entry.seq for _, entry in tangle.entries()]
    [8]
    """

    def __init__(
        self, limits: Limits, rng: random.Random, me: bytes = b"", nodes: MutableMapping[Cid, Node] | None = None
    ) -> None:
        self.limits = limits
        self.me = me
        self._made = nodes  # by any tangle of the process; None where there is but this one
        self._rng = rng
        self._nodes: dict[Cid, Node] = {}
        self._chains: dict[bytes, Chain] = {}
        self._by_prefix: dict[bytes, set[bytes]] = {}  # authors: more than one, where keys begin alike
        self._evidence = EvidenceBook(limits, self._signed)
        self._pending = Pending(limits)
        self._refused = BoundedDict[Cid, None](limits.refused)
        self._headers = BoundedDict[FrameHeader, FrameHeader](_MAX_HEADERS)
        self._uses = Counter[Cid]()  # of frame blocks, by attached messages: equal frames are one block
        self._gone: dict[Cid, None] = {}  # blocks that may be needed no more
        self._displaced: dict[Cid, None] = {}  # those of them that never were attached
        self._latest = 0  # Unix ms: of all attached messages
        self._entries: dict[bytes, Entry] = {}  # as they were last announced, until something is attached or dropped
        self._speakers: dict[bytes, None] = {}  # all of ``_chains``, who has spoken last at the end
        self.uptime = 0  # ms: the own clock's, which is never set
        self.favoured = frozenset[bytes]()  # authors who are never forgotten for others

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, cid: Cid) -> bool:
        return cid in self._nodes

    def node(self, cid: Cid) -> Node | None:
        """Return what is remembered of an attached message; None if it is not attached."""
        return self._nodes.get(cid)

    def cids(self) -> KeysView[Cid]:
        """Return all attached messages, in the order in which they were attached."""
        return self._nodes.keys()

    def newest_of(self, author: bytes) -> Cid | None:
        """Return the author's message with the highest seq."""
        chain = self._chains.get(author)
        return chain.newest if chain else None

    def seq_of(self, author: bytes) -> int:
        """Return the highest seq of the author's messages; -1 if none is known."""
        chain = self._chains.get(author)
        return max(chain.by_seq, default=-1) if chain else -1

    def checkpoints_of(self, author: bytes) -> list[Cid]:
        """Return the author's attached checkpoints, newest first."""
        chain = self._chains.get(author)
        return [chain.by_seq[seq] for seq in sorted(chain.checkpoints, reverse=True)] if chain else []

    def previous_of(self, cid: Cid) -> Cid | None:
        """Return the attached message that an attached one continues; None for a checkpoint."""
        node = self._nodes.get(cid)
        if node is None or node.seq in self._chains[node.author].checkpoints:
            return None
        return node.parents[0]

    def waiting_of(self, author: bytes) -> Message | None:
        """Return the author's message with the highest seq among those that reach no checkpoint yet."""
        return self._pending.newest_of(author)

    def waiting(self) -> Iterable[Message]:
        """Return the messages that reach no checkpoint yet, that no newer one replaces, and whose author may speak."""
        return filter(self._is_awaited, self._pending.messages())

    def _is_awaited(self, message: Message) -> bool:
        chain = self._chains.get(message.author)
        return chain is None or (message.seq > chain.root and not chain.is_banned)

    def authors(self) -> Iterable[bytes]:
        """Return the authors of all attached messages, and those that are banned."""
        return self._chains.keys()

    def is_banned(self, author: bytes) -> bool:
        """Return True if the author has equivocated, and has not declared it."""
        chain = self._chains.get(author)
        return chain is not None and bool(chain.conflicts) and chain.is_banned

    def unreported(self) -> Iterator[Evidence]:
        """Return what proves that an author is banned, where no evidence is kept that would tell others."""
        if self._evidence.is_full(self.me):
            return
        for author in self.banned():
            chain = self._chains[author]
            if author != self.me and not self._evidence.proves(author, chain.forked):
                yield chain.conflicts[max(chain.conflicts)]

    def banned(self) -> list[bytes]:
        """Return the authors who have equivocated, and have not declared it."""
        return [author for author, chain in self._chains.items() if chain.conflicts and chain.is_banned]

    def forked(self, author: bytes) -> int:
        """Return the seq below which the author has declared a fork; 0 without one."""
        chain = self._chains.get(author)
        return chain.forked if chain else 0

    def may_declare(self, author: bytes, now: int) -> bool:
        """Return True if a fork that the author declares ``now`` would be excused."""
        chain = self._chains.get(author)
        return chain is None or not chain.forked or now - chain.forked_time >= self.limits.horizon

    def reaches(self, prefix: bytes, seq: int) -> bool:
        """Return True if an author whose key begins with ``prefix`` is known up to ``seq``, or banned."""
        chains = [self._chains[author] for author in self._by_prefix.get(prefix, ())]
        return any(chain.is_banned or max(chain.by_seq, default=chain.floor) >= seq for chain in chains)

    def is_forgotten(self, author: bytes, seq: int) -> bool:
        """Return True if a checkpoint has replaced the author's message ``seq``."""
        chain = self._chains.get(author)
        return chain is not None and seq < chain.floor

    def kept(self) -> Iterator[Cid]:
        """Return the messages that are kept for ever."""
        return iter(self._evidence)

    # -- what to ask for

    def is_new(self, cid: Cid) -> bool:
        """Return True if a named message is neither attached, waiting nor refused."""
        return cid not in self._nodes and cid not in self._refused and cid not in self._pending

    def lacks_kept(self, cid: Cid) -> bool:
        """Return True if a message that another peer keeps for ever is not kept here, and not refused."""
        return self.is_new(cid) and cid not in self._evidence

    def is_witness(self, cid: Cid) -> bool:
        """Return True if some evidence names the message, and cannot be judged yet."""
        return self._evidence.is_witness(cid)

    def wanted_of(self, entry: Entry) -> list[Cid]:
        """Return which messages that an announced ``entry`` names are to be fetched, the checkpoint first.

        Where known keys begin alike, nothing tells whose they are: all that is new is.
        """
        if entry.head in self._nodes:  # as most are, each time that they are announced
            return []
        authors = self._by_prefix.get(entry.author, ())
        chain = self._chains[next(iter(authors))] if len(authors) == 1 else None
        if chain is not None and entry.seq not in chain.by_seq and entry.seq < chain.root:
            return []
        head, base = entry.head, entry.checkpoint
        wanted = [base] if base is not None and base != head and self.is_new(base) else []
        is_out = chain is not None and chain.is_banned and chain.author != self.me  # only a checkpoint can excuse it
        if (base == head or not is_out) and self.is_new(head):
            wanted.append(head)
        return wanted

    def missing(self) -> Iterator[Cid]:
        """Return the messages that others here refer to and that are not here."""
        return (cid for cid, _ in self.needs())

    def needs(self) -> Iterator[tuple[Cid, Bringer]]:
        """Return the messages that others here refer to and that are not here, and who has brought those."""
        yield from self._evidence.missing()
        for cid, child in self._pending.missing():
            if self._is_awaited(child):
                yield cid, self._pending.bringer_of(child.cid)

    def knows(self, author: bytes) -> bool:
        """Return True if messages of an author have been here for longer than a new key's."""
        chain = self._chains.get(author)
        return chain is not None and bool(chain.by_seq) and self.uptime - chain.since >= self.limits.grace

    def give_up(self, cid: Cid) -> None:
        """Wait no more for a message that does not come; what waits for it goes, and itself should it come now."""
        self._displaced[cid] = None
        for dropped in self._pending.drop_descendants(cid):
            self._discard(dropped)

    def awaited_by(self, cid: Cid) -> Cid | None:
        """Return the message that a waiting one continues; None if that is here, or not needed."""
        message = self._pending.get(cid)
        previous = message.previous if message and self._is_awaited(message) else None
        return previous if previous is not None and self.is_new(previous) else None

    def refuse(self, cid: Cid) -> None:
        """Remember that this block is no valid message, and drop what waits for it."""
        for evidence in self._evidence.naming(cid):
            self._disbelieve(evidence)
        self.reject(cid)

    def reject(self, cid: Cid) -> None:
        """Refuse a message that breaks its chain or cannot be read, and what waits for it. It can still testify."""
        for dropped in self._pending.drop_descendants(cid):
            self._discard(dropped)
        self._refused[cid] = None

    # -- attach

    def attach(self, message: Message, now: int, bringer: Bringer = "", is_known: bool = False) -> Outcome:
        """Add a verified message, and all that waited for it; ``now`` in Unix milliseconds.

        A message waits until its author's chain reaches a checkpoint, booked on its ``bringer``, who may be known.
        Raises ReplayError, FutureError, StaleError, BannedError, SequenceError or LimitError; errors of messages that
        waited are in the outcome.
        """
        self._check_new(message, now)
        outcome = Outcome()
        is_asked_for = self.is_witness(message.cid)
        is_kept = self._hear_evidence(message, outcome)
        try:
            self._take_in(message, now, outcome, bringer, is_known)
        except MessageError as error:
            self._discard(message)
            if not is_kept and not is_asked_for:
                raise
            outcome.refused.append(error)
        if is_kept and message.cid not in self._nodes:
            outcome.attached.append(message)
        return outcome

    def testify(self, message: Message, now: int) -> Outcome:
        """Let a verified message count as evidence, or for what is on trial, and no more.

        It cannot be read, or its author is none of those who are heard. Raises ReplayError or FutureError.
        """
        self._check_new(message, now)
        outcome = Outcome()
        if self._hear_evidence(message, outcome):
            outcome.attached.append(message)
        return outcome

    def _check_new(self, message: Message, now: int) -> None:
        if message.cid in self._nodes or message.cid in self._pending:
            raise ReplayError(f"message {message.cid.short} again")
        if message.time > now + self.limits.skew:
            problem = f"message {message.cid.short} is dated {(message.time - now) / 1000:.0f} s ahead"
            raise FutureError(problem, "check the clocks of both machines")

    def _take_in(self, message: Message, now: int, outcome: Outcome, bringer: Bringer, is_known: bool) -> None:
        chain = self._chain_of(message.author)
        if message.checkpoint:
            chain.declare(message.forked, message.time, self.limits.horizon)
        self._check_live(chain, message, now)
        if not message.checkpoint and message.previous not in self._nodes:
            self._wait(message, bringer, is_known)
            return
        self._link(chain, message, outcome)
        self._release(message.cid, outcome)

    def _check_live(self, chain: Chain, message: Message, now: int) -> None:
        """Raise StaleError or BannedError for what no peer needs any more."""
        if message.seq < chain.floor:
            raise StaleError(f"message {message.cid.short} is older than its author's checkpoint")
        if message.author != self.me and message.time < min(now, self._latest) - self.limits.horizon:
            raise StaleError(f"message {message.cid.short} is older than the horizon")
        if chain.is_banned and message.checkpoint:
            raise BannedError(f"{peer_name(message.author)[:8]} has signed two messages with one seq")

    def _chain_of(self, author: bytes) -> Chain:
        return self._chains.get(author) or Chain(author, self.uptime)

    def _wait(self, message: Message, bringer: Bringer, is_known: bool) -> None:
        assert message.previous is not None
        if message.previous in self._refused:
            self.reject(message.cid)
            raise SequenceError(f"message {message.cid.short} stands on a refused message")
        is_known = is_known or message.author == self.me or self.knows(message.author)
        for dropped in self._pending.add(message, message.previous, bringer, is_known):
            self._discard(dropped)

    def _link(self, chain: Chain, message: Message, outcome: Outcome) -> None:
        """Attach the message, whose chain reaches a checkpoint."""
        try:
            self._check_order(chain, message)
        except MessageError:
            self.reject(message.cid)
            raise
        known = chain.by_seq.get(message.seq)
        if known is not None:
            self.reject(message.cid)
            self._discard(message)
            self._convict(Evidence(message.author, known, message.cid), message.seq, outcome)
            return
        self._remember(chain)
        self._nodes[message.cid] = self._node_of(message, chain)
        for block in message.blocks:
            self._uses[block] += 1
            self._gone.pop(block, None)
            self._displaced.pop(block, None)
        self._entries.pop(chain.author, None)
        chain.by_seq[message.seq] = message.cid
        if message.checkpoint:
            chain.checkpoints[message.seq] = None
        newest = self._nodes.get(chain.newest) if chain.newest else None
        if newest is None or message.seq > newest.seq:
            chain.newest = message.cid
        self._latest = max(self._latest, message.time)
        outcome.attached.append(message)
        if chain.crowd(self.limits.live, self.limits.checkpoints):
            self._sink(chain)

    def _node_of(self, message: Message, chain: Chain) -> Node:
        if self._made is None:
            return self._make_node(message, chain)
        node = self._made.get(message.cid)
        if node is None:
            node = self._made[message.cid] = self._make_node(message, chain)
        return node

    def _make_node(self, message: Message, chain: Chain) -> Node:
        frame = message.body.frame if isinstance(message.body, Update) else None
        header = FrameHeader(frame.kind, frame.codec, frame.count, None) if frame else None
        return Node(
            cid=message.cid,
            author=chain.author,
            seq=message.seq,
            time=message.time,
            parents=message.parents,
            blocks=message.blocks,
            header=self._headers.setdefault(header, header) if header else None,
            base=frame.base if frame else None,
        )

    def _check_order(self, chain: Chain, message: Message) -> None:
        """Raise SequenceError or LimitError.

        A checkpoint is compared with the newest message before it that is here: whether the one that it names is
        decides nothing, or peers would disagree. That one may be of another branch, and later: the fork is to be seen.
        """
        if message.checkpoint:
            before = max((seq for seq in chain.by_seq if seq < message.seq), default=None)
            previous = None if before is None else self._nodes[chain.by_seq[before]]
        else:
            assert message.previous is not None
            previous = self._nodes[message.previous]
            if previous.author != message.author or previous.seq != message.seq - 1:
                raise SequenceError(f"message {message.cid.short} does not continue its author's chain")
        passed = self.limits.interval if previous is None else message.time - previous.time
        if (abs(passed) if message.checkpoint else passed) < self.limits.interval:
            problem = f"{peer_name(message.author)[:8]} speaks every {passed} ms"
            raise LimitError(problem, f"the swarm allows one message in {self.limits.interval} ms")
        roots = [seq for seq in chain.checkpoints if seq <= message.seq]
        if not message.checkpoint and message.seq - max(roots, default=chain.floor) > self.limits.since:
            problem = f"{peer_name(message.author)[:8]} has said {self.limits.since} messages without a checkpoint"
            raise LimitError(problem, "it is ignored until then")

    def _release(self, cid: Cid, outcome: Outcome) -> None:
        solid = [cid]
        while solid:
            parent = solid.pop()
            for child in self._pending.release(parent) if parent in self._nodes else ():
                try:
                    self._link(self._chain_of(child.author), child, outcome)
                    solid.append(child.cid)
                except MessageError as error:
                    self._discard(child)
                    outcome.refused.append(error)

    def _remember(self, chain: Chain) -> None:
        self._chains[chain.author] = chain
        self._by_prefix.setdefault(chain.author[:PREFIX_BYTES], set()).add(chain.author)
        self._speakers.pop(chain.author, None)
        self._speakers[chain.author] = None
        if len(self._speakers) > self.limits.authors:
            self._forget_one(but=chain.author)

    # -- equivocation

    def _signed(self, cid: Cid) -> tuple[bytes, int] | None:
        known = self._nodes.get(cid) or self._pending.get(cid)
        return (known.author, known.seq) if known else None

    def _hear_evidence(self, message: Message, outcome: Outcome) -> bool:
        """Take what a message says of an equivocation, or proves of one; return True if it is new evidence."""
        if not self._evidence.concerns(message):
            return False
        self._evidence.testify(message)
        evidence = self._evidence.keep(message)
        if evidence is not None:
            chain = self._chains.get(evidence.author)
            seqs = [seq for seq, known in chain.conflicts.items() if known == evidence] if chain else []
            if seqs:
                self._evidence.believe(evidence, seqs[0])
            else:
                self._gone.update(dict.fromkeys(self._evidence.open(evidence, message.author)))
        for judged, seq in self._evidence.judge():
            self._gone.update(dict.fromkeys(judged.names))
            if seq is None:
                self._disbelieve(judged)
            else:
                self._convict(judged, seq, outcome)
        return evidence is not None

    def _disbelieve(self, evidence: Evidence) -> None:
        for cid in self._evidence.drop(evidence):
            self._gone[cid] = self._refused[cid] = None

    def _convict(self, evidence: Evidence, seq: int, outcome: Outcome) -> None:
        """Note that ``evidence.author`` has signed two messages with one ``seq``; forget a banned author's messages.

        The highest are remembered, as the lowest are the first to be excused.
        """
        chain = self._chain_of(evidence.author)
        self._remember(chain)
        if seq not in chain.conflicts:
            chain.conflicts[seq] = evidence
            outcome.equivocations.append(evidence)
        if len(chain.conflicts) > self.limits.evidence:
            dropped = chain.conflicts.pop(min(chain.conflicts))
            self._gone.update(dict.fromkeys(dropped.names))
        if chain.is_banned:
            self._clear(chain)

    # -- what to say

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """Return each author that is not banned, with its entry in an announcement."""
        return ((author, self.entry_of(author)) for author in self.speakers())

    def speakers(self) -> Iterator[bytes]:
        """Return the authors of whom an entry can be announced."""
        return (author for author, chain in self._chains.items() if chain.newest is not None)

    def entry_of(self, author: bytes) -> Entry:
        """Return what is announced of one of the ``speakers``."""
        entry = self._entries.get(author)
        if entry is None:
            chain = self._chains[author]
            assert chain.newest is not None
            head = self._nodes[chain.newest]
            entry = self._entries[author] = Entry(author[:PREFIX_BYTES], head.seq, head.cid, chain.checkpoint)
        return entry

    def hints_for(self, author: bytes, now: int, is_near: Callable[[bytes], bool] = lambda _: True) -> tuple[Cid, ...]:
        """Return up to two fresh messages of others, newest of their authors, for the author's next one to name.

        Only of those that are near: who hears the author hears them, too.
        """
        cut = now - self.limits.horizon // 2
        ahead = (
            now + self.limits.skew // _DRAG
        )  # the own message, and those of others after it, must be nearer than skew
        spoken = ((other, chain.newest) for other, chain in self._chains.items() if chain.newest and other != author)
        fresh = [(other, newest) for other, newest in spoken if cut <= self._nodes[newest].time <= ahead]
        others = [newest for other, newest in fresh if is_near(other)]
        room = self.limits.parents - 1
        return tuple(others if len(others) <= room else self._rng.sample(others, room))

    # -- forget

    def forget(self, now: int, uptime: int) -> list[Cid]:
        """Forget what checkpoints replace a grace after they came, and authors silent for a horizon while others spoke.

        ``now`` in Unix milliseconds, ``uptime`` in the clock's that is never set. Returns the names of all blocks that
        may go since the last call: messages and frames.
        """
        cut = min(now, self._latest) - self.limits.horizon
        for author, chain in list(self._chains.items()):
            if chain.newest and self._nodes[chain.newest].time < cut and author != self.me:
                self._clear(chain)
            if chain.by_seq and max(chain.checkpoints, default=-1) == chain.floor > 0:  # all that can go has gone
                continue
            before = chain.floor
            chain.mature(uptime, self.limits.grace)
            if chain.floor > before:
                self._sink(chain)
            self._forget_if_empty(chain)
        candidates, self._gone = self._gone, {}
        return self._unneeded(candidates)

    def let_go(self) -> list[Cid]:
        """Return the names of blocks that were refused or displaced since the last call, and may go at once."""
        candidates, self._displaced = self._displaced, {}
        return self._unneeded(candidates)

    def _unneeded(self, candidates: Iterable[Cid]) -> list[Cid]:
        needed = self._proofs() if candidates else set()
        return [cid for cid in candidates if cid not in self._nodes and cid not in self._pending and cid not in needed]

    def _sink(self, chain: Chain) -> None:
        """Forget what is below the author's floor."""
        for seq in [seq for seq in chain.by_seq if seq < chain.floor]:
            self._drop(chain, seq)
        for message in self._pending.drop_below(chain.author, chain.floor):
            self._discard(message)

    def _forget_one(self, but: bytes) -> None:
        """Forget the author that has spoken longest ago; one whose key is new first, as keys cost nothing."""
        stay = {self.me, but, *self.favoured}
        may_go = (author for author in self._speakers if author not in stay)
        oldest = next(may_go, None)
        if oldest is None:
            return
        victim = oldest if not self.knows(oldest) else next(itertools.filterfalse(self.knows, may_go), oldest)
        self._chains[victim].conflicts.clear()
        self._expel(victim)

    def restrict(self, may_speak: Callable[[bytes], bool]) -> None:
        """Forget all that those have said, waiting, attached or kept, who may not speak any more."""
        waiting = {message.author for message in self._pending.messages()}
        for author in [author for author in {*self._chains, *waiting} if not may_speak(author)]:
            self._expel(author)

    def keep_to(self, is_heard: Callable[[bytes], bool]) -> None:
        """Forget what others have said who are not heard; what is kept for ever stays, and so do bans.

        Their blocks may be in use by another peer of this machine: none is named as one that may go.
        """
        gone, displaced = dict(self._gone), dict(self._displaced)
        waiting = {message.author for message in self._pending.messages()}
        for author in [each for each in {*self._chains, *waiting} if each != self.me and not is_heard(each)]:
            self._silence(author)
        self._gone, self._displaced = gone, displaced

    def _silence(self, author: bytes) -> None:
        for message in self._pending.drop_below(author, MAX_SEQ + 1):
            self._discard(message)
        chain = self._chains.get(author)
        if chain is not None:
            self._clear(chain)
            self._forget_if_empty(chain)

    def _expel(self, author: bytes) -> None:
        self._gone.update(dict.fromkeys(self._evidence.forget(author)))
        self._silence(author)

    def needed(self) -> set[Cid]:
        """Return the names of all blocks that live, waiting and kept messages need, and those that prove forks."""
        needed = {*self._nodes, *self._uses, *self._proofs()}
        for message in self._pending.messages():
            needed.update((message.cid, *message.blocks))
        return needed

    def _proofs(self) -> set[Cid]:
        """Return the messages that outlast their chains."""
        convicted = (evidence for chain in self._chains.values() for evidence in chain.conflicts.values())
        return {*self.kept(), *(cid for evidence in (*convicted, *self._evidence.trials()) for cid in evidence.names)}

    def _forget_if_empty(self, chain: Chain) -> None:
        author = chain.author
        if chain.by_seq or chain.conflicts or self._evidence.has_of(author):
            return
        alike = self._by_prefix[author[:PREFIX_BYTES]]
        alike.discard(author)
        if not alike:
            del self._by_prefix[author[:PREFIX_BYTES]]
        del self._chains[author], self._speakers[author]

    def _clear(self, chain: Chain) -> None:
        for seq in list(chain.by_seq):
            self._drop(chain, seq)

    def _drop(self, chain: Chain, seq: int) -> None:
        self._entries.pop(chain.author, None)
        node = self._nodes.pop(chain.drop(seq))
        self._gone[node.cid] = None
        self._release_blocks(node.blocks)

    def _release_blocks(self, blocks: Iterable[Cid]) -> None:
        for block in blocks:
            self._uses[block] -= 1
            if self._uses[block] <= 0:
                del self._uses[block]
                if block.codec == RAW:  # frames are; messages and the manifest are no author's to give away
                    self._gone[block] = None

    def _discard(self, message: Message) -> None:
        """Let the blocks of a message that was never attached go."""
        gone = [message.cid, *(block for block in message.blocks if not self._uses[block] and block.codec == RAW)]
        self._gone.update(dict.fromkeys(gone))
        if message.author != self.me:  # what is known of the own chain may be all that is left of it
            self._displaced.update(dict.fromkeys(gone))
