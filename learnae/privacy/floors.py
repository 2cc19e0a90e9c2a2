"""Floors below which a machine publishes nothing that was computed from its rows. Pure.

An update of weights that were trained on few rows gives these rows away (docs/privacy.md). What counts are the rows
that went into the weights since they were last replaced, by a merge or a restart, or published.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import unique

Rows = NDArray[Any]

_DIGEST_BYTES = 16
_AT_ONCE = 4096  # rows that one look digests at most
_HOPELESS = 20  # times as many draws as there are rows: those that are left are copies, or too rare


class DrawnRows(Protocol):
    """Training rows that tell which of them are drawn."""

    on_draw: Callable[[NDArray[np.integer[Any]]], None] | None

    @property
    def rows(self) -> Rows:
        """Return the rows (n, *input_shape)."""

    @property
    def written(self) -> int:
        """Return how many rows there have been."""


@dataclass(frozen=True, slots=True)
class Floors:
    """What an owner demands of each update: ``rows`` distinct rows and ``draws`` draws since the last, 0 for none.

    ``merge_first``: weights of others are in it, unless there are none.
    """

    rows: int = 0
    draws: int = 0
    merge_first: bool = False


class DistinctRows:
    """Counts rows that differ in their bytes, up to ``most``: 1,000 copies of one are one.

    >>> distinct = DistinctRows(3)
    >>> distinct.add(np.array([[1.0], [1.0], [2.0]]))
    >>> len(distinct)
    2
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._digests: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def is_full(self) -> bool:
        """Return True if there are ``most``: more are not counted."""
        return len(self._digests) >= self._most

    def add(self, rows: Rows) -> None:
        """Count rows (n, *input_shape)."""
        for row in rows:
            if self.is_full:
                return
            self._digests.add(blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).digest())

    def clear(self) -> None:
        """Begin anew."""
        self._digests.clear()


class ReleaseFloor:
    """Says whether weights may be published, and why not; counts what is drawn of ``source``.

    A restart begins to count anew. Digests of ``floors.rows`` rows at most are kept, twice.

    >>> floor = ReleaseFloor()
    >>> floor.why_held_back(), floor.wants_more
    ('', False)
    """

    def __init__(self, floors: Floors | None = None, source: DrawnRows | None = None) -> None:
        self.floors = floors or Floors()
        self._source = source
        self._here, self._drawn = DistinctRows(self.floors.rows), DistinctRows(self.floors.rows)
        self._looked = 0  # how many of the source's rows were
        self._draws = 0
        self._has_merged = not self.floors.merge_first
        if source is not None and (self.floors.rows or self.floors.draws):
            source.on_draw = self._note_drawn

    def begin(self) -> None:
        """Note that the weights were replaced, or published: nothing of what was drawn before counts."""
        self._drawn.clear()
        self._draws = 0

    def note_merged(self) -> None:
        """Note that weights of others are in these, or that this peer is the swarm's founder: there are none."""
        self._has_merged = True

    @property
    def waits_for_others(self) -> bool:
        """Return True until ``note_merged``."""
        return not self._has_merged

    def lacks_rows(self) -> str:
        """Return why there are too few rows to publish anything; empty if there are enough."""
        if self._source is not None and not self._here.is_full:
            self._look(self._source)
        least = self.floors.rows
        return "" if self._source is None or self._here.is_full else f"{len(self._here)} of {least} distinct rows"

    def why_held_back(self) -> str:
        """Return why nothing may be published now, with numbers; empty if it may."""
        if why := self.lacks_rows():
            return why
        if self._source is not None:
            if not self._drawn.is_full:
                drawn, least = len(self._drawn), self.floors.rows
                return f"{drawn} of {least} distinct rows drawn since the last update or merge"
            if self._draws < self.floors.draws:
                return f"{self._draws} of {self.floors.draws} rows drawn since the last update or merge"
        return "" if self._has_merged else "nothing of others was merged yet"

    @property
    def wants_more(self) -> bool:
        """Return True if training on, without a merge, leads above the floor."""
        if self._source is None or self.lacks_rows():
            return False
        is_hopeless = self._draws >= _HOPELESS * max(self.floors.rows, self.floors.draws, len(self._source.rows))
        return not is_hopeless and not (self._drawn.is_full and self._draws >= self.floors.draws)

    def _look(self, source: DrawnRows) -> None:
        """Take in rows that were written since the last look, some at a time; none is missed for ever."""
        rows, written = source.rows, source.written
        if not len(rows) or self._looked >= written:
            return
        first = max(self._looked, written - len(rows))
        until = min(written, first + _AT_ONCE)
        # written - len(rows) is in the first place of an array that has never been full, and of one that was adopted
        self._here.add(rows[np.arange(first, until) % len(rows)])
        self._looked = until

    def _note_drawn(self, indices: NDArray[np.integer[Any]]) -> None:
        assert self._source is not None
        self._draws += len(indices)
        rows = self._source.rows
        for start in range(0, len(indices), _AT_ONCE):
            if self._drawn.is_full:
                return
            self._drawn.add(rows[unique(indices[start : start + _AT_ONCE])])
