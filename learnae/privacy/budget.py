"""Which rows may still take part in a release, and what releases have told of any row at most. Pure.

Costs are in mu^2 (accountant) of one row, and add up. A row is born with the first release after it was seen; each
release since then that its part of the rows is due in counts, whether the row took part or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9  # of a sum of costs: noise is rounded up by more

Digests = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Price:
    """A row takes part in ``participations`` releases, one of ``parts`` in turn, each at a ``cost`` in mu^2."""

    cost: float
    participations: int
    parts: int = 1

    @property
    def limit(self) -> float:
        """Return what all participations of a row cost."""
        return self.cost * self.participations


@dataclass(frozen=True, slots=True)
class Span:
    """Releases from number ``first`` on had this ``price``, until the next span."""

    first: int
    price: Price


@dataclass(frozen=True, slots=True)
class Turns:
    """Says in which releases rows (n,) take part: each in one of ``parts`` in turn, from its birth to its end."""

    parts: int
    part: Numbers
    births: Numbers
    ends: Numbers  # numbers of the first releases that rows cannot pay for, due or not

    def taking_part(self, release: int) -> NDArray[np.bool_]:
        """Return which rows (n,) are due in ``release`` and can pay for it."""
        return (self.part == release % self.parts) & (self.births <= release) & (release < self.ends)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts what the releases before number ``releases`` cost, of which ``spans``, oldest first, say the price.

    >>> ledger = Ledger((Span(0, Price(cost=0.01, participations=80)),), releases=30)
    >>> round(ledger.most_spent, 6)
    0.3
    """

    spans: tuple[Span, ...]
    releases: int

    def spent(self, digests: Digests, births: Numbers, before: int) -> NDArray[np.float64]:
        """Return the costs (n,) of all releases before number ``before`` for rows of these digests and births."""
        total = np.zeros(len(digests))
        for span, end in self._ranges(before):
            parts = np.int64(span.price.parts)
            part = part_of(digests, span.price.parts)
            due = _due(np.int64(end), part, parts) - _due(np.clip(births, span.first, end), part, parts)
            total += due * span.price.cost
        return total

    def turns(self, digests: Digests, births: Numbers) -> Turns:
        """Return the releases that rows (n,) take part in, as long as the price stays: computed once."""
        newest, price = self.spans[-1], self.spans[-1].price
        left = price.limit * (1 + _ROUNDING) - self.spent(digests, births, newest.first)
        times = np.floor(left / price.cost).astype(np.int64)  # that a row can still pay
        part, begins = part_of(digests, price.parts), np.maximum(births, newest.first)
        last = begins + (part - begins) % price.parts + (times - 1) * price.parts
        return Turns(price.parts, part, births, np.where(times > 0, last + 1, 0))

    @property
    def most_spent(self) -> float:
        """Return what has been spent of any row at most: of one that was there from the first release on."""
        ranges = [(span, end) for span, end in self._ranges(self.releases) if end > span.first]
        total = sum(-(-(end - span.first) // span.price.parts) * span.price.cost for span, end in ranges)
        return min(total, max((span.price.limit for span, _ in ranges), default=0.0)) * (1 + _ROUNDING)

    def at(self, price: Price) -> Ledger:
        """Return this ledger with ``price`` for what is next."""
        if self.spans and self.spans[-1].price == price:
            return self
        kept = tuple(span for span in self.spans if span.first < self.releases)
        return Ledger((*kept, Span(self.releases, price)), self.releases)

    def recalled(self, releases: int) -> Ledger:
        """Return this ledger with releases up to number ``releases`` that it does not know: at the dearest price."""
        prices = [span.price for span in self.spans]
        dearest = Price(
            max(price.cost for price in prices),
            max(price.participations for price in prices),
            min(price.parts for price in prices),
        )
        missed = self.at(dearest)
        return Ledger(missed.spans, max(releases, self.releases)).at(prices[-1])

    def _ranges(self, before: int) -> Sequence[tuple[Span, int]]:
        ends = [*(span.first for span in self.spans[1:]), before]
        return [(span, min(end, before)) for span, end in zip(self.spans, ends, strict=True) if span.first < before]


def part_of(digests: Digests, parts: int) -> Numbers:
    """Return which of ``parts`` the rows (n,) belong to: for ever, as it follows from their digests."""
    return (digests % np.uint64(parts)).astype(np.int64)


def _due(before: Numbers | np.int64, part: Numbers, parts: np.int64) -> Numbers:
    """Return how many numbers below ``before`` leave ``part`` when divided by ``parts``."""
    return np.asarray((before - part + parts - 1) // parts)
