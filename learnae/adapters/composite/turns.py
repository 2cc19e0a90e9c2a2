"""Whose names are fetched next: each peer that names blocks has its turn, and what it names in vain is booked on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from learnae.adapters.token_bucket import TokenBucket
from learnae.ipld.cid import Cid

OWN = ""  # the origin of what this peer wants of itself
_PROVEN_SECONDS = 3600.0  # for which an origin counts as one that names what there is
_FOUND = 4.0  # names in vain that one which was found makes up for
_PROOFS = 64  # a member whose messages are late is refused some that its checkpoints have replaced
_PROVEN_PRICE = 1 / 16  # of a name in vain, where its origin has named what there is: a daemon of its own may be away


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """Bounds what one origin can make this machine look for. Seconds, bytes; a name in vain is a block not found."""

    names: int = 8192  # of all origins together: more than Limits.wanted and the blocks of the largest frame
    names_of_one: int = 1024  # a frame's at most
    origins: int = 1024
    vain: float = 16.0  # names in vain at once …
    vain_rate: float = 1 / 15  # … and a second
    refused_bytes: float = 1 << 20  # that were fetched for nothing at once …
    refused_rate: float = (4 << 20) / 3600  # … and a second


@dataclass(frozen=True, slots=True)
class Wanted:
    """A name to fetch: the block may have ``most`` bytes; ``origin`` has named it, and was a stranger then."""

    cid: Cid
    most: int
    origin: str
    is_strange: bool


@dataclass(eq=False, slots=True)
class _Origin:
    """What one of those that name blocks may still ask for, and which of them wait."""

    vain: TokenBucket
    refused: TokenBucket
    fresh: dict[Cid, int] = field(default_factory=dict)
    again: dict[Cid, int] = field(default_factory=dict)  # what was in vain before: behind what is new
    at_work: int = 0
    found: float = float("-inf")  # time.monotonic of its last block
    proofs: int = 0  # blocks found and not refused since, of the last ones

    def __len__(self) -> int:
        return len(self.fresh) + len(self.again)


class Turns:
    """Gives names to ``workers`` in turn by origin. Its owner's lock guards every call.

    An origin that has named nothing that there is, lately, is a stranger: all strangers together have at most half of
    the workers at one time, and so has each other origin, so that those who name what there is find one that is free.

    >>> one, other = Cid.of(0x55, b"one"), Cid.of(0x55, b"other")
    >>> turns = Turns(TurnPolicy(), workers=2)
    >>> turns.add(one, 9, "ann"), turns.add(other, 9, OWN)
    (True, True)
    >>> turns.take().origin, turns.take().origin, turns.take()
    ('ann', '', None)
    """

    def __init__(self, policy: TurnPolicy, workers: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._half = max(1, workers // 2)
        self._monotonic = monotonic
        self._origins = dict[str, _Origin]()  # the one that has the next turn first
        self.waiting = self._strangers = 0  # names; strangers' names at work

    def __len__(self) -> int:
        """Return how many names wait; those of origins that may not go on now do not count."""
        return sum(len(each) for name, each in self._origins.items() if len(each) and not self._is_spent(name, each))

    def add(self, cid: Cid, most: int, origin: str, is_again: bool = False) -> bool:
        """Let a name wait for its turn; return False if it waits already, or if there is no room for it now."""
        each = self._origins[origin] if origin in self._origins else self._begin(origin)
        if each is None or cid in each.fresh or cid in each.again or self.waiting >= self._policy.names:
            return False
        if origin != OWN and len(each) >= self._policy.names_of_one:
            return False
        (each.again if is_again else each.fresh)[cid] = most
        self.waiting += 1
        return True

    def take(self, besides: Callable[[Cid], object] = lambda _: False) -> Wanted | None:
        """Return the next name, which is at work now; None if there is none for now. Those ``besides`` are dropped."""
        for origin in list(self._origins):
            each = self._origins[origin]
            is_strange = self._is_stranger(origin, each)
            if not self._has_turn(origin, each, is_strange):
                continue
            while each.fresh or each.again:
                names = each.fresh or each.again
                cid = next(iter(names))
                most = names.pop(cid)
                self.waiting -= 1
                if not besides(cid):
                    self._origins[origin] = self._origins.pop(origin)  # behind all others
                    each.at_work += 1
                    self._strangers += is_strange
                    return Wanted(cid, most, origin, is_strange)
        return None

    def done(self, wanted: Wanted, is_found: bool) -> None:
        """Note what has become of a name that was taken."""
        each = self._origins[wanted.origin]
        each.at_work -= 1
        self._strangers -= wanted.is_strange
        if is_found:
            each.found, each.proofs = self._monotonic(), min(each.proofs + 1, _PROOFS)
            each.vain.give(_FOUND)
        else:
            each.vain.spend(self._price(wanted.origin, each))

    def book(self, origin: str, size: int) -> None:
        """Book a block that was fetched, and refused by this peer, on the origin that has named it."""
        each = self._origins.get(origin)
        if each is not None and origin != OWN:
            each.proofs = max(0, each.proofs - 1)
            each.vain.spend(_FOUND + self._price(origin, each))
            each.refused.spend(size)

    def _price(self, origin: str, each: _Origin) -> float:
        return 1.0 if self._is_stranger(origin, each) else _PROVEN_PRICE

    def forget(self, cid: Cid) -> None:
        """Let the name wait no more, whichever origins have named it."""
        for each in self._origins.values():
            for names in (each.fresh, each.again):
                self.waiting -= names.pop(cid, None) is not None

    def forgive(self) -> None:
        """Blame no origin for what was in vain: there was no way to it."""
        for each in self._origins.values():
            each.vain.give(self._policy.vain)

    def _begin(self, origin: str) -> _Origin | None:
        policy = self._policy
        if len(self._origins) >= policy.origins and origin != OWN:
            idle = (name for name, each in self._origins.items() if self._is_idle(name, each))
            if (oldest := next(idle, None)) is None:
                return None
            del self._origins[oldest]
        vain = TokenBucket(policy.vain, policy.vain_rate, self._monotonic)
        refused = TokenBucket(policy.refused_bytes, policy.refused_rate, self._monotonic)
        each = self._origins[origin] = _Origin(vain, refused)
        return each

    def _is_idle(self, origin: str, each: _Origin) -> bool:
        return not len(each) and not each.at_work and self._is_stranger(origin, each)

    def _has_turn(self, origin: str, each: _Origin, is_strange: bool) -> bool:
        if not len(each) or self._is_spent(origin, each):
            return False
        return origin == OWN or (each.at_work < self._half and not (is_strange and self._strangers >= self._half))

    def _is_stranger(self, origin: str, each: _Origin) -> bool:
        return origin != OWN and (not each.proofs or self._monotonic() - each.found > _PROVEN_SECONDS)

    def _is_spent(self, origin: str, each: _Origin) -> bool:
        """Return True while an origin has named too much in vain, or too much that was refused."""
        return origin != OWN and not (each.vain.has(1.0 + each.at_work) and each.refused.has(1.0))
