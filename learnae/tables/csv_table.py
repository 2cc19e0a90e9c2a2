"""CSV files as people and their programs write them, packed or not, streamed."""

import csv
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.tables import lines as text
from learnae.tables.compression import opened
from learnae.tables.dialect import COMMENT, Dialect, read_dialect
from learnae.tables.lines import Lines
from learnae.tables.numbers import WITH_COMMA, WITH_POINT, Numbers, quoted
from learnae.tables.table import Kind, Piece, Table, Where
from learnae.text import counted

_log = logging.getLogger(__name__)

_Converters = dict[int | str, Callable[[str], float]]  # as NumPy's parser takes them, by column
_SLOW = ('"', "\0", f"\n{COMMENT}", f"\r{COMMENT}")  # what Python's parser has to see
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_DECIMALS = re.compile(r"\s*[+-]?\d*[.,](\d+)\s*")
_BEGUN = re.compile(r"\s*[+-]?\d*[.,]?(\d*)\s*")
_CUT_OFF = "{} passed over at the end that is cut off, as after a power cut"
_SOME_LINES = 100  # whose last fields tell how many decimals one has
_MIN_LINES = 3  # of them, and the most that a quotation mark without end may take with it


class CsvTable(Table):
    """A table with a header line (RFC 4180, and what else is common: see docs/tasks.md)."""

    unit = "line"

    def __init__(self, path: Path, block_bytes: int = text.BLOCK_BYTES) -> None:
        self.path = path
        self.index_names: list[str] = []
        self._block_bytes = block_bytes
        with self._opened() as (_, dialect):
            self._dialect = dialect
        self.names = dialect.names

    @override
    def head(self) -> Mapping[str, Sequence[object]]:
        return {name: [row[place] for row in self._dialect.head] for place, name in enumerate(self.names)}

    @override
    def pieces(self, wanted: Sequence[tuple[str, Kind]]) -> Iterator[Piece]:
        with self._opened() as (lines, dialect):
            if dialect.names != self.names:
                raise DataError(f"{self.path} has changed while it was read", "start again once it is complete")
            yield from _Reading(self.path, dialect, lines, wanted).pieces()

    @contextmanager
    def _opened(self) -> Iterator[tuple[Lines, Dialect]]:
        with opened(self.path) as (data, raw):
            lines = Lines(self.path, data, raw, self._block_bytes)
            yield lines, read_dialect(self.path, lines)


