"""What a table is to those who read it: named columns, streamed in pieces of float64."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEAD_ROWS = 50  # that tell what a column holds


@dataclass(frozen=True, slots=True)
class Where:
    """Where values of a ``column`` come from: ``numbers`` (n,) of the file's lines or rows, as ``unit`` says."""

    path: Path
    unit: str
    numbers: Sequence[int] | NDArray[np.int64]
    column: str

    def at(self, index: int) -> str:
        """Name the place of one value."""
        return f"{self.path}, {self.unit} {self.numbers[index]}, column {self.column!r}"


class Kind(Protocol):
    """How the fields of a column become numbers: NaN where a field says nothing. ``expected`` says which it reads."""

    expected: str

    def plain(self, text: str) -> float:
        """Return what a field says; raises ValueError where only ``of_texts`` knows what to do with it."""

    def accept(self, values: Floats, where: Where) -> Floats:
        """Take note of what ``plain`` has returned."""

    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        """Return what the fields say. Raises DataError that names the place."""

    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        """Return what numbers, booleans, times or texts (n,) say. Raises DataError."""


class Piece(NamedTuple):
    """Some rows ``values`` (n, columns); ``numbers`` (n,) of their lines or rows; the share ``done`` of the file."""

    values: Floats
    numbers: NDArray[np.int64]
    done: float


class Table(Protocol):
    """A file of named columns."""

    path: Path
    names: list[str]
    index_names: list[str]  # of columns that pandas adds: never features, perhaps times
    unit: str  # what ``Piece.numbers`` count

    def head(self) -> Mapping[str, Sequence[object]]:
        """Return the first fields of each column, at most HEAD_ROWS. Raises DataError."""

    def pieces(self, wanted: Sequence[tuple[str, Kind]]) -> Iterator[Piece]:
        """Yield these columns, in this order. Raises DataError, also for lines with too many or too few fields."""


def of_objects(values: Sequence[object], kind: Kind, where: Where) -> Floats:
    """Return what values of any type say, as a file of typed values has them; None is an empty field."""
    if all(type(value) in (int, float) for value in values):
        try:
            return kind.of_array(np.array(values, np.float64), where)
        except OverflowError:  # a whole number beyond all floats
            pass
    return kind.of_texts(["" if value is None else str(value) for value in values], where)
