"""Tables of any kind: the columns that a swarm's model takes from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike

from learnae.errors import DataError
from trainer_node.datasets.chunks import Array, Chunk


class Piece(NamedTuple):
    """Some rows ``values`` (n, columns), NaN where a field is no number; ``done`` is the share of the file read."""

    values: Array
    done: float


class Table(Protocol):
    """A file of named columns."""

    path: Path
    names: list[str]

    def pieces(self, wanted: Sequence[str], dtype: DTypeLike) -> Iterator[Piece]:
        """The columns ``wanted``, in this order, in ``dtype`` or a wider type. Raises DataError."""


class Columns:
    """Which columns of a table are features, and which is the target; raises DataError.

    All but the column ``label`` are features, in their order. An ``autoencoder`` needs no such column: its rows
    are the targets. A table with exactly one more, whose last is
    called ``mass``, is a HEPMASS file (Baldi et al. 2016, UCI): the columns are the label, 27
    features and, in some of the files, the mass that the simulated signal was made with. That is
    no measurement, and a model of 27 inputs is trained without it; one of 28 gets it.
    """

    def __init__(
        self, path: Path, header: Sequence[str], label: str, inputs: tuple[int, ...], autoencoder: bool = False
    ) -> None:
        if label not in header and not autoencoder:
            raise DataError(f"{path} has no column {label!r}", "set data.label to the column of the target")
        self.targets = [] if autoencoder else [label]
        names = [name for name in header if name != label]
        if len(names) == inputs[0] + 1 and header[-1] == "mass" != label:
            names.pop()
        if not names:
            raise DataError(f"{path} has no column but {label!r}", "one column a feature is needed")
        if inputs != (len(names),):
            shown = ", ".join(names[:40])
            raise DataError(f"{path} has {len(names)} feature columns ({shown})", f"the swarm's model takes {inputs}")
        self.names = names


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
        for values, done in self._table.pieces(self.names, np.float32):
            rows = values[:, : len(columns.names)]
            yield Chunk(rows, values[:, -1] if columns.targets else rows, None, done)