class _Reading:
    """One pass over the rows of a file, of which some columns are ``wanted``."""

    def __init__(self, path: Path, dialect: Dialect, lines: Lines, wanted: Sequence[tuple[str, Kind]]) -> None:
        self._path = path
        self._dialect = dialect
        self._lines = lines
        self._wanted = wanted
        self._places = [dialect.names.index(name) for name, _ in wanted]
        self._width = len(dialect.names) + dialect.has_trailing
        self._usual_width = 0 if dialect.has_trailing else self._width  # 0: each row is looked at
        self._converters = self._make_converters()
        self._decimal = "." if dialect.separator == "," else ""  # not known yet
        self._example = ""
        self._passed_over: Counter[str] = Counter()
        self._last_fields: list[str] = []  # of some rows

    def pieces(self) -> Iterator[Piece]:
        while self._lines.fill():
            piece = self._parse_fast() or self._parse_slowly()
            if len(piece.values):
                yield piece
        for what, count in self._passed_over.items():
            _log.warning("%s: %s", self._path, what.format(counted(count, "line")))

    def _make_converters(self) -> _Converters:
        """Return what reads labels and times; columns that are left out may hold any text."""
        found: _Converters = dict.fromkeys(range(len(self._dialect.names)), lambda _: np.nan)
        if self._dialect.has_trailing:
            found[self._width - 1] = _empty
        for place, (_, kind) in zip(self._places, self._wanted, strict=True):
            del found[place]
            if not isinstance(kind, Numbers):
                found[place] = kind.plain
        return found

    # -- NumPy's parser: many times faster than Python's, but gives up at the first field that is no number

    def _parse_fast(self) -> Piece | None:
        lines = self._lines.waiting
        if self._lines.is_cut:
            lines.pop()  # it is the last one, and may not be whole
        block = "".join(lines)
        if not block or block.isspace() or block.startswith(COMMENT) or any(mark in block for mark in _SLOW):
            return None
        if self._decimal != "." and ("," in block or "." in block):
            if self._decimal != "," or "." in block:
                return None  # field by field
            lines = [line.replace(",", ".") for line in lines]
        try:
            table = np.loadtxt(
                lines, np.float64, delimiter=self._dialect.separator, comments=None, ndmin=2,
                converters=self._converters or None,
                encoding="utf-8",  # or NumPy 1 gives converters bytes
            )  # fmt: skip
        except ValueError:
            return None  # the slow parser says where, or makes NaN of it
        if table.shape != (len(lines), self._width):
            return None
        self._last_fields = [
            line.rstrip("\r\n").rpartition(self._dialect.separator)[2] for line in lines[-_SOME_LINES:]
        ]
        numbers = self._lines.number + 1 + np.arange(len(lines))
        self._lines.take(len(lines))
        values = table[:, self._places]
        for column, (name, kind) in enumerate(self._wanted):
            values[:, column] = kind.accept(values[:, column], Where(self._path, "line", numbers, name))
        return Piece(values, numbers, self._lines.done)

    # -- Python's parser

    def _parse_slowly(self) -> Piece:
        rows, numbers = self._rows()
        if len(rows) > 1:
            self._last_fields = [row[-1] for row in rows[-_SOME_LINES:]]
        if self._decimal != ".":
            self._convert_decimals(rows, numbers)
        values = np.empty((len(rows), len(self._wanted)))
        for column, (place, (name, kind)) in enumerate(zip(self._places, self._wanted, strict=True)):
            texts = [row[place] for row in rows]
            values[:, column] = kind.of_texts(texts, Where(self._path, "line", numbers, name))
        return Piece(values, np.array(numbers, np.int64), self._lines.done)

    def _rows(self) -> tuple[list[list[str]], list[int]]:
        """Return the rows that begin in the lines that wait, and the numbers of their first lines."""
        rows: list[list[str]] = []
        numbers: list[int] = []
        reader = csv.reader(self._lines, delimiter=self._dialect.separator, skipinitialspace=True, strict=True)
        while self._lines.has_waiting:
            first = self._lines.number + 1
            try:
                row = next(reader)
            except csv.Error as error:
                self._pass_over_or_raise(error, first)
                break
            is_cut = self._lines.is_cut and not self._lines.has_waiting
            if self._is_usable(row, first, is_cut, rows):
                rows.append(row)
                numbers.append(first)
        return rows, numbers

    def _pass_over_or_raise(self, error: csv.Error, first: int) -> None:
        if self._lines.fill() or "end of data" not in str(error):
            raise DataError(
                f"cannot read {self._path}, line {self._lines.number}: {error}",
                'put fields in quotation marks as RFC 4180 does, with "" for one within',
            ) from error
        if not self._lines.is_cut or self._lines.number - first >= _MIN_LINES:
            raise DataError(f"{self._path}, line {first}: a quotation mark is never closed", "close it") from error
        self._passed_over[_CUT_OFF] += 1

    def _is_usable(self, row: list[str], number: int, is_cut: bool, before: list[list[str]]) -> bool:
        """Return True for a row of data; count what is passed over. Raises DataError for a wrong number of fields."""
        if len(row) < 2 and not "".join(row).strip():
            return False  # blank
        reason, first = "", row[0].strip()
        if len(row) == self._usual_width and not is_cut and first[:1] != COMMENT and first != self._dialect.names[0]:
            return True
        if first.startswith(COMMENT):
            reason = "{} passed over that begin with " + COMMENT
        elif [field.strip() for field in row[: len(self._dialect.names)]] == self._dialect.names:
            reason = "{} passed over that repeat the header"
        elif len(row) == self._width and not (self._dialect.has_trailing and row[-1].strip()):
            fields = [one[-1] for one in before[-_SOME_LINES:]] or self._last_fields
            is_begun = len(fields) >= _MIN_LINES and _has_fewer_decimals(row[-1], fields)
            is_missing = (
                not row[-1].strip() and not self._dialect.has_trailing and any(fields) and all(map(str.strip, fields))
            )
            if is_cut and (is_begun or is_missing):
                reason = _CUT_OFF
        elif any("\0" in field for field in row):
            reason = "{} passed over with zeros in it, as after a power cut"
        elif is_cut:
            reason = _CUT_OFF
        else:
            found = quoted(self._dialect.separator.join(row))
            raise DataError(
                f"{self._path}, line {number}: {len(row)} fields",
                f"the header has {len(self._dialect.names)}; found {found}",
            )
        if reason:
            self._passed_over[reason] += 1
        return not reason

    # -- decimal commas

    def _convert_decimals(self, rows: list[list[str]], numbers: Sequence[int]) -> None:
        """Write numbers with a point where the file has commas. Raises DataError where it has both."""
        for row, number in zip(rows, numbers, strict=True):
            for place in self._places:
                field = row[place].strip()
                decimal = "," if WITH_COMMA.fullmatch(field) else "." if WITH_POINT.fullmatch(field) else ""
                if not decimal:
                    continue
                if not self._decimal:
                    self._decide(decimal, field)
                if decimal != self._decimal:
                    raise DataError(
                        f"{self._path}, line {number}, column {self._dialect.names[place]!r}: {quoted(field)}, but "
                        f"{quoted(self._example)} before it: is the comma or the point decimal?",
                        "write all numbers in one way",
                    )
                row[place] = field.replace(",", ".")

    def _decide(self, decimal: str, example: str) -> None:
        if decimal == "," and self._dialect.separator != ";" and _THOUSANDS.fullmatch(example):
            raise DataError(
                f"{self._path}: {quoted(example)} may be {example.replace(',', '.')} or {example.replace(',', '')}",
                "write numbers with a decimal point, and nothing between thousands",
            )
        self._decimal, self._example = decimal, example
        if decimal == ",":
            _log.info("%s: numbers have a decimal comma: %s is %s", self._path, example, example.replace(",", "."))


def _has_fewer_decimals(field: str, others: Sequence[str]) -> bool:
    """Return True for 1.2 where all others are such as 1.234: it was being written."""
    lengths = {len(found[1]) if (found := _DECIMALS.fullmatch(other)) else 0 for other in others}
    begun = _BEGUN.fullmatch(field)
    return begun is not None and len(lengths) == 1 and len(begun[1]) < lengths.pop()


def _empty(text: str) -> float:
    if text.strip():
        raise ValueError(text)
    return np.nan
