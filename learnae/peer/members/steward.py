"""The steward: what a member does for the others at its ticks: it welcomes joiners, and mints key epochs."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial

from learnae.basics.error_log import ErrorLog
from learnae.errors import PeerError, SwarmSizeError
from learnae.ipld.cid import DAG_CBOR
from learnae.membership.gate import KEYLESS, MEMBER, REMOVED, WAITING, Gate
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.records import Body, Join, Record, compose_record
from learnae.ports import BlockStore, Clock
from learnae.protocol.identity import Identity, peer_name

_log = logging.getLogger(__name__)

_REKEY = b"rekey"  # among names of what is to be done; the others are digests
_TURN_MS = 5_000  # in which others hear that the member whose turn it is has acted, before the next one does
_MOST_TURNS = 6


class Steward:
    """Acts for the member ``identity`` of a swarm that is not open. Members take turns: one record is enough.

    ``random`` returns so many unpredictable bytes.
    """

    def __init__(
        self,
        identity: Identity,
        gate: Gate,
        ledger: Ledger,
        store: BlockStore,
        clock: Clock,
        errors: ErrorLog,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.keyring = Keyring(identity, ledger, random)
        self._identity = identity
        self._gate = gate
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._errors = errors
        self._since: dict[bytes, int] = {}  # what is to be done, and since when (uptime)

    @property
    def standing(self) -> str:
        """Return whether this peer may speak, and why it may not."""
        if self._gate.admits(self._identity.author):
            return MEMBER if self.keyring.current() is not None else KEYLESS
        return REMOVED if self._identity.author in self._ledger.roster().removed else WAITING

    def act(self) -> int:
        """Do what is this member's turn; return how many records it has published. Raises NotWrittenError."""
        if not self._gate.admits(self._identity.author):
            return 0
        due, now, done = list(self._due()), self._clock.uptime(), 0
        self._since = {task: self._since.get(task, now) for task, _, _ in due}
        for task, turn, make in due:
            if now - self._since[task] >= min(turn, _MOST_TURNS) * _TURN_MS:
                done += self._try(make)
        return done

    def publish(self, body: Body) -> Record:
        """Sign, store and take in a record of this peer; raises NotWrittenError."""
        record = compose_record(
            self._identity, self._ledger.swarm, self._ledger.heads(self._identity.author), self._clock.now(), body
        )
        self._store.put(DAG_CBOR, record.data)
        self._gate.take(record.data)
        _log.info("signed a record of kind %s as %s", body.to_fields()["kind"], peer_name(self._identity.author)[:8])
        return record

    def _due(self) -> Iterator[tuple[bytes, int, Callable[[], Body]]]:
        """Yield what is to be done: its name, how many members should do it before this one, and how."""
        roster, now = self._ledger.roster(), self._clock.now()
        if self.keyring.epoch() is None:
            yield _REKEY, self.keyring.turn(), self.keyring.mint
        if self.keyring.current() is None:
            return
        for record in filter(None, map(self._ledger.get, roster.pending)):
            if isinstance(record.body, Join) and self._ledger.history.would_count(record, now):
                invite = roster.invites.get(record.body.via) if record.body.via else None
                turn = self._turn(record.cid.digest, invite.author if invite else None)
                yield record.cid.digest, turn, partial(self.keyring.welcome_for, record.cid, now)

    def _turn(self, task: bytes, first: bytes | None) -> int:
        """Return how many others are to act before this member: an order that differs from task to task."""
        me = self._identity.author
        if me == first:
            return 0
        place = hashlib.sha256(task + me).digest()
        before = (key for key in self._ledger.roster().members if hashlib.sha256(task + key).digest() < place)
        return sum(1 for key in before if key != first) + (first is not None)

    def _try(self, make: Callable[[], Body]) -> int:
        try:
            self.publish(make())
        except (PeerError, SwarmSizeError) as error:  # a joiner with a bad key, or more members than share a secret
            self._errors.count(error)
            return 0
        return 1
