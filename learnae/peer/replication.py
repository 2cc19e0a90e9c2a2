"""Replication: from what others announce to attached messages and records, by fetching what is missing."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar

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
from learnae.protocol.hearsay import GIVEN_UP_MS, Bringer, Claim, Hearsay, author_of_bringer, name_of
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, Message, open_message
from learnae.protocol.neighbourhood.interest import EVERYBODY, Interest
from learnae.protocol.tangle import Outcome, Tangle

T = TypeVar("T")
Opener = Callable[[bytes, Cid, Limits], Message]
_MESSAGES_PER_CALL = 2048  # keeps one tick short however much was missed
_ROTATING = 16  # places of an announcement that are left to authors who are neither this peer nor followed
_RECORDS = 12  # places of an announcement that are left to records, where there is evidence, too
_STRANGERS = 1024  # entries of authors who may be members soon, and messages of theirs
_LOOKS = 128  # at names that are not here, in one call
_WALKS = 64, 8  # messages of a stranger's chain until others have their turn; where strangers bring much
_AT_ONCE = 2048  # messages that known bringers may bring; strangers half of it
_PROVEN_MS = 10_000  # in which who names a newer own message can prove it: one that is there comes sooner
_RATE = {True: 100.0, False: 40.0}  # of known ones and of strangers, a second: some percent of a board's core

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Replicator:
    """Keeps a tangle, and the ledger of ``gate``, equal to what the swarm knows of the authors in its ``interest``.

    Records, evidence and what proves it are taken in whoever they are of. Makes no messages itself; an archive's
    deletes none.
    """

    swarm: Cid
    tangle: Tangle
    store: BlockStore
    gossip: Gossip
    clock: Clock
    errors: ErrorLog
    opener: Opener = open_message
    messages_per_call: int = _MESSAGES_PER_CALL
    at_once: float = _AT_ONCE
    looks: int = _LOOKS
    is_archive: bool = False
    gate: Gate = field(default_factory=Gate)
    seals: Seals = Seals()

    def __post_init__(self) -> None:
        limit = self.tangle.limits.wanted
        self._hearsay = Hearsay(limit)
        self._taken = BoundedDict[Cid, None](limit)  # it may be forgotten since, and come again
        self._kept = Hearsay(limit)  # what others keep for ever
        now = self.clock.uptime()
        self._room = {
            known: _Room(self.at_once if known else self.at_once / 2, rate, now) for known, rate in _RATE.items()
        }
        self._unknown = BoundedDict[tuple[str, bytes], Entry](_STRANGERS)  # of authors who are not members yet
        self._refused = BoundedDict[Cid, None](_STRANGERS)  # messages of such
        self._version = self.gate.version
        self.records = 0  # taken in so far
        self.most_named = 0  # authors in one announcement: of more than fit, it names some
        self._turn = 0  # of the authors that take turns in announcements
        self._first = BoundedDict[bytes, int](limit)  # by author: the seq that was announced first
        self._claims = BoundedDict[str, tuple[int, int]](_STRANGERS)  # of newer own messages, see _note_claim
        self.own_signed = -1  # the highest seq of own messages that were verified here, attached or not
        self.own_unread: Message | None = None  # the newest of them whose body does not open
        self._unread = BoundedDict[Cid, bytes](limit)  # messages, and the epochs that they wait for
        self.interest: Interest = EVERYBODY
        self._passed = BoundedDict[Cid, None](_STRANGERS)  # messages of authors who are not heard

    def attend(self, interest: Interest) -> None:
        """Hear these authors from now on; what all others have said is forgotten here, and stays where it is kept."""
        self.interest = interest
        self._passed.clear()
        self.gossip.attend(interest)
        self.tangle.keep_to(interest.admits)
        for author in [author for author in self._first if not interest.admits(author)]:
            del self._first[author]

    def hear(self) -> Outcome:
        """Take in what others announced and fetch it, as far as it is here now."""
        uptime = self.tangle.uptime = self.clock.uptime()
        for room in self._room.values():
            room.fill(uptime)
        self._note_announcements()
        self._keep_to_members()
        total, opened, asked = Outcome(), set[Cid](), dict[Cid, Bringer]()
        before, seen, noted = -1, -1, set[Cid]()
        while before < len(opened) < self.messages_per_call:
            before = len(opened)
            for cid in list(self.gate.missing()):  # records first: they say who may speak
                self._look(cid, _Source("", True), opened, asked, total)
            self._look_around(self._kept, opened, asked, total)
            self._keep_to_members()
            needs = {cid: bringer for cid, bringer in self.tangle.needs() if cid not in noted}
            noted.update(needs)
            if seen == self._version:  # all that was named has been looked for: what has come since needs more
                for cid, bringer in needs.items():
                    self._look(cid, _Source(bringer, self._knows_bringer(bringer)), opened, asked, total)
                continue
            seen = self._version
            for cid, bringer in needs.items():
                self._hearsay.need(bringer, cid, uptime)
            self._look_around(self._hearsay, opened, asked, total)
        self._ask(asked)
        return total

    def _look_around(self, hearsay: Hearsay, opened: set[Cid], asked: dict[Cid, Bringer], total: Outcome) -> None:
        """Look for what others have named, in turn."""
        uptime, missed = self.tangle.uptime, 0
        for bringer, known, cid, claim in hearsay.due(uptime, self.knows, self._has_room, self.tangle.cids()):
            if len(opened) >= self.messages_per_call or len(asked) + missed >= self.looks:
                break
            if cid in asked:  # that another one has named, too
                claim.looked_for(uptime)
                continue
            is_wanted = self._is_wanted(cid, claim, hearsay is self._kept)
            may_come = is_wanted or (claim.is_asked and cid not in self._taken and self._is_new(cid))
            if not may_come:
                hearsay.forget(bringer, cid)
            elif cid not in self._refused and not self._is_too_early(cid):
                claim.looked_for(uptime)
                if not is_wanted and not self.store.has(cid):  # it was asked for, and may still come
                    missed += 1
                    continue
                self._look(
                    cid, _Source(bringer, known, hearsay is self._kept, is_late=not is_wanted), opened, asked, total
                )

    def _look(self, cid: Cid, source: "_Source", opened: set[Cid], asked: dict[Cid, Bringer], total: Outcome) -> None:
        """Take in a message and what it continues, as far as it is here; what is not here is ``asked`` for.

        One chain after another: if those of many authors waited at once, none might have room enough to reach its
        checkpoint.
        """
        step, most = cid, self.messages_per_call
        if not source.known:
            most = min(most, len(opened) + _WALKS[self._room[False].left < self.at_once / 4])
        while step not in opened and step not in asked and len(opened) < most:
            if not self._fetch(step, source, total):
                asked[step] = source.bringer
                self._room[source.known].asked += 1
                break
            opened.add(step)
            self._taken[step] = None
            self._room[source.known].left -= 1
            following = self.tangle.awaited_by(step)
            if following is None:
                break
            step = following

    def _has_room(self, known: bool) -> bool:
        return self._room[known].left > self._room[known].asked

    def _knows_bringer(self, bringer: Bringer) -> bool:
        author = author_of_bringer(bringer)
        return author is not None and self.knows(author)

    def knows(self, author: bytes) -> bool:
        """Return True for a member, where not all are, and for an author who has been here for a while."""
        return self.tangle.knows(author) or (not self.gate.is_open and self.gate.admits(author))

    def name(self, message: Message) -> None:
        """Take a message for announced: what it continues is looked for, too."""
        self._note_entry("", Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, None), {})

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
        limits, speakers = self.tangle.limits, dict.fromkeys(self.tangle.speakers())
        self.tangle.favoured = frozenset(followed := list(followed))
        first = [author for author in dict.fromkeys((self.tangle.me, *followed)) if author in speakers]
        if len(speakers) > limits.entries:
            first = first[: limits.entries - _ROTATING]
        said = set(first)
        others = [author for author in speakers if author not in said]
        chosen = [*first, *_in_turn(others, self._turn, limits.entries - len(first))]
        announced = Announcement(tuple(map(self.tangle.entry_of, chosen)), self._kept_in_turn())
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
            self._note_entry(key[0], self._unknown.pop(key), {})

    def add_own(self, message: Message) -> Outcome:
        """Store a message that this peer has signed, and attach it, unless it cannot read it any more.

        Raises NotWrittenError or PeerError.
        """
        self.store.put(DAG_CBOR, message.data)
        self.own_signed = max(self.own_signed, message.seq)
        return Outcome() if isinstance(message.body, Sealed) else self.tangle.attach(message, self.clock.now())

    def _note_announcements(self) -> None:
        limits, wanted = self.tangle.limits, dict[Entry, list[Cid]]()
        for heard in self.gossip.heard():
            self.most_named = max(self.most_named, len(heard.announcement.entries))
            for entry in heard.announcement.entries[: limits.entries]:
                self._note_entry(heard.announcer, entry, wanted)
            for cid in heard.announcement.kept[: limits.kept]:
                if self._lacks_kept(cid):
                    self._kept.keep(heard.announcer, cid, self.tangle.uptime)

    def _note_entry(self, announcer: str, entry: Entry, wanted: dict[Entry, list[Cid]]) -> None:
        """Take an entry; ``wanted`` holds what is of those that others have said in the same moment."""
        if entry.head in self.tangle and entry.author in self._first:  # as most are, each time that they are announced
            self._hearsay.note(announcer, entry, (), self.tangle.uptime)
            return
        names = wanted.get(entry)
        if names is None:
            if not self.interest.admits(entry.author):
                return
            if not self.gate.admits_prefix(entry.author):
                self._unknown[announcer, entry.author] = entry
                return
            if entry.author not in self._first:
                self._first[entry.author] = entry.seq
            names = self.tangle.wanted_of(entry)
            if entry.author != self.tangle.me[:PREFIX_BYTES]:
                wanted[entry] = names
            elif entry.seq > self.own_signed:
                self._note_claim(announcer, entry.seq)
        self._hearsay.note(announcer, entry, names, self.tangle.uptime)

    def _note_claim(self, announcer: str, seq: int) -> None:
        """Note that a newer own message is named: when first, and the highest seq, of each known bringer.

        Strangers are counted as one: names cost nothing.
        """
        bringer = announcer if self._knows_bringer(announcer) else ""
        since, before = self._claims.get(bringer, (self.tangle.uptime, seq))
        self._claims[bringer] = since, max(seq, before)

    @property
    def own_claimed(self) -> int:
        """Return the highest seq of an own message that others name and may still prove; -1 for none.

        Each known bringer has a moment for that once in a run, all strangers together have one.
        """
        now = self.clock.uptime()
        return max((seq for since, seq in self._claims.values() if now - since < _PROVEN_MS), default=-1)

    def _is_new(self, cid: Cid) -> bool:
        return self.tangle.is_new(cid) and self.gate.is_new(cid) and cid not in self._refused

    def _lacks_kept(self, cid: Cid) -> bool:
        return self.tangle.lacks_kept(cid) and cid not in self._passed and self._is_new(cid)

    def _ask(self, asked: dict[Cid, Bringer]) -> None:
        """Ask for what is not here, booked on who has named it; and give up what does not come."""
        most, by_bringer = max(self.tangle.limits.message_bytes, MAX_REKEY_BYTES), dict[Bringer, list[Cid]]()
        for cid, bringer in asked.items():
            by_bringer.setdefault(bringer, []).append(cid)
        for bringer, names in by_bringer.items():
            for cid in names:
                self._hearsay.expect(bringer, cid, self.tangle.uptime)
            self.store.want(names, most, name_of(bringer))
        for cid in (*self._hearsay.take_given_up(), *self._kept.take_given_up()):
            self.tangle.give_up(cid)

    def _is_wanted(self, cid: Cid, claim: Claim, is_kept: bool) -> bool:
        """Return True if what was named or is needed is to be asked for."""
        if claim.needed == self.tangle.uptime:  # by the last look at what is missing; also if it only is to testify
            return True
        entry = claim.entry
        if is_kept or entry is None:
            return is_kept and self._lacks_kept(cid)
        is_current = claim.until >= claim.since + GIVEN_UP_MS and self.interest.admits(entry.author)
        return is_current and self.gate.admits_prefix(entry.author) and cid in self.tangle.wanted_of(entry)

    def _delete(self, names: list[Cid]) -> None:
        if names and not self.is_archive:
            self.store.delete(names)

    def _fetch(self, cid: Cid, source: "_Source", total: Outcome) -> bool:
        """Take in the message if its block is here; return False if it is not."""
        if not self.store.has(cid):
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
            self._take_message(cid, data, source, total)
        return True

    def _take_message(self, cid: Cid, data: bytes, source: "_Source", total: Outcome) -> None:
        try:
            self.gate.check(data)
            self._check_age(cid, data, source.is_kept)
            message = self.opener(data, self.swarm, self.tangle.limits)
            self.seals.check_form(message)
        except StaleError as error:
            self._forget(cid, error, source)
        except StrangerError as error:  # it may be a member soon: not refused for ever
            self.errors.count(error)
            self._refused[cid] = None
        except PeerError as error:
            self.errors.count(error)
            self.tangle.refuse(cid)
            if not self.is_archive:
                self.store.refuse(cid)
        else:
            self._attach(message, source, total)

    def _check_age(self, cid: Cid, data: bytes, is_kept: bool) -> None:
        """Raise StaleError for a message that a checkpoint has replaced, before it is decoded or verified."""
        author, seq = Envelope.place(data)
        is_asked_for = is_kept or self.tangle.is_witness(cid)
        if not is_asked_for and self.tangle.is_forgotten(author, seq):
            raise StaleError(f"message {cid.short} is older than its author's checkpoint")

    def _forget(self, cid: Cid, error: StaleError, source: "_Source") -> None:
        """Count a message that is too old, unless it has only come late; and delete it.

        The peer that kept it forgets it, too.
        """
        if not source.is_late:
            self.errors.count(error)
        self.tangle.refuse(cid)
        self._delete([cid])

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

    def _attach(self, message: Message, source: "_Source", total: Outcome) -> None:
        if message.author == self.tangle.me:
            self.own_signed = max(self.own_signed, message.seq)
        try:
            opened, now = self._opened(message), self.clock.now()
            if opened and self.interest.admits(message.author):
                outcome = self.tangle.attach(opened, now, source.bringer, source.known)
            else:
                outcome = self.tangle.testify(opened or message, now)
                if not self.interest.admits(message.author):
                    self._passed[message.cid] = None
        except StaleError as error:
            self._forget(message.cid, error, source)
            return
        except PeerError as error:
            self.errors.count(error)
            if isinstance(error, BannedError):
                self.tangle.refuse(message.cid)
            elif isinstance(error, FutureError):  # it is announced again
                self._hearsay.drop(message.cid)
                self._kept.drop(message.cid)
            return
        for refused in outcome.refused:
            self.errors.count(refused)
        total.attached += outcome.attached
        total.equivocations += outcome.equivocations


class _Source(NamedTuple):
    """Who has named a message, whether that one is known, and whether it was named as kept for ever.

    It ``is_late`` if it was wanted when it was asked for, and is no more.
    """

    bringer: Bringer
    known: bool
    is_kept: bool = False
    is_late: bool = False


class _Room:
    """How many messages may be taken in now: so many ``at_once``, and so many ``a_second`` of the own uptime (ms).

    No more are ``asked`` for at one look than may be taken in: they would wait on the disk.
    """

    def __init__(self, at_once: float, a_second: float, now: int) -> None:
        self.left = self._at_once = at_once
        self.asked = 0
        self._a_second, self._filled = a_second, now

    def fill(self, now: int) -> None:
        self.asked = 0
        self.left = min(self._at_once, self.left + max(0, now - self._filled) * self._a_second / 1000)
        self._filled = now


def _in_turn(items: list[T], turn: int, room: int) -> Iterable[T]:
    """Return at most ``room`` of ``items``, others with each ``turn``."""
    if len(items) <= room:
        return items
    start = turn * room % len(items)
    return islice([*items[start:], *items[:start]], room)
