"""The roster: who is a member, as a pure function of a set of records (docs/protocol.md, Membership)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from learnae.ipld.cid import Cid
from learnae.membership.history import History
from learnae.membership.policy import MembershipPolicy
from learnae.membership.records import ANY_ROLE, Invite, Join, Record, Welcome


@dataclass(frozen=True, slots=True)
class Member:
    """One that is in: the key that secrets are sealed to, what the invite was for, and since when (Unix ms).

    ``by`` is who welcomed it, ``join`` its record; None for a founder.
    """

    x25519: bytes
    role: str = ANY_ROLE
    since: int = 0
    by: bytes | None = None
    join: Cid | None = None


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """An invite that counts, that was not taken back, and that has uses ``left``."""

    invite: Invite
    author: bytes
    left: int


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is in, who was removed or left, which joins a member may welcome, and which invites are open.

    No clock is asked: an invite stays open when it has expired, but a welcome dated later than that does not count.
    """

    members: Mapping[bytes, Member]
    removed: frozenset[bytes] = frozenset()
    pending: tuple[Cid, ...] = ()
    invites: Mapping[Cid, OpenInvite] = field(default_factory=dict)


def roster(policy: MembershipPolicy, records: Iterable[Record]) -> Roster:
    """Return who is in by the rules of ``policy``.

    Left out are records that their authors may not write, and those whose past is not in the set.
    """
    history = History(policy)
    history.add_all(records)
    return roster_of(policy, history)


def roster_of(policy: MembershipPolicy, history: History, guests: Iterable[Record] = ()) -> Roster:
    """Return who is in after ``history``; ``guests`` are joins that are not in it, but what they need is."""
    standing = history.standing()
    members = {founder.key: Member(founder.x25519) for founder in policy.founders if founder.key not in standing.out}
    for welcome in sorted(history.welcomes(), key=lambda record: (record.time, record.cid)):
        assert isinstance(welcome.body, Welcome)
        join = history.get(welcome.body.join)
        assert join is not None
        assert isinstance(join.body, Join)
        if join.author not in members and join.author not in standing.out:
            invite = history.invite_of(join)
            role = invite.role if invite else ANY_ROLE
            members[join.author] = Member(join.body.x25519, role, welcome.time, welcome.author, join.cid)
    waiting = [join for join in (*history.joins(), *guests) if history.is_awaited(join)]
    return Roster(
        members=members,
        removed=standing.removed,
        pending=tuple(join.cid for join in sorted(waiting, key=lambda join: (join.time, join.cid))),
        invites={
            record.cid: OpenInvite(record.body, record.author, left)
            for record, left in history.invites()
            if left and isinstance(record.body, Invite)
        },
    )
