"""Files as streams of rows: piece by piece, so that memory does not grow with the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from learnae.tables.arrays import MEMORY_BYTES
from learnae.tables.lines import BLOCK_BYTES

Array = NDArray[Any]
CHUNK_BYTES = 1 << 18  # of rows: large enough for NumPy to be fast, nothing beside the data


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """How much is read at a time, and kept."""

    chunk_bytes: int = CHUNK_BYTES
    text_bytes: int = BLOCK_BYTES
    file_bytes: int = 1 << 24  # below, a file is parsed in seconds, and no rows of it are kept on disk
    array_bytes: int = MEMORY_BYTES
    array_rows: int = 512  # at least, of a larger one at once: wide ones would be read number by number
    windows: int = 1 << 20  # of a recording: those are in memory
    holdout_rows: int = 1 << 18  # tell accuracies a tenth of a point apart, and are evaluated after each update


USUAL_LIMITS = ReadingLimits()


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
        """Yield all rows in the file's order. Raises DataError."""

    @property
    def complaint(self) -> str:
        """Say what was found in place of numbers and classes; empty until all is read, or if nothing was."""
