"""A first look into a table, before anything is trained on it: rows, classes, and what is missing."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.overriding import override
from learnae.samples.recordings import label_kind
from learnae.samples.time_column import USUAL_COLUMNS, time_column
from learnae.swarm.manifest import Manifest
from learnae.tables.labels import Classes, normal_form
from learnae.tables.numbers import Numbers, is_missing
from learnae.tables.opening import is_called_table, open_table
from learnae.tables.table import Floats, Kind, Table, Where
from learnae.text import counted, shortly

_MOST_ROWS = 200_000  # that are looked at: some seconds of a board
_MOST_LABELS = 1 << 10  # beyond so many, they are no classes


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: ``rows``, and whether there are ``more``; rows by label; ``notes`` on what does not fit."""

    rows: int = 0
    more: bool = False
    classes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @override
    def __str__(self) -> str:
        """Say it in one line."""
        said = f"{'more than ' if self.more else ''}{self.rows:,} rows"
        if self.classes:
            each = [f"{name} {count:,}" for name, count in sorted(self.classes.items())]
            said += f", {counted(len(each), 'class', 'classes')}: {shortly(each)}"
        return said


class Counted(Kind):
    """Reads fields as another kind does, and counts them in their normal form, up to a number of different ones."""

    def __init__(self, kind: Kind) -> None:
        self.counts: Counter[str] = Counter()
        self._kind = kind

    @override
    def plain(self, text: str) -> float:
        raise ValueError  # every field is to be seen

    @override
    def accept(self, values: Floats, where: Where) -> Floats:
        return values

    @override
    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        self._count(texts)
        return self._kind.of_texts(texts, where)

    @override
    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        self._count(map(str, values.tolist()))
        return self._kind.of_array(values, where)

    def _count(self, texts: Iterable[str]) -> None:
        for text in texts:
            form = normal_form(text)
            if not is_missing(form) and (form in self.counts or len(self.counts) < _MOST_LABELS):
                self.counts[form] += 1


def look_into(path: Path, label: str, manifest: Manifest) -> Look | None:
    """Look into a table of the swarm of ``manifest``; None for a file of another kind. Raises DataError."""
    if not is_called_table(path.name):
        return None
    table = open_table(path)
    notes = _missing(table, label, manifest)
    kind = label_kind(manifest)
    counted_labels = Counted(kind)
    rows, more, seen = 0, False, set[float]()
    wanted = (label, counted_labels) if label in table.names else (table.names[0], Numbers())
    for piece in table.pieces([wanted]):
        if more := rows >= _MOST_ROWS:
            break
        rows += len(piece.values)
        if manifest.class_count:
            seen.update(np.unique(piece.values[np.isfinite(piece.values)]).tolist())
    if not rows:
        notes.append("the table has no row")
    if isinstance(kind, Classes) and counted_labels.counts:
        notes += _strange(kind, seen, path, manifest, more)
    return Look(rows, more, dict(counted_labels.counts) if manifest.class_count else {}, notes)


def _missing(table: Table, label: str, manifest: Manifest) -> list[str]:
    names = table.names
    notes, rest = [], [name for name in names if name != label]
    wanted = manifest.features.channels if manifest.features else manifest.columns
    absent = [name for name in wanted if name not in names]
    if manifest.features and len(absent) == len(wanted):
        absent = []  # rows of features that were made elsewhere
    elif manifest.features and not absent:
        notes += _uncertain_times(table, [*wanted, label], manifest.features.rate)
    if absent:
        notes.append(f"columns of the swarm are missing: {shortly(absent)}; there are {shortly(rest)}")
    if manifest.needs_labels and label not in names:
        notes.append(f"there is no column {label!r}: name the labels' with --label, one of {shortly(names)}")
    count = math.prod(manifest.model.input_shape)
    if not wanted and len(rest) != count:
        notes.append(f"beside {label!r} there are {counted(len(rest), 'column')}; the swarm's model takes {count}")
    return notes


def _uncertain_times(table: Table, used: Sequence[str], rate: float) -> list[str]:
    try:
        time_column(table.head(), used, USUAL_COLUMNS, rate, str(table.path))
    except DataError as error:
        return [str(error)]
    return []


def _strange(kind: Classes, seen: Collection[float], path: Path, manifest: Manifest, more: bool) -> list[str]:
    notes = []
    try:
        kind.check(str(path))
    except DataError as error:
        notes.append(str(error))
    if kind.complaint:
        there_are = shortly(manifest.classes) or f"numbers from 0 to {manifest.class_count - 1}"
        notes.append(f"{kind.complaint}; there are {there_are}")
    absent = [number for number in range(manifest.class_count) if number not in seen]
    if absent and not more:
        names = [manifest.classes[number] if manifest.classes else str(number) for number in absent]
        notes.append(f"no row is of class {shortly(names)}: other members may have some")
    return notes
