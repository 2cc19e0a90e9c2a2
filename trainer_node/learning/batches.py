"""The order in which rows are trained on: every row once before any is repeated (random reshuffling)."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int32]


class Batches:
    """Hands out batches of row numbers; a batch at the end of a pass goes on with the next pass.

    All batches have one size, so that compiled code sees one shape.
    """

    def __init__(self, batch: int, rng: np.random.Generator) -> None:
        self._batch = batch
        self._rng = rng
        self._order: Indices = np.empty(0, np.int32)
        self._position = 0

    def take(self, steps: int, rows: int) -> Indices:
        """Return the next (steps, batch) numbers below ``rows``; another number of rows begins a new pass."""
        if rows != len(self._order):
            self._shuffle(rows)
        chosen = np.empty(steps * self._batch, np.int32)
        filled = 0
        while filled < len(chosen):
            if self._position == rows:
                self._shuffle(rows)
            part = self._order[self._position : self._position + len(chosen) - filled]
            chosen[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return chosen.reshape(steps, self._batch)

    def _shuffle(self, rows: int) -> None:
        self._order = np.arange(rows, dtype=np.int32)
        self._rng.shuffle(self._order)
        self._position = 0
