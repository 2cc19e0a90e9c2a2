"""The own chain of messages: composed and shown in order, so that no seq is ever used for two of them."""

from collections.abc import Mapping
from typing import Any

from learnae.error_log import ErrorLog
from learnae.errors import BlockMissingError, FutureError, PeerError, StateError
from learnae.ipld.cid import Cid
from learnae.peer.replication import Replicator
from learnae.ports import BlockStore, Clock
from learnae.protocol.identity import Identity
from learnae.protocol.messages import Message, compose, open_message
from learnae.protocol.tangle import Outcome

_ROOT_TIMEOUT_TICKS = 50  # until a peer goes on without the past of its own last message


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
        self._ticks_left = _ROOT_TIMEOUT_TICKS
        self._is_shown = True  # ``last``, or the disk has taken it as state and not yet as a block

    def compose(self, body: Mapping[str, Any], blocks: tuple[Cid, ...] = ()) -> Message:
        """Sign the next message. It must be saved before it is shown."""
        now = self._clock.now()
        parents = self._tangle.parents_for(self.author, now)
        seq, time = self.last.seq + 1 if self.last else 0, self._tangle.time_for(self.author, parents, now)
        return compose(self._identity, self._replication.swarm, seq, parents, time, body, blocks)

    def show(self, message: Message) -> Outcome:
        """Store and attach a saved message: from now on others may see it. Raises NotWrittenError."""
        if self.last is not None:  # other peers of this machine delete the last message of one silent for a horizon
            self._replication.keep(self.last)
        self.last, self._is_shown = message, False
        outcome = self._replication.add_own(message)
        self._is_shown = True
        return outcome

    def may_speak(self) -> bool:
        """Return True if the next message would be dated near enough to this machine's clock."""
        now = self._clock.now()
        parents = self._tangle.parents_for(self.author, now)
        return self._tangle.time_for(self.author, parents, now) <= now + self._tangle.limits.skew // 2

    def resume(self, data: bytes) -> Outcome:
        """Go on after the saved message ``data``; shows it again, as the crash may have come first."""
        self.last = open_message(data, self._replication.swarm, self._tangle.limits)
        if self.last.author != self.author:
            raise StateError("the saved state belongs to another key", "move it away, or bring its key back")
        try:
            return self._replication.add_own(self.last)
        except FutureError as error:  # the clock was set back: hear first, then go on where it was
            self._errors.count(error)
            return Outcome()

    def catch_up(self, store: BlockStore) -> bool:
        """Go on after the newest message of this key that is known: the state may be older than it, or lost.

        Return False while it cannot be read, or waits for its past, for some ticks: its seq would be used again.
        """
        waiting, newest = self._tangle.waiting_of(self.author), self._tangle.newest_of(self.author)
        node = self._tangle.node(newest) if newest else None
        said, attached = self.last.seq if self.last else -1, node.seq if node else -1
        if waiting is not None and waiting.seq > max(said, attached):
            self._ticks_left -= 1
            if self._ticks_left > 0:
                return False
            self.last = waiting  # its past is lost, or what else it stands on
        elif newest is not None and attached > said:
            try:
                self.last = open_message(store.get(newest), self._replication.swarm, self._tangle.limits)
            except (BlockMissingError, PeerError):  # deleted since, or damaged: a good copy may come
                store.want([newest])
                return False
        return True

    def is_rooted(self) -> bool:
        """Return True if the own last message is attached; a peer must not speak before it is."""
        return self.last is None or self.last.cid in self._tangle

    def wait_for_root(self) -> Outcome:
        """Wait for the past of the own last message; when it is lost everywhere, go on without it."""
        assert self.last is not None
        if not self._is_shown:
            return self.show(self.last)
        self._ticks_left -= 1
        return Outcome() if self._ticks_left > 0 else self._replication.add_own(self.last, rooted=True)
