"""Numbers of a file that are missing, or that float32 rounds, and where they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import one_line_each
from learnae.samples.files.source import Array, Chunk

_EXACT = 1 << 24  # up to here float32 has every whole number


class DataQuality:
    """Counts fields that are no numbers, and numbers beyond 2^24 that float32 rounds.

    Such as seconds since 1970, which all become multiples of 128. ``names`` are those of the features' columns,
    perhaps of the target's; without any, rows and targets are counted as the arrays x and y.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = [f"column {name!r}" for name in names] or ["array x", "array y"]
        self._are_columns = bool(names)
        self._missing: Array = np.zeros(len(self._places), np.int64)
        self._rounded: Array = np.zeros_like(self._missing)

    def add(self, chunk: Chunk) -> None:
        """Count the faults of a chunk as the file has it, before any row is left out."""
        self._count(chunk.rows, 0)
        if chunk.targets is not chunk.rows:
            self._count(chunk.targets, len(self._places) - 1)

    def _count(self, array: Array, first: int) -> None:
        flat = one_line_each(array)
        places, axis = (
            (slice(first, first + flat.shape[1]), 0) if self._are_columns else (slice(first, first + 1), None)
        )
        self._missing[places] += np.count_nonzero(~np.isfinite(flat), axis=axis)
        if not np.can_cast(flat.dtype, np.float32):
            self._rounded[places] += np.count_nonzero(_is_rounded(flat), axis=axis)

    @property
    def worst(self) -> str:
        """Name the column with the most fields that are no numbers; empty if there are none."""
        return self._where(self._missing)

    @property
    def rounded(self) -> str:
        """Name the column with the most numbers that are rounded; empty if there are none."""
        return self._where(self._rounded)

    def _where(self, counts: Array) -> str:
        return self._places[int(counts.argmax())] if counts.any() else ""


def _is_rounded(values: Array) -> NDArray[np.bool_]:
    with np.errstate(over="ignore"):  # what float32 cannot hold is left out and counted elsewhere
        single = values.astype(np.float32)
    return (abs(values) > _EXACT) & np.isfinite(single) & (single != values)
