"""The records that one peer holds: a set that only grows, and a bounded number that wait for their past. Pure."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import LimitError, MembershipError, MessageError, ReplayError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.history import History
from learnae.membership.policy import MembershipPolicy
from learnae.membership.records import (
    MAX_PAST,
    Body,
    Join,
    Record,
    compose_record,
    is_record,
    open_record,
    record_author,
)
from learnae.membership.roster import Roster, roster_of
from learnae.protocol.identity import Identity, peer_name

MAX_RECORDS = 8192  # kept for ever; the pasts of so many are 8 MB
MAX_RECORD_BYTES = 32 << 20
MAX_RECORDS_BY_AUTHOR = 1024  # one member may welcome all others
MAX_BYTES_BY_AUTHOR = 4 << 20
FREE_RECORDS_BY_AUTHOR = 16  # may be written also when the whole is full: no member is silenced by others
MAX_GUESTS = 64  # joins that no member has named, by one invite, or where members vouch
MAX_PENDING = MAX_RECORDS  # that wait for their past: a newcomer hears the last ones first
MAX_PENDING_BYTES = MAX_RECORD_BYTES
_BYTES_PER_LINK = 128  # what is remembered of one that is awaited
MAX_REFUSED = 4096  # names of records that can never count


class Ledger:
    """What is known of who is in. Whether a record is taken depends on its past, never on when it comes.

    Refused is what its author was not entitled to write, and what stands on such a record: it never counts. Joins
    of strangers are *guests*: kept in bounded number for each invite, until a member names them.

    >>> from learnae.membership.policy import Founder, MembershipPolicy
    >>> from learnae.membership.records import Invite
    >>> swarm, ann, key = Cid.of(DAG_CBOR, b"a manifest"), Identity.generate(), Identity.generate()
    >>> ledger = Ledger(MembershipPolicy.of("invite", [Founder(ann.author, ann.x25519)]), swarm)
    >>> invite = ledger.write(ann, 1_700_000_000_000, Invite(key.author, uses=1, expires=1_700_000_600_000))
    >>> ledger.may_speak(ann.author), ledger.may_speak(key.author), ledger.roster().invites[invite.cid].left
    (True, False, 1)
    """

    def __init__(self, policy: MembershipPolicy, swarm: Cid) -> None:
        self.policy = policy
        self.swarm = swarm
        self.history = History(policy)
        self._heads: dict[Cid, None] = {}
        self._counts = Counter[bytes]()  # records of each author
        self._sizes = Counter[bytes]()  # bytes of each author
        self._guests: dict[Cid, Record] = {}
        self._guests_by_invite: dict[Cid | None, dict[Cid, None]] = {}
        self._pending: dict[Cid, Record] = {}
        self._accounts: dict[Cid, bytes] = {}  # of pending records: who brought them
        self._brought: dict[bytes, dict[Cid, None]] = {}  # the pending records of each account
        self._weights = Counter[bytes]()  # of what waits on each account, in bytes
        self._children: dict[Cid, dict[Cid, None]] = {}  # what is awaited -> pending records that need it
        self._refused = BoundedDict[Cid, None](MAX_REFUSED)
        self._roster: Roster | None = None

    def __contains__(self, cid: object) -> bool:
        return cid in self.history or cid in self._guests

    def __len__(self) -> int:
        return len(self.history) + len(self._guests)

    def get(self, cid: Cid) -> Record | None:
        """Return the record of that name; None if it is not here, or waits."""
        return self.history.get(cid) or self._guests.get(cid)

    def cids(self) -> list[Cid]:
        """Return the names of all records that are here with their past."""
        return [*(record.cid for record in self.history), *self._guests]

    def records(self) -> Iterator[Record]:
        """Return all records that are here with their past."""
        yield from self.history
        yield from self._guests.values()

    def heads(self, author: bytes = b"") -> tuple[Cid, ...]:
        """Return the records that no other names, sorted; no guests.

        Where there are more than a record can name, each author has a place before any has a second one; the first is
        for what shows that ``author`` was let in, which a record of its own must stand on.
        """
        if len(self._heads) <= MAX_PAST:
            return tuple(sorted(self._heads))
        welcomes = [record.cid for record in self.history.welcomes(author)]
        places, order = Counter[bytes](), []
        for cid in sorted(self._heads):
            record = self.history.get(cid)
            assert record is not None
            shows = any(cid == welcome or self.history.is_before(welcome, cid) for welcome in welcomes)
            order.append((not shows, places[record.author], cid))
            places[record.author] += 1
        return tuple(sorted(cid for _, _, cid in sorted(order)[:MAX_PAST]))

    def missing(self) -> Iterator[Cid]:
        """Return the names of records that others here need, and that are not here."""
        for cid in self._children:
            if cid not in self and cid not in self._pending:
                yield cid

    def is_new(self, cid: Cid) -> bool:
        """Return True if a named record is neither here, waiting nor refused."""
        return cid not in self and cid not in self._pending and cid not in self._refused

    def roster(self) -> Roster:
        """Return who is in; worked out again only after a change."""
        if self._roster is None:
            self._roster = roster_of(self.policy, self.history, self._guests.values())
        return self._roster

    def may_speak(self, author: bytes) -> bool:
        """Return True if the author is a member now."""
        return author in self.roster().members

    def knows(self, author: bytes) -> bool:
        """Return True if the author was ever let in, whatever became of it."""
        return self.history.knows(author)

    def forget(self, cid: Cid) -> bool:
        """Drop a guest, which may come again; return False if there is no such one."""
        if cid not in self._guests:
            return False
        self._drop_guest(cid)
        self._roster = None
        return True

    def write(self, identity: Identity, time: int, body: Body) -> Record:
        """Sign a record that stands on all that is known, and add it; ``time`` in Unix milliseconds.

        Raises MembershipError if ``identity`` may not write it, LimitError if it is too large or one too many.
        """
        record = compose_record(identity, self.swarm, self.heads(identity.author), time, body)
        self._take(record)
        return record

    def add(self, data: bytes, bringer: bytes = b"") -> list[Record]:
        """Take in a record that ``bringer`` has sent; return those whose past is here now: it, and others that waited.

        A record waits, on the bringer's account or else on its author's, until all that it needs is here. Raises
        PeerError: for a record that is no valid one, that its author may not write, that was here before, or that is
        more than its author may store.
        """
        cid = Cid.of(DAG_CBOR, data)
        if cid in self._refused:
            raise MembershipError(f"record {cid.short} again", "it was refused before")
        if not self.is_new(cid):
            raise ReplayError(f"record {cid.short} again")
        if is_record(data):
            self._check_room(record_author(data), cid, len(data))
        record = open_record(data, self.swarm)
        if not self._lacks(record):
            return self._take(record)
        if any(need in self._refused for need in record.needs):
            self._refused[cid] = None
            raise MembershipError(f"record {cid.short} stands on a refused record")
        self._wait(record, bringer or record.author)
        return []

    def _lacks(self, record: Record) -> list[Cid]:
        """Return what the record needs and is not here; guests do for members only."""
        here = self.history if isinstance(record.body, Join) else self
        return [cid for cid in record.needs if cid not in here]

    # -- records whose past is here

    def _take(self, record: Record) -> list[Record]:
        """Add a record and all that waited for it; errors of those that waited are theirs alone."""
        taken, news = [record], self._add(record)
        while news:
            for cid in list(self._children.get(news.pop().cid, ())):
                child = self._pending.get(cid)
                if child is None or self._lacks(child):  # None: it stood on one that was refused just now
                    continue
                self._remove(cid)
                with contextlib.suppress(MessageError):
                    news += self._add(child)
                    taken.append(child)
        return taken

    def _add(self, record: Record) -> list[Record]:
        """Add one record; return what others may wait for: it, and guests that it names."""
        try:
            self.history.check(record, self._known_to(record))
        except MembershipError:
            self._refuse(record.cid)
            raise
        self._roster = None
        if isinstance(record.body, Join):
            self._take_guest(record)
            return [record]
        self._check_room(record.author, record.cid, len(record.data))
        entered = [*(self._drop_guest(cid) for cid in record.needs if cid in self._guests), record]
        for one in entered:
            self._enter(one)
        return entered

    def _known_to(self, record: Record) -> Iterator[Cid]:
        """Return what the record stands on; of guests what these stand on, as a join lets no peer in."""
        for cid in record.needs:
            guest = self._guests.get(cid)
            yield from guest.needs if guest else (cid,)

    def _enter(self, record: Record) -> None:
        self.history.add(record)
        self._counts[record.author] += 1
        self._sizes[record.author] += len(record.data)
        for cid in record.needs:
            self._heads.pop(cid, None)
        self._heads[record.cid] = None

    def _check_room(self, author: bytes, cid: Cid, size: int) -> None:
        """Raise LimitError for more than the author may store, unless a record of another stands on it.

        So all peers end up with the same records, however many a member writes, as soon as another has named them.
        """
        count, taken = self._counts[author], self._sizes[author] + size
        is_named = any(self._pending[child].author != author for child in self._children.get(cid, ()))
        if not is_named and (count >= MAX_RECORDS_BY_AUTHOR or taken > MAX_BYTES_BY_AUTHOR):
            problem = f"{count} records of {peer_name(author)[:8]}, {self._sizes[author]} bytes"
            raise LimitError(problem, f"at most {MAX_RECORDS_BY_AUTHOR} and {MAX_BYTES_BY_AUTHOR} bytes are kept")
        if count < FREE_RECORDS_BY_AUTHOR:
            return
        if len(self.history) >= MAX_RECORDS or self._sizes.total() + size > MAX_RECORD_BYTES:
            problem = f"{len(self.history)} records, {self._sizes.total()} bytes"
            raise LimitError(problem, f"at most {MAX_RECORDS} and {MAX_RECORD_BYTES} bytes are kept")

    # -- joins that no member has named

    def _take_guest(self, join: Record) -> None:
        assert isinstance(join.body, Join)
        same = self._guests_by_invite.setdefault(join.body.via, {})
        same[join.cid] = None
        self._guests[join.cid] = join
        while len(same) > MAX_GUESTS:
            self._drop_guest(next(iter(same)))

    def _drop_guest(self, cid: Cid) -> Record:
        join = self._guests.pop(cid)
        assert isinstance(join.body, Join)
        same = self._guests_by_invite[join.body.via]
        del same[cid]
        if not same:
            del self._guests_by_invite[join.body.via]
        return join

    # -- records that wait

    def _wait(self, record: Record, account: bytes) -> None:
        self._pending[record.cid] = record
        self._accounts[record.cid] = account
        self._brought.setdefault(account, {})[record.cid] = None
        self._weights[account] += _weight(record)
        for cid in record.needs:
            self._children.setdefault(cid, {})[record.cid] = None
        while len(self._pending) > MAX_PENDING or self._weights.total() > MAX_PENDING_BYTES:
            largest, _ = self._weights.most_common(1)[0]
            self._remove(next(reversed(self._brought[largest])))

    def _remove(self, cid: Cid) -> None:
        record, account = self._pending.pop(cid), self._accounts.pop(cid)
        self._weights[account] -= _weight(record)
        del self._brought[account][cid]
        if not self._brought[account]:
            del self._brought[account], self._weights[account]
        for need in record.needs:
            children = self._children[need]
            children.pop(cid, None)
            if not children:
                del self._children[need]

    def _refuse(self, cid: Cid) -> None:
        """Remember that a record can never count, and drop what stands on it."""
        stack = [cid]
        while stack:
            current = stack.pop()
            self._refused[current] = None
            stack.extend(self._children.get(current, ()))
            if current in self._pending:
                self._remove(current)


def _weight(record: Record) -> int:
    """Return about how much memory a pending record takes."""
    return len(record.data) + _BYTES_PER_LINK * len(record.needs)
