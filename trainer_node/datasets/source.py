"""How every reader hands over a file: piece by piece, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
CHUNK_BYTES = 1 << 20  # of rows: large enough for NumPy to be fast, nothing beside the data


class Chunk(NamedTuple):
    """``rows`` (n, *input) and ``targets`` (n, ...) numbers, NaN where a field is none.

    ``held_out`` is None where the reader does not know; ``done`` is the share of the file read, up to 1.
    """

    rows: Array
    targets: Array
    held_out: bool | None
    done: float


class Source(Protocol):
    """A file of examples."""

    path: Path
    names: list[str]  # of the features, perhaps of the target, for what is reported; empty where they have none

    def chunks(self) -> Iterator[Chunk]:
        """All rows in the file's order. Raises DataError."""
