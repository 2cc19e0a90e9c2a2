"""CSV files, plain or gzip, streamed."""

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
from numpy.typing import DTypeLike

from learnae.errors import DataError
from learnae.recordings import class_number, number, numbers_of
from trainer_node.datasets.chunks import CHUNK_BYTES, Array
from trainer_node.datasets.tables import Piece

_UTF8 = "utf-8-sig"  # spreadsheets begin with a byte order mark


class CsvTable:
    """tables.Table with a header line. Fields that are no numbers become NaN."""

    def __init__(self, path: Path, label: str = "", classes: Sequence[str] = ()) -> None:
        self.path = path
        self._label = label
        self._classes = numbers_of(classes)
        with _errors(path), path.open("rb") as raw, _text(path, raw) as file:
            self.names = _header(path, file.readline())

    def pieces(self, wanted: Sequence[str], dtype: DTypeLike) -> Iterator[Piece]:
        """See tables.Table; raises DataError for a line with too many or too few fields."""
        places = [self.names.index(name) for name in wanted]
        size = max(self.path.stat().st_size, 1)
        with _errors(self.path), self.path.open("rb") as raw, _text(self.path, raw) as file:
            file.readline()
            first = 2  # of the next lines
            while lines := file.readlines(CHUNK_BYTES):
                yield Piece(self._parse(lines, first, dtype)[:, places], min(raw.tell() / size, 1.0))
                first += len(lines)

    def _parse(self, lines: list[str], first: int, dtype: DTypeLike) -> Array:
        if any(line.strip() for line in lines):  # NumPy warns of text without any row
            try:
                # many times faster than Python's parser, but gives up at the first field that is no number
                table = np.loadtxt(lines, dtype, delimiter=",", comments=None, ndmin=2, converters=self._converters())
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
            if row and len(row) != len(self.names):
                raise DataError(
                    f"{self.path}, line {first + reader.line_num - 1}: {len(row)} fields",
                    f"the header has {len(self.names)}",
                )
            if row:
                values.append([read(field) for read, field in zip(readers, row, strict=True)])
        return np.array(values, np.float64).reshape(-1, len(self.names))

    def _named(self, field: str) -> float:
        return class_number(field, self._classes)

    def _converters(self) -> dict[int | str, Callable[[str], Any]] | None:
        """For NumPy's parser: names of classes where there can be any; numbers alone are read faster."""
        return {self.names.index(self._label): self._named} if self._classes and self._label in self.names else None


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """What can be wrong with the bytes of a file, as a DataError."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", "give a CSV file in UTF-8 with a header") from error


def _text(path: Path, raw: IO[bytes]) -> io.TextIOWrapper:
    data: IO[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
    return io.TextIOWrapper(data, encoding=_UTF8, newline="")


def _header(path: Path, line: str) -> list[str]:
    names = [name.strip() for name in next(csv.reader([line]), [])]
    if names:
        names[0] = names[0].removeprefix("#").strip()  # as numpy.savetxt writes it, and HEPMASS has it
    if not names or len(set(names)) != len(names) or all(not np.isnan(number(name)) for name in names):
        raise DataError(f"{path} has no usable header", "name every column once in the first line")
    return names
