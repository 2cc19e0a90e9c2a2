"""The gate: tells members from strangers by a block's first bytes, before it is decoded or stored. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from learnae.errors import StrangerError
from learnae.ipld.cid import Cid
from learnae.membership.policy import VOUCHED
from learnae.membership.records import ANY_ROLE, MAX_BYTES, is_record
from learnae.protocol.announcements import PREFIX_BYTES
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import author_of

if TYPE_CHECKING:
    from learnae.membership.ledger import Ledger

MEMBER, REMOVED = "member", "removed"
WAITING, KEYLESS = "waiting for a welcome", "member, waiting for a key epoch"


class Gate:
    """Lets members of a swarm speak by what ``ledger`` holds; without one, in an open swarm, all may.

    ``check`` may be called by any thread while another one calls ``take``. ``version`` changes whenever members do.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger
        self.version = 0
        self._members: frozenset[bytes] | None = None
        self._roles: dict[bytes, str] = {}  # of members whose invite was for one role
        self._prefixes = frozenset[bytes]()
        self._look()

    @property
    def is_open(self) -> bool:
        """Return True if all who reach the swarm may speak."""
        return self.ledger is None

    def admits(self, author: bytes) -> bool:
        """Return True if ``author`` is a member now."""
        return self._members is None or author in self._members

    def fits(self, author: bytes, role: str) -> bool:
        """Return True if a member may work as ``role``: as its invite says; a stranger's is not known."""
        return self._roles.get(author, role) == role

    def admits_prefix(self, prefix: bytes) -> bool:
        """Return True if a member's key begins with ``prefix``."""
        return self._members is None or prefix in self._prefixes

    def check(self, data: bytes) -> None:
        """Raise StrangerError for what only members may say; small records, such as joins, and other blocks pass."""
        if self._members is None:
            return
        author = author_of(data)
        if author is None or author in self._members:
            return
        if len(data) > MAX_BYTES or not is_record(data):
            raise StrangerError(
                f"{peer_name(author)[:8]} is not a member", "a member lets it in: learnae invite, or learnae admit"
            )

    def takes(self, data: bytes) -> bool:
        """Return True if a block is a record, for ``take``."""
        return self.ledger is not None and is_record(data)

    def take(self, data: bytes) -> None:
        """Take in a record; raises PeerError for one that is wrong, or more than is kept."""
        assert self.ledger is not None
        self.ledger.add(data)
        self._look()

    def __contains__(self, cid: object) -> bool:
        return self.ledger is not None and cid in self.ledger

    def is_new(self, cid: Cid) -> bool:
        """Return True if no record of that name is here, waits or was refused."""
        return self.ledger is None or self.ledger.is_new(cid)

    def missing(self) -> Iterator[Cid]:
        """Return the names of records that others here need, and that are not here."""
        return iter(()) if self.ledger is None else self.ledger.missing()

    def forget(self, cid: Cid) -> bool:
        """Forget a join that no member has named; return False if it is another record, or not here."""
        return self.ledger is not None and self.ledger.forget(cid)

    def announced(self, me: bytes) -> list[Cid]:
        """Return the records from which all are found: those that no other names.

        Where members vouch, of wishes to come in that prove nothing and that no member has voted on ``me``'s alone.
        """
        if self.ledger is None:
            return []
        ledger, pending = self.ledger, self.ledger.roster().pending
        if ledger.policy.kind == VOUCHED:
            joins = ((cid, ledger.get(cid)) for cid in pending)
            pending = tuple(cid for cid, join in joins if cid in ledger.history or (join and join.author == me))
        return [*ledger.heads(), *pending]

    def _look(self) -> None:
        roster = None if self.ledger is None else self.ledger.roster().members
        self._roles = {key: member.role for key, member in (roster or {}).items() if member.role != ANY_ROLE}
        members = None if roster is None else frozenset(roster)
        if members != self._members:
            self._prefixes = frozenset(key[:PREFIX_BYTES] for key in members or ())
            self._members = members
            self.version += 1
