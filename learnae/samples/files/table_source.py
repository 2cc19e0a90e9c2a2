"""Tables as examples: the columns that a swarm's model takes from them."""

import logging
import re
from collections.abc import Iterator

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.samples.columns import Columns
from learnae.samples.files.source import Chunk, Source
from learnae.samples.recordings import label_kind
from learnae.swarm.manifest import Manifest
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.table import Kind, Table
from learnae.text import shown

_log = logging.getLogger(__name__)

_HEPMASS = [f"f{number}" for number in range(27)]
_NUMBERED = re.compile(r"(.*?)(\d{1,9})", re.ASCII)


class TableSource(Source):
    """A table's rows: one an example; ``columns`` names that of the target, and perhaps one of times, which no row
    needs. Raises DataError.

    An autoencoder needs no target: its rows are the targets.
    """

    def __init__(self, table: Table, columns: Columns, manifest: Manifest) -> None:
        label = columns.label
        if label not in table.names and not manifest.is_autoencoder:
            raise DataError(
                f"{table.path} has no column {label!r}; it has {shown(table.names)}",
                "set data.label (or --label) to the column of the target",
            )
        self.path = table.path
        self._table = table
        self._inputs = manifest.model.input_shape
        self._features = (
            _named(table, label, manifest) if manifest.columns else _as_they_stand(table, columns, manifest)
        )
        self._targets = [] if manifest.is_autoencoder else [label]
        self.names = [*self._features, *self._targets]
        self._numbers, self._labels = Numbers(), label_kind(manifest)

    @override
    def chunks(self) -> Iterator[Chunk]:
        wanted: list[tuple[str, Kind]] = [(name, self._numbers) for name in self._features]
        wanted += [(name, self._labels) for name in self._targets]
        for values, _, done in self._table.pieces(wanted):
            rows = values[:, : len(self._features)].reshape(len(values), *self._inputs)
            yield Chunk(rows, values[:, -1] if self._targets else rows, None, done)
        if self._targets and isinstance(self._labels, Classes):
            self._labels.check(f"{self.path}, column {self._targets[0]!r}")

    @property
    @override
    def complaint(self) -> str:
        labels = self._labels.complaint if isinstance(self._labels, Classes | Numbers) and self._targets else ""
        return "; ".join(filter(None, (self._numbers.complaint, labels)))


def _named(table: Table, label: str, manifest: Manifest) -> list[str]:
    """Return the swarm's columns, wherever they are in the table; other columns are left out."""
    columns, path = manifest.columns, table.path
    if label in columns and not manifest.is_autoencoder:
        raise DataError(
            f"{path}: the target {label!r} is one of the swarm's columns", "set data.label (or --label) to another one"
        )
    known, there = {*columns, label}, set(table.names)
    others = [name for name in table.names if name not in known]
    absent = [name for name in columns if name not in there]
    if absent:
        raise DataError(
            f"{path} has no column {shown(absent)}; besides the swarm's it has {shown(others) or 'none'}",
            f"name the columns as the swarm does: {shown(columns)}",
        )
    if others:
        _log.info("%s: columns that the swarm does not name are left out: %s", path.name, shown(others))
    return list(columns)


def _as_they_stand(table: Table, columns: Columns, manifest: Manifest) -> list[str]:
    """Return all columns but those of target and times, in their order, for a swarm that names none.

    Columns whose names differ in their numbers alone go by these, as sorted by name f10 comes before f2. A table
    with exactly one more, whose last is called ``mass``, is a HEPMASS file (Baldi et al. 2016, UCI): the columns are
    the label, 27 features and, in some of the files, the mass that the simulated signal was made with. That is
    no measurement, and a model of 27 inputs is trained without it; one of 28 gets it.
    """
    path, inputs = table.path, manifest.model.input_shape
    label = columns.label
    names = [name for name in table.names if name not in (label, columns.time)]
    if len(names) == inputs[0] + 1 and table.names[-1] == "mass" != label:
        names.pop()
    if not names:
        raise DataError(f"{path} has no column but {label!r}", "one column a feature is needed")
    if inputs != (len(names),):
        raise DataError(
            f"{path} has {len(names)} feature columns ({shown(names)})", f"the swarm's model takes {inputs}"
        )
    absent = [name for name in _HEPMASS if name not in names]
    if "mass" in names and len(names) == len(_HEPMASS) and len(absent) == 1:
        raise DataError(f"{path} has no column {absent[0]}", "mass is no measurement, and does not replace it")
    in_order = _by_number(names)
    if in_order != names:
        _log.info("%s: features are taken in the order of their numbers: %s", path.name, shown(in_order))
    return in_order


def _by_number(names: list[str]) -> list[str]:
    parts = [_NUMBERED.fullmatch(name) for name in names]
    if not all(parts) or len({part[1] for part in parts if part}) > 1:
        return names
    numbers = {name: int(part[2]) for name, part in zip(names, parts, strict=True) if part}
    return sorted(names, key=numbers.__getitem__)
