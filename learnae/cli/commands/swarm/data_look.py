"""A first look into a table, before anything is trained on it: rows, classes, and what is missing."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from learnae.cli.commands.swarm.table_fields import fields_of, is_table, names_of
from learnae.overriding import override
from learnae.samples.table_headers import is_number
from learnae.swarm.manifest import Manifest
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


def look_into(path: Path, label: str, manifest: Manifest) -> Look | None:
    """Look into a table of the swarm of ``manifest``; None for a file of another kind. Raises DataError."""
    if not is_table(path):
        return None
    names = names_of(path)
    notes = _missing(names, label, manifest)
    labels: Counter[str] = Counter()
    rows, more = 0, False
    with closing(fields_of(path, names, [label])) as found:
        for (text,) in islice(found, _MOST_ROWS):
            rows += 1
            if text and len(labels) <= _MOST_LABELS:
                labels[text] += 1
        more = next(found, _END) is not _END
    classes = dict(labels) if manifest.class_count else {}
    if not rows:
        notes.append("the table has no row")
    if classes:
        notes += _strange(classes, manifest, more)
    return Look(rows, more, classes, notes)


_END = object()


def _missing(names: Sequence[str], label: str, manifest: Manifest) -> list[str]:
    notes, rest = [], [name for name in names if name != label]
    wanted = manifest.features.channels if manifest.features else manifest.columns
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


def _strange(classes: dict[str, int], manifest: Manifest, more: bool) -> list[str]:
    notes = []
    known = {name: number for number, name in enumerate(manifest.classes)}
    numbers = {known[text] if text in known else _number(text, manifest.class_count): text for text in classes}
    if None in numbers:
        unknown = [text for text in classes if text not in known and _number(text, manifest.class_count) is None]
        there_are = shortly(manifest.classes) or f"numbers from 0 to {manifest.class_count - 1}"
        notes.append(f"labels that are no class of the swarm: {shortly(unknown)}; there are {there_are}")
    absent = [number for number in range(manifest.class_count) if number not in numbers]
    if absent and not more:
        names = [manifest.classes[number] if manifest.classes else str(number) for number in absent]
        notes.append(f"no row is of class {shortly(names)}: other members may have some")
    return notes


def _number(text: str, count: int) -> int | None:
    if not is_number(text):
        return None
    value = float(text)
    return int(value) if value.is_integer() and 0 <= value < count else None
