"""The own chain of messages: composed and shown in order, so that no seq is ever used for two of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, FutureError, PeerError, SealError, StateError
from learnae.ipld import dagcbor
from learnae.ipld.cid import RAW, Cid
from learnae.peer.replication import Replicator
from learnae.ports import BlockStore, Clock
from learnae.protocol.identity import Identity
from learnae.protocol.messages import Message, compose, open_message
from learnae.protocol.tangle import Outcome

_WAIT_MS = 50_000  # for what comes before a newer own message, until a peer goes on without it


class OwnChain:
    """Signs in order. ``last`` is the last message signed; None before the first."""

    def __init__(self, identity: Identity, replication: Replicator, clock: Clock, errors: ErrorLog) -> None:
        self.author = identity.author
        self.last: Message | None = None
        self._identity = identity
        self._replication = replication
        self._tangle = replication.tangle
        self._clock = clock
        self._errors = errors
        self._deadline: int | None = None  # uptime; while a newer own message waits
        self._is_shown = True  # ``last``, or the disk has taken it as state and not yet as a block
        self._without_frame: Cid | None = None  # the message whose frame was lost

    def put_frame(self, blocks: Sequence[bytes], *, checkpoint: bool) -> tuple[Cid, ...]:
        """Store the blocks of the frame that the next message announces; raises NotWrittenError."""
        seals, store, seq = self._replication.seals, self._replication.store, self._next_seq(checkpoint)
        return tuple(store.put(RAW, seals.block(self.author, seq, i, block)) for i, block in enumerate(blocks))

    def compose(self, body: Mapping[str, Any], blocks: tuple[Cid, ...] = (), *, checkpoint: bool) -> Message:
        """Sign the next message. It must be saved before it is shown."""
        now, seq = self._clock.now(), self._next_seq(checkpoint)
        hints = self._tangle.hints_for(self.author, now, self._replication.interest.is_near)
        parents = (self.last.cid, *hints) if self.last else hints
        forked = seq if checkpoint and self.has_forked else self._tangle.forked(self.author)
        said = self._replication.seals.body(self.author, seq, body)
        message = compose(
            self._identity, self._replication.swarm, seq, parents, self._time(hints, now), said, blocks,
            checkpoint=checkpoint, forked=forked,
        )  # fmt: skip
        return message.opened(body, self._tangle.limits)

    def _next_seq(self, checkpoint: bool) -> int:
        seq = self.last.seq + 1 if self.last else 0
        if checkpoint and self.has_forked:  # after both branches, or it would fork anew
            seq = max(seq, self._replication.own_signed + 1)
        return seq

    def show(self, message: Message) -> Outcome:
        """Store and attach a saved message: from now on others may see it. Raises NotWrittenError."""
        self.last, self._is_shown = message, False
        outcome = self._replication.add_own(message)
        self._is_shown = True
        return outcome

    def show_again(self) -> Outcome:
        """Show the last message if the disk has taken it as state only. Raises NotWrittenError."""
        return Outcome() if self._is_shown or self.last is None else self.show(self.last)

    def may_speak(self) -> bool:
        """Return True if the next message would be dated near enough to this machine's clock, and can be sealed."""
        now = self._clock.now()
        return self._replication.seals.may_speak and self._time((), now) <= now + self._tangle.limits.skew // 2

    @property
    def has_forked(self) -> bool:
        """Return True if this key has signed two messages with one seq, and must declare it in a checkpoint."""
        return self._tangle.is_banned(self.author)

    @property
    def may_declare(self) -> bool:
        """Return True if others would excuse it."""
        return self._tangle.may_declare(self.author, self._clock.now())

    @property
    def needs_checkpoint(self) -> bool:
        """Return True if only a checkpoint is of use to others: what comes before it is lost or disowned."""
        return self.last is None or self.last.cid not in self._tangle or self.last.cid == self._without_frame

    def resume(self, data: bytes, body: bytes) -> Outcome:
        """Go on after the saved message ``data``; shows it again, as the crash may have come first.

        If it is sealed, ``body`` is what it says; empty if that was not known. Its frame may be lost: a power cut takes
        the last blocks, and nothing else has them.
        """
        self.last = self.read(data, body)
        if self.last.author != self.author:
            raise StateError("the saved state belongs to another key", "move it away, or bring its key back")
        if not all(map(self._replication.store.has, self.last.blocks)):
            self._without_frame = self.last.cid
        try:
            return self._replication.add_own(self.last)
        except FutureError as error:  # the clock was set back: hear first, then go on where it was
            self._errors.count(error)
            return Outcome()

    def read(self, data: bytes, body: bytes = b"") -> Message:
        """Open an own message; its body stays sealed if neither that nor its key epoch is known. Raises PeerError."""
        message = open_message(data, self._replication.swarm, self._tangle.limits)
        if body:
            return message.opened(dagcbor.decode(body), self._tangle.limits)
        try:
            return self._replication.seals.opened(message, self._tangle.limits)
        except SealError as error:
            self._errors.count(error)
            return message

    def catch_up(self, store: BlockStore) -> bool:
        """Go on after the newest message of this key that is known: the state may be older than it, or lost.

        Return False while others may still prove that there is a newer one, or it is here and what comes before it is
        not, for some time: its seq would be used again.
        """
        ahead = filter(None, (self._tangle.waiting_of(self.author), self._replication.own_unread))
        waiting = max(ahead, key=lambda message: message.seq, default=None)
        newest = self._tangle.newest_of(self.author)
        node = self._tangle.node(newest) if newest else None
        said, attached = self.last.seq if self.last else -1, node.seq if node else -1
        known = max(said, attached, self._replication.own_signed if self.has_forked else -1)
        if self._replication.own_claimed > known:
            return False
        if waiting is not None and waiting.seq > known:
            uptime = self._clock.uptime()
            self._deadline = uptime + _WAIT_MS if self._deadline is None else self._deadline
            if uptime < self._deadline:
                return False
            self.last = waiting  # what comes before it is lost
            return True
        if newest is not None and attached > said:
            try:
                self.last = self.read(store.get(newest))
            except (BlockMissingError, PeerError):  # deleted since, or damaged: a good copy may come
                store.want([newest])
                return False
        return True

    def _time(self, hints: tuple[Cid, ...], now: int) -> int:
        """Return the time of the next message: the clock's, but after what it names (hybrid logical clock)."""
        nodes = filter(None, map(self._tangle.node, hints))
        after = [self.last.time + self._tangle.limits.interval] if self.last else []
        return max([now, *after, *(node.time + 1 for node in nodes)])
