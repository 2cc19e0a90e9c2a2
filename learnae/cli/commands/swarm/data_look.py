"""A first look into a table, before anything is trained on it: rows, classes, and what is missing."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.cli.progress import reading
from learnae.errors import DataError
from learnae.samples.columns import USUAL_COLUMNS
from learnae.samples.recordings import label_kind
from learnae.samples.time_column import check_rate, seconds_of, time_column
from learnae.swarm.manifest import Manifest
from learnae.tables.arrays import Arrays
from learnae.tables.forms import normal_form
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers, is_missing
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.table import Floats, Kind, Piece, Table, Where
from learnae.tables.time_units import AUTO
from learnae.tables.times import Times
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
        self.expected = kind.expected
        self._kind = kind

    @override
    def plain(self, text: str) -> float:
        raise ValueError  # every field is to be seen

    @override
    def accept(self, values: Floats, where: Where) -> Floats:
        return values

    @override
    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        return self._counted(texts, self._kind.of_texts(texts, where))

    @override
    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        return self._counted(map(str, values.tolist()), self._kind.of_array(values, where))

    def _counted(self, texts: Iterable[str], values: Floats) -> Floats:
        for text, is_none in zip(texts, np.isnan(values).tolist(), strict=True):  # a class may be called "none"
            form = normal_form(text)
            if not (is_none and is_missing(form)) and (form in self.counts or len(self.counts) < _MOST_LABELS):
                self.counts[form] += 1
        return values


def look_into(path: Path, label: str, manifest: Manifest) -> Look | None:
    """Look into a table of the swarm of ``manifest``; None for NumPy's arrays. Raises DataError."""
    if is_called_arrays(path):
        Arrays(path)
        return None
    table = open_table(path)
    notes = _missing(table, label, manifest)
    kind = label_kind(manifest)
    counted_labels = Counted(kind)
    rows, more, seen = 0, False, set[float]()
    names = [name for name in _swarms_columns(manifest) if name != label and name in table.names]
    wanted: list[tuple[str, Kind]] = [(name, Numbers()) for name in names]
    if label in table.names:
        wanted.insert(0, (label, counted_labels))
    times = _TimesLook(table, [*names, label], manifest)
    for piece in reading(path.name, table.pieces([*wanted, *times.wanted])):
        if more := rows >= _MOST_ROWS:
            break
        rows += len(piece.values)
        times.add(piece)
        if manifest.class_count and label in table.names:
            seen.update(np.unique(piece.values[np.isfinite(piece.values[:, 0]), 0]).tolist())
    if not rows:
        notes.append("the table has no row")
    notes += times.notes()
    if isinstance(kind, Classes) and counted_labels.counts:
        notes += _strange(kind, seen, path, manifest, more)
    return Look(rows, more, dict(counted_labels.counts) if manifest.class_count else {}, notes)


class _TimesLook:
    """The times of a raw recording, read as those who learn from it read them."""

    def __init__(self, table: Table, used: Sequence[str], manifest: Manifest) -> None:
        self.wanted: list[tuple[str, Kind]] = []
        self._table = table
        self._times = Times()
        self._read: list[Floats] = []
        self._places: list[NDArray[np.int64]] = []
        self._uncertain = ""
        self._rate = manifest.features.rate if manifest.features else 0.0
        if manifest.features is None or not set(manifest.features.channels) <= set(table.names):
            return
        try:
            column = time_column(table.head(), used, USUAL_COLUMNS, self._rate, str(table.path))
        except DataError as error:
            self._uncertain = _without(table.path, error)
            return
        self.wanted = [(column, self._times)] if column else []

    def add(self, piece: Piece) -> None:
        """Take the last column of a piece."""
        if self.wanted:
            self._read.append(piece.values[:, -1])
            self._places.append(piece.numbers)

    def notes(self) -> list[str]:
        """Say what cannot be learnt from as it stands; the configuration may settle it."""
        if not self._read:
            return [self._uncertain] if self._uncertain else []
        where = Where(self._table.path, self._table.unit, np.concatenate(self._places), self.wanted[0][0])
        try:
            check_rate(seconds_of(np.concatenate(self._read), self._times, AUTO, self._rate, where), self._rate, where)
        except DataError as error:
            return [_without(self._table.path, error)]
        return []


def _without(path: Path, error: DataError) -> str:
    """Return what an error says after the path, which is named before each note."""
    return str(error).removeprefix(str(path)).lstrip(",: ")


def _swarms_columns(manifest: Manifest) -> Sequence[str]:
    """Return the columns that the swarm names: a recording's channels, or those of rows."""
    return manifest.features.channels if manifest.features else manifest.columns


def _missing(table: Table, label: str, manifest: Manifest) -> list[str]:
    names = table.names
    notes, rest = [], [name for name in names if name != label]
    wanted = _swarms_columns(manifest)
    absent = [name for name in wanted if name not in names]
    if manifest.features and len(absent) == len(wanted):
        absent = []  # rows of features that were made elsewhere
    if absent:
        notes.append(f"columns of the swarm are missing: {shortly(absent)}; there are {shortly(rest)}")
    if manifest.needs_labels and label not in names:
        notes.append(f"there is no column {label!r}: name the labels' with --label, one of {shortly(names)}")
    count = math.prod(manifest.model.input_shape)
    if not wanted and len(rest) != count:
        notes.append(f"beside {label!r} there are {counted(len(rest), 'column')}; the swarm's model takes {count}")
    return notes


def _strange(kind: Classes, seen: Collection[float], path: Path, manifest: Manifest, more: bool) -> list[str]:
    notes = []
    try:
        kind.check(str(path))
    except DataError as error:
        notes.append(_without(path, error))
    if kind.complaint:
        there_are = shortly(manifest.classes) or f"numbers from 0 to {manifest.class_count - 1}"
        notes.append(f"{kind.complaint}; there are {there_are}")
    absent = [number for number in range(manifest.class_count) if number not in seen]
    if absent and not more:
        names = [manifest.classes[number] if manifest.classes else str(number) for number in absent]
        notes.append(f"no row is of class {shortly(names)}: other members may have some")
    return notes
