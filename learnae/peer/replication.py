"""Replication: from what others announce to attached messages and records, by fetching what is missing."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.errors import (
    BannedError,
    BlockMissingError,
    FutureError,
    NotWrittenError,
    PeerError,
    StaleError,
    StrangerError,
    UnknownEpochError,
)
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.gate import Gate
from learnae.membership.records import MAX_REKEY_BYTES
from learnae.membership.sealing import Seals
from learnae.ports import BlockStore, Clock, Gossip
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Sealed
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, Message, open_message
from learnae.protocol.tangle import Outcome, Tangle

T = TypeVar("T")
Opener = Callable[[bytes, Cid, Limits], Message]
_MESSAGES_PER_CALL = 2048  # keeps one tick short however much was missed
_ROTATING = 16  # places of an announcement that are left to authors who are neither this peer nor followed
_RECORDS = 12  # places of an announcement that are left to records, where there is evidence, too
_STRANGERS = 1024  # entries of authors who may be members soon, and messages of theirs
_COMING, _COMING_MS = 512, 60_000  # messages that were asked for, and for how long they may come

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Replicator:
    """Keeps a tangle, and the ledger of ``gate``, equal to what the swarm knows.

    Makes no messages itself; an archive's deletes none.
    """

    swarm: Cid
    tangle: Tangle
    store: BlockStore
    gossip: Gossip
    clock: Clock
    errors: ErrorLog
    opener: Opener = open_message
    messages_per_call: int = _MESSAGES_PER_CALL
    is_archive: bool = False
    gate: Gate = field(default_factory=Gate)
    seals: Seals = Seals()

    def __post_init__(self) -> None:
        limit = self.tangle.limits.wanted
        self._entries = BoundedDict[tuple[str, bytes], Entry](limit)  # by announcer and author; not here yet
        self._kept = BoundedDict[Cid, str](limit)  # by whom it was announced
        self._asked = BoundedDict[Cid, int](_COMING)  # since when (uptime); what has come is taken in, needed or not
        self._unknown = BoundedDict[tuple[str, bytes], Entry](_STRANGERS)  # of authors who are not members yet
        self._refused = BoundedDict[Cid, None](_STRANGERS)  # messages of such
        self._version = self.gate.version
        self.records = 0  # taken in so far
        self._turn = 0  # of the authors that take turns in announcements
        self._first = BoundedDict[bytes, int](limit)  # by author: the seq that was announced first
        self.own_seq = -1  # the highest that any other peer claims to know of this one
        self.own_signed = -1  # the highest of its messages that were verified here, attached or not
        self.own_unread: Message | None = None  # the newest of them whose body does not open
        self._unread = BoundedDict[Cid, bytes](limit)  # messages, and the epochs that they wait for

    def hear(self) -> Outcome:
        """Take in what others announced and fetch it, as far as it is here now."""
        self._note_announcements()
        self._keep_to_members()
        total, opened, wanted = Outcome(), set[Cid](), self._wanted()
        candidates = [*filter(self._is_new, self._asked), *wanted]
        while candidates:
            before = len(opened)
            for cid in candidates:
                self._walk_back(cid, opened, total)
            if before < len(opened):
                self._keep_to_members()
                wanted = self._wanted()
            candidates = list(wanted) if before < len(opened) < self.messages_per_call else []
        self._ask(wanted)
        return total

    def _walk_back(self, cid: Cid | None, opened: set[Cid], total: Outcome) -> None:
        """Take in a message and what it continues, as far as it is here.

        One chain after another: if those of many authors waited at once, none might have room enough to reach its
        checkpoint.
        """
        while cid is not None and cid not in opened and len(opened) < self.messages_per_call:
            if not self._fetch(cid, total):
                break
            opened.add(cid)
            cid = self.tangle.awaited_by(cid)

    def begin(self) -> None:
        """Count from now on who is announced, for ``progress``."""
        self._first.clear()

    def progress(self) -> tuple[int, int]:
        """Return how many authors are attached as far as they were announced first, and how many were announced."""
        return sum(self.tangle.reaches(author, seq) for author, seq in self._first.items()), len(self._first)

    def announce(self, followed: Iterable[bytes] = ()) -> None:
        """Announce the newest messages here; also if nothing changed, as an announcement may be lost.

        This peer and those ``followed`` come first, the others take turns.
        """
        limits, entries = self.tangle.limits, dict(self.tangle.entries())
        first = [author for author in dict.fromkeys((self.tangle.me, *followed)) if author in entries]
        if len(entries) > limits.entries:
            first = first[: limits.entries - _ROTATING]
        others = [author for author in entries if author not in set(first)]
        chosen = [*first, *_in_turn(others, self._turn, limits.entries - len(first))]
        announced = Announcement(tuple(entries[author] for author in chosen), self._kept_in_turn())
        self._turn += 1
        self.gossip.announce(announced)

    def _kept_in_turn(self) -> tuple[Cid, ...]:
        """Return records, then evidence; of many, others each time."""
        room, evidence, records = self.tangle.limits.kept, list(self.tangle.kept()), self.gate.announced(self.tangle.me)
        first = list(_in_turn(records, self._turn, _RECORDS if evidence else room))
        return (*first, *_in_turn(evidence, self._turn, room - len(first)))

    def _take_record(self, cid: Cid, data: bytes) -> None:
        try:
            self.gate.take(data)
        except PeerError as error:  # it may be taken when others stand on it, or when members have changed
            self.errors.count(error)
            self._refused[cid] = None
            return
        self.records += 1
        with suppress(NotWrittenError):  # it is here: this lets other machines have what another process has put
            self.store.put(DAG_CBOR, data)

    def _keep_to_members(self) -> None:
        """Where members have changed, forget those who are none any more, and hear those who are now."""
        if self._version == self.gate.version:
            return
        self._version = self.gate.version
        self.tangle.restrict(self.gate.admits)
        self._refused.clear()
        for key in [key for key in self._unknown if self.gate.admits_prefix(key[1])]:
            self._note_entry(key[0], self._unknown.pop(key))

    def add_own(self, message: Message) -> Outcome:
        """Store a message that this peer has signed, and attach it, unless it cannot read it any more.

        Raises NotWrittenError or PeerError.
        """
        self.store.put(DAG_CBOR, message.data)
        return Outcome() if isinstance(message.body, Sealed) else self.tangle.attach(message, self.clock.now())

    def _note_announcements(self) -> None:
        limits = self.tangle.limits
        for heard in self.gossip.heard():
            for entry in heard.announcement.entries[: limits.entries]:
                self._note_entry(heard.announcer, entry)
            for cid in heard.announcement.kept[: limits.kept]:
                if self._lacks_kept(cid):
                    self._kept[cid] = heard.announcer

    def _note_entry(self, announcer: str, entry: Entry) -> None:
        key = announcer, entry.author
        if not self.gate.admits_prefix(entry.author):
            self._unknown[key] = entry
            return
        if entry.author == self.tangle.me[:PREFIX_BYTES]:
            self.own_seq = max(self.own_seq, entry.seq)
        self._first.setdefault(entry.author, entry.seq)
        self._entries.pop(key, None)
        if self.tangle.wanted_of(entry):
            self._entries[key] = entry

    def _is_new(self, cid: Cid) -> bool:
        return self.tangle.is_new(cid) and self.gate.is_new(cid) and cid not in self._refused

    def _lacks_kept(self, cid: Cid) -> bool:
        return self.tangle.lacks_kept(cid) and self._is_new(cid)

    def _ask(self, wanted: Mapping[Cid, str]) -> None:
        """Ask for messages and records, each origin for its own: none is larger than ``most``."""
        now, most = self.clock.uptime(), max(self.tangle.limits.message_bytes, MAX_REKEY_BYTES)
        origins = dict[str, list[Cid]]()
        for cid, origin in wanted.items():
            origins.setdefault(origin, []).append(cid)
        for origin, cids in origins.items():
            self.store.want(cids, most, origin)
        for cid in wanted:
            self._asked.setdefault(cid, now)
        for cid in [cid for cid, since in self._asked.items() if now - since > _COMING_MS or not self._is_new(cid)]:
            del self._asked[cid]

    def _wanted(self) -> dict[Cid, str]:
        """Return what is announced or referred to and not attached, by who has named it; forget what is."""
        names: dict[Cid, str] = {}
        for key, entry in list(self._entries.items()):
            wanted = self.tangle.wanted_of(entry)
            names.update(dict.fromkeys(wanted, key[0]))
            if not wanted:
                del self._entries[key]
        for cid in [cid for cid in self._kept if not self._lacks_kept(cid)]:
            del self._kept[cid]
        names = {**self._kept, **names}  # records first: they say who may speak
        for cid in self.tangle.missing():
            names.setdefault(cid, self.tangle.needed_by(cid))
        due = {cid: by for cid, by in names.items() if cid not in self._refused and not self._is_too_early(cid)}
        return {**dict.fromkeys(self.gate.missing(), ""), **due}

    def _fetch(self, cid: Cid, total: Outcome) -> bool:
        """Take in the message if its block is here; return False if it is not."""
        if self._is_too_early(cid) or not self.store.has(cid):
            return False
        try:
            data = self.store.get(cid)
        except BlockMissingError:
            return False
        except PeerError as error:  # not what its name says: a good copy may come
            self.errors.count(error)
            return False
        _log.debug("heard %s: %d bytes", cid, len(data))
        if self.gate.takes(data):
            self._take_record(cid, data)
        else:
            self._take_message(cid, data, total)
        return True

    def _take_message(self, cid: Cid, data: bytes, total: Outcome) -> None:
        try:
            self.gate.check(data)
            self._check_age(cid, data)
            message = self.opener(data, self.swarm, self.tangle.limits)
            self.seals.check_form(message)
        except StaleError as error:
            self._forget(cid, error)
        except StrangerError as error:  # it may be a member soon: not refused for ever
            self.errors.count(error)
            self._refused[cid] = None
        except PeerError as error:
            self.errors.count(error)
            self.tangle.refuse(cid)
            self._discard(cid)
        else:
            self._attach(message, total)

    def _check_age(self, cid: Cid, data: bytes) -> None:
        """Raise StaleError for a message that a checkpoint has replaced, before it is decoded or verified."""
        envelope = Envelope.read(data[: self.tangle.limits.message_bytes])
        is_asked_for = cid in self._kept or self.tangle.is_witness(cid)
        if not is_asked_for and self.tangle.is_forgotten(envelope.author, envelope.seq):
            raise StaleError(f"message {cid.short} is older than its author's checkpoint")

    def _forget(self, cid: Cid, error: StaleError) -> None:
        """Count a message that is too old, and delete it: the peer that kept it forgets it, too."""
        self.errors.count(error)
        self.tangle.refuse(cid)
        if not self.is_archive:
            self._discard(cid)

    def _discard(self, cid: Cid) -> None:
        """Delete what is no message at once; it is booked on who has named it."""
        self.store.delete([cid])

    def _opened(self, message: Message) -> Message | None:
        """Return the message with what its body says; None if that cannot be read, for now or for ever."""
        try:
            return self.seals.opened(message, self.tangle.limits)
        except UnknownEpochError as error:
            if message.cid not in self._unread:
                self.errors.count(error)
            self._unread[message.cid] = error.epoch
        except PeerError as error:
            self.errors.count(error)
            self.tangle.reject(message.cid)
        if message.author == self.tangle.me and (self.own_unread is None or message.seq > self.own_unread.seq):
            self.own_unread = message
        return None

    def unread(self) -> int:
        """Count the messages here that wait for the secret of their key epoch."""
        return sum(not self.seals.knows(epoch) for epoch in self._unread.values())

    def _is_too_early(self, cid: Cid) -> bool:
        """Return True for a message under an epoch that is still unknown, unless it is to testify."""
        epoch = self._unread.get(cid)
        if epoch is None or self.tangle.is_witness(cid):
            return False
        if self.seals.knows(epoch):
            del self._unread[cid]
            return False
        return True

    def _drop_entries(self, cid: Cid) -> None:
        for key in [key for key, entry in self._entries.items() if cid in (entry.head, entry.checkpoint)]:
            del self._entries[key]

    def _attach(self, message: Message, total: Outcome) -> None:
        if message.author == self.tangle.me:
            self.own_signed = max(self.own_signed, message.seq)
        try:
            opened, now = self._opened(message), self.clock.now()
            outcome = self.tangle.attach(opened, now) if opened else self.tangle.testify(message, now)
        except StaleError as error:
            self._forget(message.cid, error)
            return
        except PeerError as error:
            self.errors.count(error)
            if isinstance(error, BannedError):
                self.tangle.refuse(message.cid)
            elif isinstance(error, FutureError):  # it is announced again
                self._drop_entries(message.cid)
            return
        for refused in outcome.refused:
            self.errors.count(refused)
        total.attached += outcome.attached
        total.equivocations += outcome.equivocations


def _in_turn(items: list[T], turn: int, room: int) -> Iterable[T]:
    """Return at most ``room`` of ``items``, others with each ``turn``."""
    if len(items) <= room:
        return items
    start = turn * room % len(items)
    return islice([*items[start:], *items[:start]], room)
