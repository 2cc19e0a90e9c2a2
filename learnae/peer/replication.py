"""Replication: from the heads that others announce to attached messages, by fetching what is missing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from learnae.bounded_dict import BoundedDict
from learnae.error_log import ErrorLog
from learnae.errors import BlockMissingError, PeerError, StaleError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ports import BlockStore, Clock, Gossip
from learnae.protocol.bodies import Evidence
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message
from learnae.protocol.tangle import Outcome, Tangle

Opener = Callable[[bytes, Cid, Limits], Message]
_MESSAGES_PER_CALL = 2048  # keeps one tick short however long the history is

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Replicator:
    """Keeps a tangle equal to what the swarm knows. Makes no messages itself."""

    swarm: Cid
    tangle: Tangle
    store: BlockStore
    gossip: Gossip
    clock: Clock
    errors: ErrorLog
    opener: Opener = open_message
    messages_per_call: int = _MESSAGES_PER_CALL

    def __post_init__(self) -> None:
        # announced, and not here yet; what is true and was dropped will be announced again
        self._heads = BoundedDict[Cid, None](self.tangle.limits.wanted)

    def hear(self) -> Outcome:
        """Take in what others announced and fetch their history, as far as it is here now."""
        announced = (cid for heads in self.gossip.heard() for cid in heads[: self.tangle.limits.heads])
        self._heads.update(dict.fromkeys(filter(self.tangle.is_new, announced)))
        total, opened = Outcome(), set[Cid]()
        self._add(self.tangle.give_up_waiting(self.clock.now()), total)
        candidates = [*self.tangle.missing(), *self._heads]
        while candidates:
            before = len(opened)
            for cid in candidates:
                if not self.tangle.is_new(cid):
                    self._heads.pop(cid, None)
                elif cid not in opened and len(opened) < self.messages_per_call and self._fetch(cid, total):
                    opened.add(cid)
            candidates = self.tangle.missing() if before < len(opened) < self.messages_per_call else []
        self.store.want([cid for cid in [*self.tangle.missing(), *self._heads] if self.tangle.is_new(cid)])
        return total

    def announce(self) -> None:
        """Announce the newest messages here; also if nothing changed, as an announcement may be lost."""
        self.gossip.announce(self.tangle.heads())

    def keep(self, message: Message) -> None:
        """Store an own message that others may ask for, unless it is here. Raises NotWrittenError."""
        if not self.store.has(message.cid):
            self.store.put(DAG_CBOR, message.data)

    def add_own(self, message: Message, rooted: bool = False) -> Outcome:
        """Store and attach a message that this peer has signed."""
        self.store.put(DAG_CBOR, message.data)
        self.tangle.want(message.cid)  # it holds however old it is
        outcome = self.tangle.attach(message, self.clock.now(), rooted)
        self._ask_for_evidence(outcome)
        return outcome

    def _fetch(self, cid: Cid, total: Outcome) -> bool:
        """Attach the message if its block is here; return False if it is not."""
        if not self.store.has(cid):
            return False
        try:
            data = self.store.get(cid)
        except BlockMissingError:
            return False
        except PeerError as error:  # not what its name says: a good copy may come
            self.errors.count(error)
            return False
        _log.debug("heard %s: %d bytes", cid.short, len(data))
        self._heads.pop(cid, None)
        try:
            message = self.opener(data, self.swarm, self.tangle.limits)
        except PeerError as error:
            self.errors.count(error)
            self.tangle.refuse(cid)
            return True
        total.oldest = message.time if total.oldest is None else min(total.oldest, message.time)
        self._attach(message, total)
        return True

    def _attach(self, message: Message, total: Outcome) -> None:
        try:
            self._add(self.tangle.attach(message, self.clock.now()), total)
        except StaleError as error:
            self.errors.count(error)
            self.store.delete([message.cid])  # the peer that kept it forgets it, too
        except PeerError as error:
            self.errors.count(error)

    def _add(self, outcome: Outcome, total: Outcome) -> None:
        for refused in outcome.refused:
            self.errors.count(refused)
        self._ask_for_evidence(outcome)
        total.attached += outcome.attached
        total.equivocations += outcome.equivocations

    def _ask_for_evidence(self, outcome: Outcome) -> None:
        for message in outcome.attached:
            if isinstance(message.body, Evidence):
                self.tangle.want(message.body.first)
                self.tangle.want(message.body.second)
