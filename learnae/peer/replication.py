"""Replication: from the heads that others announce to attached messages, by fetching what is missing."""

from __future__ import annotations

import random
from collections.abc import Callable

from learnae.error_log import ErrorLog
from learnae.errors import BlockMissingError, LearnaeError, PeerError, StaleError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import BlockStore, Clock, Gossip, Traffic
from learnae.protocol.bodies import Evidence
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.tangle import Outcome, Tangle

Opener = Callable[[bytes, Cid, Limits], Message]
_MESSAGES_PER_CALL = 2048  # keeps one tick short however long the history is


class Replicator:
    """Keeps a tangle equal to what the swarm knows. Makes no messages itself."""

    def __init__(
        self,
        swarm: Cid,
        limits: Limits,
        store: BlockStore,
        gossip: Gossip,
        clock: Clock,
        rng: random.Random,
        opener: Opener = open_message,
        errors: ErrorLog | None = None,
    ) -> None:
        self.swarm = swarm
        self.tangle = Tangle(limits, rng)
        self.problems = errors or ErrorLog()
        self.traffic = Traffic()
        self._limits = limits
        self._store = store
        self._gossip = gossip
        self._clock = clock
        self._open = opener
        self.oldest: int | None = None  # time of the oldest message that the last ``hear`` took in
        self._heads: dict[Cid, None] = {}  # announced, and not here yet

    def hear(self) -> Outcome:
        """Take in what others announced and fetch their history, as far as it is here now."""
        self.oldest = None
        self._note_heads()
        total, opened = Outcome(), set[Cid]()
        self._add(self.tangle.give_up_waiting(self._clock.now()), total)
        candidates = [*self.tangle.missing(), *self._heads]
        while candidates:
            before = len(opened)
            for cid in candidates:
                if not self.tangle.is_new(cid):
                    self._heads.pop(cid, None)
                elif cid not in opened and len(opened) < _MESSAGES_PER_CALL and self._fetch(cid, total):
                    opened.add(cid)
            candidates = self.tangle.missing() if before < len(opened) < _MESSAGES_PER_CALL else []
        self._store.want([cid for cid in [*self.tangle.missing(), *self._heads] if self.tangle.is_new(cid)])
        return total

    def announce(self) -> None:
        """Say which messages are the newest here; said again even if nothing changed, as some may be lost."""
        self._gossip.announce(self.tangle.heads())

    def keep(self, message: Message) -> None:
        """Store an own message that others may ask for, unless it is here. Raises NotWrittenError."""
        if not self._store.has(message.cid):
            self._store.put(DAG_CBOR, message.data)

    def add_own(self, message: Message, rooted: bool = False) -> Outcome:
        """Store and attach a message that this peer has signed."""
        self._store.put(DAG_CBOR, message.data)
        self.tangle.want(message.cid)  # it holds however old it is
        outcome = self.tangle.attach(message, self._clock.now(), rooted)
        self._ask_for_evidence(outcome)
        return outcome

    def _note_heads(self) -> None:
        for heads in self._gossip.heard():
            for cid in heads[: self._limits.heads]:
                if self.tangle.is_new(cid):
                    self._heads[cid] = None
        while len(self._heads) > self._limits.wanted:  # what is true will be announced again
            self._heads.pop(next(iter(self._heads)))

    def _fetch(self, cid: Cid, total: Outcome) -> bool:
        """Attach the message if its block is here; False if it is not."""
        if not self._store.has(cid):
            return False
        try:
            data = self._store.get(cid)
        except BlockMissingError:
            return False
        except PeerError as error:  # not what its name says: a good copy may come
            self.problems.count(error)
            return False
        self.traffic.bytes_in += len(data)
        self._heads.pop(cid, None)
        try:
            message = self._open(data, self.swarm, self._limits)
        except PeerError as error:
            self._drop(cid, error)
            return True
        self.oldest = message.time if self.oldest is None else min(self.oldest, message.time)
        self._attach(message, total)
        return True

    def _attach(self, message: Message, total: Outcome) -> None:
        try:
            self._add(self.tangle.attach(message, self._clock.now()), total)
        except StaleError as error:
            self.problems.count(error)
            self._store.delete([message.cid])  # whoever kept it forgets it, too
        except PeerError as error:
            self.problems.count(error)

    def _add(self, outcome: Outcome, total: Outcome) -> None:
        for refused in outcome.refused:
            self.problems.count(refused)
        self._ask_for_evidence(outcome)
        total.attached += outcome.attached
        total.equivocations += outcome.equivocations

    def _ask_for_evidence(self, outcome: Outcome) -> None:
        for message in outcome.attached:
            if isinstance(message.body, Evidence):
                self.tangle.want(message.body.first)
                self.tangle.want(message.body.second)

    def _drop(self, cid: Cid, error: LearnaeError) -> None:
        self.problems.count(error)
        self._heads.pop(cid, None)
        self.tangle.refuse(cid)
