"""CSV files, plain or gzip, streamed; and the columns that a swarm's model takes from a table."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from learnae.errors import DataError
from trainer_node.datasets.chunks import CHUNK_BYTES, Array, Chunk

_UTF8 = "utf-8-sig"  # spreadsheets begin with a byte order mark


class Columns:
    """Which columns of a table are features, and which is the target; raises DataError.

    All but the target are features, in their order. A table with exactly one more, whose last is
    called ``mass``, is a HEPMASS file (Baldi et al. 2016, UCI): the columns are the label, 27
    features and, in some of the files, the mass that the simulated signal was made with. That is
    no measurement, and a model of 27 inputs is trained without it; one of 28 gets it.
    """

    def __init__(self, path: Path, header: Sequence[str], label: str, inputs: tuple[int, ...]) -> None:
        if label not in header:
            raise DataError(f"{path} has no column {label!r}", "set data.label to the column of the target")
        self.target = list(header).index(label)
        self.features = [index for index, name in enumerate(header) if name != label]
        if len(self.features) == inputs[0] + 1 and header[-1] == "mass" != label:
            self.features.pop()
        if not self.features:
            raise DataError(f"{path} has no column but {label!r}", "one column a feature is needed")
        self.names = [header[index] for index in self.features]
        if inputs != (len(self.features),):
            shown = ", ".join(self.names[:40])
            raise DataError(
                f"{path} has {len(self.features)} feature columns ({shown})", f"the swarm's model takes {inputs}"
            )

    def chunk(self, table: Array, done: float) -> Chunk:
        """The features and the target of ``table`` (n, columns)."""
        return Chunk(table[:, self.features], table[:, self.target], None, done)


class CsvSource:
    """One row an example, with a header. Fields that are no numbers become NaN."""

    def __init__(self, path: Path, label: str, inputs: tuple[int, ...]) -> None:
        self.path = path
        with _errors(path), path.open("rb") as raw, _text(path, raw) as file:
            self._header = _header(path, file.readline())
        self._columns = Columns(path, self._header, label, inputs)
        self.names = self._columns.names

    def chunks(self) -> Iterator[Chunk]:
        """All rows; raises DataError for a line with too many or too few fields."""
        size = max(self.path.stat().st_size, 1)
        with _errors(self.path), self.path.open("rb") as raw, _text(self.path, raw) as file:
            file.readline()
            number = 2  # of the next line
            while lines := file.readlines(CHUNK_BYTES):
                yield self._columns.chunk(self._parse(lines, number), min(raw.tell() / size, 1.0))
                number += len(lines)

    def _parse(self, lines: list[str], number: int) -> Array:
        if any(line.strip() for line in lines):  # NumPy warns of text without any row
            try:
                # many times faster than Python's parser, but gives up at the first field that is no number
                table = np.loadtxt(lines, np.float32, delimiter=",", comments=None, ndmin=2)
                if table.shape[1] == len(self._header):
                    return table
            except ValueError:
                pass  # the slow parser says where, or makes NaN of it
        return self._parse_slowly(lines, number)

    def _parse_slowly(self, lines: list[str], number: int) -> Array:
        values = []
        reader = csv.reader(lines)
        for row in reader:
            if row and len(row) != len(self._header):
                raise DataError(
                    f"{self.path}, line {number + reader.line_num - 1}: {len(row)} fields",
                    f"the header has {len(self._header)}",
                )
            if row:
                values.append([_number(field) for field in row])
        return np.array(values, np.float64).reshape(-1, len(self._header))


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
    if not names or len(set(names)) != len(names) or all(not np.isnan(_number(name)) for name in names):
        raise DataError(f"{path} has no usable header", "name every column once in the first line")
    return names


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
