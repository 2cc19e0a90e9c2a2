"""JSON lines: an object a line, its keys the columns."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.tables.compression import opened
from learnae.tables.lines import Lines
from learnae.tables.numbers import quoted
from learnae.tables.table import HEAD_ROWS, Kind, Piece, Table, Where, of_objects

_log = logging.getLogger(__name__)

_NAMING_ROWS = 1000  # whose keys are the columns
_PIECE_ROWS = 2000
_MOST_CHARACTERS = 1 << 23  # of lines that are in memory together, and one more

Row = tuple[int, dict[str, object]]


class JsonLines(Table):
    """Keys that a line lacks are empty fields; keys that the first thousand lines lack are passed over, and said.

    So are lines with zeros in them, which a power cut leaves where something is written on.
    """

    unit = "line"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index_names: list[str] = []
        with opened(path) as (data, raw):
            lines = Lines(path, data, raw)
            first = _some(self._rows(lines), lines, _NAMING_ROWS)
        self._head = [row for _, row in first[:HEAD_ROWS]]
        self.names = list(dict.fromkeys(name for _, row in first for name in row))
        if not self.names:
            raise DataError(f"{path} has no line with a key", 'give lines such as {"time": 0.1, "x": 1.5}')

    @override
    def head(self) -> Mapping[str, Sequence[object]]:
        return {name: [row.get(name) for row in self._head] for name in self.names}

    @override
    def pieces(self, wanted: Sequence[tuple[str, Kind]]) -> Iterator[Piece]:
        known, unknown = set(self.names), set[str]()
        with opened(self.path) as (data, raw):
            lines = Lines(self.path, data, raw)
            rows = self._rows(lines)
            while piece := _some(rows, lines, _PIECE_ROWS):
                numbers = np.array([number for number, _ in piece], np.int64)
                values = np.empty((len(piece), len(wanted)))
                for column, (name, kind) in enumerate(wanted):
                    where = Where(self.path, "line", numbers, name)
                    fields = [row.get(name) for _, row in piece]
                    _check_plain(fields, where)
                    values[:, column] = of_objects(fields, kind, where)
                unknown.update(name for _, row in piece for name in row if name not in known)
                yield Piece(values, numbers, lines.done)
        if unknown:
            _log.warning("%s: keys that are not in its first lines are left out: %s", self.path, sorted(unknown)[:8])

    def _rows(self, lines: Lines) -> Iterator[Row]:
        for line in lines:
            if not line.strip():
                continue
            if "\0" in line:
                _log.warning("%s: line %d has zeros, as after a power cut: passed over", self.path, lines.number)
                continue
            try:
                row = json.loads(line, object_pairs_hook=_unique)
            except (ValueError, RecursionError) as error:
                if lines.is_cut and not lines.has_waiting:
                    _log.warning("%s: line %d is cut off, as after a power cut: passed over", self.path, lines.number)
                    return
                problem = f"{self.path}, line {lines.number} is no JSON: {error}: {quoted(line.strip())}"
                raise DataError(problem, "give an object a line") from error
            if not isinstance(row, dict):
                raise DataError(f"{self.path}, line {lines.number}: {quoted(line.strip())}", "give an object a line")
            yield lines.number, row


def _some(rows: Iterator[Row], lines: Lines, most: int) -> list[Row]:
    """Return the next rows, at most ``most``, fewer of long lines: a value can be as long as one."""
    found: list[Row] = []
    begun = lines.characters
    for row in rows:
        found.append(row)
        if len(found) == most or lines.characters - begun > _MOST_CHARACTERS:
            break
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"a key is there twice: {', '.join(name for name, _ in pairs)[:200]}")
    return row


def _check_plain(fields: Sequence[object], where: Where) -> None:
    for index, field in enumerate(fields):
        if isinstance(field, dict | list):
            raise DataError(f"{where.at(index)}: {quoted(json.dumps(field))}", "give numbers and texts")
