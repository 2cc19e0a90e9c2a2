"""Members who sign records, each on what it is told to know: for tests of who is in."""

import contextlib
from collections.abc import Iterable, Sequence
from itertools import count

from learnae.errors import MembershipError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.history import History
from learnae.membership.ledger import Ledger
from learnae.membership.policy import INVITE, Founder, MembershipPolicy
from learnae.membership.records import (
    ADMIT,
    REMOVE,
    Body,
    Invite,
    Join,
    Leave,
    Record,
    Uninvite,
    Vote,
    Welcome,
    compose_record,
    prove_join,
)
from learnae.membership.roster import Roster, roster
from learnae.protocol.identity import Identity

SWARM = Cid.of(DAG_CBOR, b"a manifest")
NOW = 1_800_000_000_000
DAY = 86_400_000


def person(number: int) -> Identity:
    return Identity.from_seed(bytes([number]) * 32)


class Circle:
    """A swarm of ``founders`` people, numbered from 1; ``said`` holds all records, which are also signed here.

    ``after`` is what a record's author knows: all of it that is true, unless a test says otherwise. What those records
    stand on is known with them.
    """

    def __init__(self, founders: int, votes: int, kind: str = INVITE) -> None:
        self.founders = [person(number) for number in range(1, founders + 1)]
        keys = [Founder(one.author, one.x25519) for one in self.founders]
        self.policy = MembershipPolicy.of(kind, keys, votes)
        self.said: list[Record] = []
        self.true = History(self.policy)
        self._people = count(founders + 1)
        self._keys: dict[Cid, Identity] = {}

    def newcomer(self) -> Identity:
        return person(next(self._people))

    def say(self, who: Identity, body: Body, after: Sequence[Record] | None = None, time: int | None = None) -> Record:
        known = list(self.true) if after is None else after
        named = {cid for record in known for cid in record.needs}
        heads = [record.cid for record in known if record.cid not in named]
        record = compose_record(who, SWARM, heads, NOW + len(self.said) if time is None else time, body)
        self.said.append(record)
        with contextlib.suppress(MembershipError, KeyError):
            self.true.add(record)
        return record

    def invite(self, who: Identity, uses: int = 1, expires: int = NOW + DAY, after: Sequence[Record] | None = None):
        key = person(next(self._people))
        record = self.say(who, Invite(key.author, uses, expires), after)
        self._keys[record.cid] = key
        return record

    def join(self, who: Identity, invite: Record | None, time: int | None = None) -> Record:
        if invite is None:
            return self.say(who, Join(who.x25519), [], time)
        proof = prove_join(self._keys[invite.cid], SWARM, who.author)
        return self.say(who, Join(who.x25519, invite.cid, proof), [], time)

    def welcome(
        self, who: Identity, join: Record, after: Sequence[Record] | None = None, time: int | None = None
    ) -> Record:
        return self.say(who, Welcome(join.cid, bytes(8), bytes(32), bytes(48)), after, time)

    def bring_in(self, who: Identity, uses: int = 1) -> Identity:
        """Invite and welcome a newcomer."""
        newcomer = self.newcomer()
        self.welcome(who, self.join(newcomer, self.invite(who, uses)))
        return newcomer

    def uninvite(self, who: Identity, invite: Record, after: Sequence[Record] | None = None) -> Record:
        return self.say(who, Uninvite(invite.cid), after)

    def remove(self, who: Identity, whom: Identity, after: Sequence[Record] | None = None) -> Record:
        return self.say(who, Vote(whom.author, REMOVE), after)

    def admit(
        self, who: Identity, whom: Identity, join: Record | None = None, after: Sequence[Record] | None = None
    ) -> Record:
        return self.say(who, Vote(whom.author, ADMIT, join.cid if join else None), after)

    def leave(self, who: Identity, after: Sequence[Record] | None = None) -> Record:
        return self.say(who, Leave(), after)

    def roster(self, records: Iterable[Record] | None = None) -> Roster:
        return roster(self.policy, self.said if records is None else records)

    def inside(self, *people: Identity) -> list[bool]:
        members = self.roster().members
        return [one.author in members for one in people]

    def ledger(self, records: Iterable[Record] | None = None) -> Ledger:
        ledger = Ledger(self.policy, SWARM)
        for record in self.said if records is None else records:
            ledger.add(record.data)
        return ledger
