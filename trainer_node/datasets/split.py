"""Which rows are held out: the last share of each class, or of all rows where targets are no classes."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import unique
from learnae.models.dataset import one_line_each
from learnae.samples.files.source import Array


class Split:
    """Holds out the share ``holdout``, at most ``max_rows``, in two equal passes: ``count``, then ``held_out``."""

    def __init__(self, holdout: float, by_class: bool, max_rows: int) -> None:
        self._holdout = holdout
        self._by_class = by_class
        self._max_rows = max_rows
        self._counts: Counter[float] = Counter()
        self._passed: Counter[float] = Counter()

    def count(self, targets: Array) -> None:
        """Count ``targets`` (n, ...) by class."""
        for group, number in zip(*np.unique(self._groups(targets), return_counts=True), strict=True):
            self._counts[float(group)] += int(number)

    def held_out(self, targets: Array) -> NDArray[np.bool_]:
        """Return the mask (n,) of the next ``targets`` that are held out."""
        groups = self._groups(targets)
        result = np.zeros(len(groups), np.bool_)
        share = min(self._holdout, self._max_rows / max(self._counts.total(), 1))
        for value in unique(groups):
            group = float(value)
            members = np.flatnonzero(groups == value)
            kept = round(self._counts[group] * (1 - share)) - self._passed[group]
            result[members[max(kept, 0) :]] = True
            self._passed[group] += len(members)
        return result

    def _groups(self, targets: Array) -> Array:
        flat = one_line_each(targets)
        return flat[:, 0] if self._by_class and flat.shape[1] == 1 else np.zeros(len(flat), np.int8)
