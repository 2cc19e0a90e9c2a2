"""Tables of any kind: the columns that a swarm's model takes from them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from learnae.errors import DataError
from trainer_node.datasets.chunks import Array, Chunk

log = logging.getLogger("learnae")

_HEPMASS = [f"f{number}" for number in range(27)]
_NUMBERED = re.compile(r"(.*?)(\d{1,9})", re.ASCII)


class Piece(NamedTuple):
    """Some rows ``values`` (n, columns) float64, NaN where a field is no number; ``done`` is the share read."""

    values: Array
    done: float


class Table(Protocol):
    """A file of named columns."""

    path: Path
    names: list[str]

    def pieces(self, wanted: Sequence[str]) -> Iterator[Piece]:
        """The columns ``wanted``, in this order; float32 would make a class of 0.99999999. Raises DataError."""


class Columns:
    """Which columns of a table are features, and which is the target; raises DataError.

    All but the column ``label`` are features, in their order; but columns whose names differ in their numbers
    alone go by these, as sorted by name f10 comes before f2. An ``autoencoder`` needs no such column: its rows
    are the targets. A table with exactly one more, whose last is
    called ``mass``, is a HEPMASS file (Baldi et al. 2016, UCI): the columns are the label, 27
    features and, in some of the files, the mass that the simulated signal was made with. That is
    no measurement, and a model of 27 inputs is trained without it; one of 28 gets it.
    """

    def __init__(
        self, path: Path, header: Sequence[str], label: str, inputs: tuple[int, ...], autoencoder: bool = False
    ) -> None:
        if label not in header and not autoencoder:
            raise DataError(
                f"{path} has no column {label!r}; it has {_shown(header)}", "set data.label to the column of the target"
            )
        self.targets = [] if autoencoder else [label]
        names = [name for name in header if name != label]
        if len(names) == inputs[0] + 1 and header[-1] == "mass" != label:
            names.pop()
        if not names:
            raise DataError(f"{path} has no column but {label!r}", "one column a feature is needed")
        if inputs != (len(names),):
            raise DataError(
                f"{path} has {len(names)} feature columns ({_shown(names)})", f"the swarm's model takes {inputs}"
            )
        absent = [name for name in _HEPMASS if name not in names]
        if "mass" in names and len(names) == len(_HEPMASS) and len(absent) == 1:
            raise DataError(f"{path} has no column {absent[0]}", "mass is no measurement, and does not replace it")
        self.names = _by_number(names)
        if self.names != names:
            log.info("%s: features are taken in the order of their numbers: %s", path.name, _shown(self.names))


def _by_number(names: list[str]) -> list[str]:
    parts = [_NUMBERED.fullmatch(name) for name in names]
    if not all(parts) or len({part[1] for part in parts if part}) > 1:
        return names
    numbers = {name: int(part[2]) for name, part in zip(names, parts, strict=True) if part}
    return sorted(names, key=numbers.__getitem__)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:40])


class TableSource:
    """chunks.Source over a table: one row an example. Raises DataError."""

    def __init__(self, table: Table, label: str, inputs: tuple[int, ...], autoencoder: bool = False) -> None:
        self.path = table.path
        self._table = table
        self._columns = Columns(table.path, table.names, label, inputs, autoencoder)
        self.names = [*self._columns.names, *self._columns.targets]

    def chunks(self) -> Iterator[Chunk]:
        """All rows."""
        columns = self._columns
        for values, done in self._table.pieces(self.names):
            rows = values[:, : len(columns.names)]
            yield Chunk(rows, values[:, -1] if columns.targets else rows, None, done)
