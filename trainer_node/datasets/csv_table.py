"""CSV files, plain or gzip (whatever their names say), streamed."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from learnae.errors import DataError
from learnae.recordings import class_number, number, numbers_of
from trainer_node.datasets.chunks import Array
from trainer_node.datasets.tables import Piece

_UTF8 = "utf-8-sig"  # spreadsheets begin with a byte order mark
_GZIP = b"\x1f\x8b"  # RFC 1952: how every member begins
CHUNK_BYTES = 1 << 18  # of text: its numbers take four times that, and what the C library keeps grows with them
_LONGEST_LINE = 1 << 22  # characters: room for 100,000 columns
_INDEX = ("", "Unnamed: 0")  # how pandas writes the numbers of rows, and how it writes them the second time


class CsvTable:
    """tables.Table with a header line. Fields that are no numbers become NaN."""

    def __init__(self, path: Path, label: str = "", classes: Sequence[str] = ()) -> None:
        self.path = path
        self._label = label
        self._classes = numbers_of(classes)
        with _errors(path), path.open("rb") as raw, _text(raw) as file:
            self.names = _header(path, _first_line(path, file))

    def pieces(self, wanted: Sequence[str]) -> Iterator[Piece]:
        """See tables.Table; raises DataError for a line with too many or too few fields, or without an end."""
        places = [self.names.index(name) for name in wanted]
        size = max(self.path.stat().st_size, 1)
        with _errors(self.path), self.path.open("rb") as raw, _text(raw) as file:
            _first_line(self.path, file)
            first = 2  # of the next lines
            for lines in self._blocks(file):
                yield Piece(self._parse(lines, first)[:, places], min(raw.tell() / size, 1.0))
                first += len(lines)

    def _blocks(self, file: io.TextIOWrapper) -> Iterator[list[str]]:
        """Whole lines, some at a time. What has no end of line is not collected until memory is full."""
        rest, first = "", 2
        while block := file.read(CHUNK_BYTES):
            lines = io.StringIO(rest + block, newline="").readlines()
            # half a line, or one whose second character of CR LF is still to come
            rest = "" if lines[-1].endswith("\n") else lines.pop()
            if len(rest) > _LONGEST_LINE:
                raise _too_long(self.path, first + len(lines))
            if lines:
                yield lines
            first += len(lines)
        if rest:
            yield [rest]

    def _parse(self, lines: list[str], first: int) -> Array:
        if any(line.strip() for line in lines):  # NumPy warns of text without any row
            try:
                # many times faster than Python's parser, but gives up at the first field that is no number
                table = np.loadtxt(
                    lines, np.float64, delimiter=",", comments=None, ndmin=2, converters=self._converters(),
                    encoding="utf-8",  # or NumPy 1 gives converters bytes
                )  # fmt: skip
                if table.shape[1] == len(self.names):
                    return table
            except ValueError:
                pass  # the slow parser says where, or makes NaN of it
        return self._parse_slowly(lines, first)

    def _parse_slowly(self, lines: list[str], first: int) -> Array:
        values = []
        readers = [self._named if name == self._label else number for name in self.names]
        reader = csv.reader(lines)
        for row in reader:
            if not "".join(row).strip() and len(row) < 2:
                continue  # blank
            if len(row) != len(self.names):
                raise DataError(
                    f"{self.path}, line {first + reader.line_num - 1}: {len(row)} fields",
                    f"the header has {len(self.names)}",
                )
            values.append([read(field) for read, field in zip(readers, row, strict=True)])
        return np.array(values, np.float64).reshape(-1, len(self.names))

    def _named(self, field: str) -> float:
        return class_number(field, self._classes)

    def _plainly_named(self, field: str) -> float:
        if np.isnan(named := self._named(field)):
            raise ValueError  # perhaps in quotation marks: for the slow parser
        return named

    def _converters(self) -> dict[int | str, Callable[[str], Any]] | None:
        """For NumPy's parser: names of classes where there can be any; numbers alone are read faster."""
        if not self._classes or self._label not in self.names:
            return None
        return {self.names.index(self._label): self._plainly_named}


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What can be wrong with the bytes of a file, as a DataError."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", "give a CSV file in UTF-8 with a header") from error


def _text(raw: IO[bytes]) -> io.TextIOWrapper:
    begins = raw.read(len(_GZIP))
    raw.seek(0)
    data: IO[bytes] = gzip.GzipFile(fileobj=raw) if begins == _GZIP else raw  # type: ignore[assignment]
    return io.TextIOWrapper(data, encoding=_UTF8, newline="")


def _first_line(path: Path, file: io.TextIOWrapper) -> str:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise _too_long(path, 1)
    return line


def _too_long(path: Path, number: int) -> DataError:
    return DataError(f"{path}, line {number} has more than {_LONGEST_LINE} characters", "give one row a line")


def _header(path: Path, line: str) -> list[str]:
    names = [name.strip() for name in next(csv.reader([line]), [])]
    if names:
        names[0] = names[0].removeprefix("#").strip()  # as numpy.savetxt writes it, and HEPMASS has it
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise DataError(f"{path} is not separated by commas: {names[0][:80]!r}", "write it with commas and points")
    if not names or len(set(names)) != len(names) or all(map(_is_number, names)):
        raise DataError(f"{path} has no usable header", "name every column once in the first line")
    for place, name in enumerate(names, 1):
        if name in _INDEX:
            raise DataError(
                f"{path}: column {place} has no name", "name it, or leave it out (pandas: index=False in to_csv)"
            )
    return names


def _is_number(text: str) -> bool:
    """Also for nan, which a row of numbers may well have, and which is no name for a column."""
    try:
        float(text)
    except ValueError:
        return False
    return True
