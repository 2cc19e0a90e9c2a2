"""The steward: what a member does for the others at its ticks: it welcomes joiners, and mints key epochs."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import partial

from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.gate import Gate
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.records import Body, Join, compose_record
from learnae.ports import BlockStore, Clock
from learnae.protocol.identity import Identity, peer_name

MEMBER, WAITING, REMOVED = "member", "waiting for a welcome", "removed"

_log = logging.getLogger(__name__)

_TURN_MS = 2_000  # in which the member whose turn it is acts, before the next one does in its place
_MOST_TURNS = 8


class Steward:
    """Acts for the member ``identity`` of a swarm that is not open. Members take turns: one record is enough."""

    def __init__(
        self, identity: Identity, swarm: Cid, gate: Gate, ledger: Ledger, store: BlockStore, clock: Clock
    ) -> None:
        self.keyring = Keyring(identity, ledger)
        self._identity = identity
        self._swarm = swarm
        self._gate = gate
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._seen: dict[bytes, int] = {}  # what is to be done, and since when (uptime)

    @property
    def standing(self) -> str:
        """Return whether this peer may speak, and why it may not."""
        if self._gate.admits(self._identity.author):
            return MEMBER
        return REMOVED if self._identity.author in self._ledger.roster().removed else WAITING

    def act(self) -> int:
        """Do what is this member's turn; return how many records it has published. Raises NotWrittenError."""
        if self.standing != MEMBER:
            return 0
        due = dict(self._due())
        self._seen = {task: since for task, since in self._seen.items() if task in due}
        now, done = self._clock.uptime(), 0
        for task, (first, make) in due.items():
            since = self._seen.setdefault(task, now)
            if now - since >= self._turn(task, first) * _TURN_MS:
                self._publish(make())
                done += 1
        return done

    def _due(self) -> Iterator[tuple[bytes, tuple[bytes | None, Callable[[], Body]]]]:
        """Yield what is to be done: its name, whose turn is the first, and how the record is made."""
        roster = self._ledger.roster()
        for cid in roster.pending:
            record = self._ledger.get(cid)
            if record is None or not isinstance(record.body, Join):
                continue
            invite = roster.invites.get(record.body.via) if record.body.via else None
            if invite is None or self._clock.now() <= invite.invite.expires:
                yield cid.to_bytes(), (invite.author if invite else None, partial(self.keyring.welcome_for, record))
        if self.keyring.current(roster.removed) is None:
            yield b"".join(sorted(roster.removed)), (None, self.keyring.mint)

    def _turn(self, task: bytes, first: bytes | None) -> int:
        """Return how many others are to act before this member: an order that differs from task to task."""
        me = self._identity.author
        if me == first:
            return 0
        place = hashlib.sha256(task + me).digest()
        before = (key for key in self._ledger.roster().members if hashlib.sha256(task + key).digest() < place)
        return min(_MOST_TURNS, sum(1 for key in before if key != first) + (first is not None))

    def _publish(self, body: Body) -> None:
        record = compose_record(self._identity, self._swarm, self._ledger.heads(), self._clock.now(), body)
        self._store.put(DAG_CBOR, record.data)
        self._gate.take(record.data)
        _log.info("published a %s as %s", body.to_fields()["kind"], peer_name(self._identity.author)[:8])
