"""CSV files, plain or gzip (whatever their names say), streamed."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.overriding import override
from learnae.samples import table_headers as headers
from learnae.samples.recordings import class_number, number, numbers_of
from learnae.samples.table_headers import column_names, csv_errors, csv_text, first_line, too_long
from trainer_node.datasets.formats.tables import Piece, Table
from trainer_node.datasets.source import USUAL_LIMITS, Array

_Converters = dict[int | str, Callable[[str], float]]  # as NumPy's parser takes them, by column


class CsvTable(Table):
    """A table with a header line. Fields that are no numbers become NaN."""

    def __init__(
        self, path: Path, label: str = "", classes: Sequence[str] = (), text_bytes: int = USUAL_LIMITS.text_bytes
    ) -> None:
        self.path = path
        self._label = label
        self._text_bytes = text_bytes
        self._classes = numbers_of(classes)
        self.names = column_names(path)

    @override
    def pieces(self, wanted: Sequence[str]) -> Iterator[Piece]:
        places, converters = [self.names.index(name) for name in wanted], self._converters(wanted)
        size = max(self.path.stat().st_size, 1)
        with csv_errors(self.path), self.path.open("rb") as raw, csv_text(raw) as file:
            first_line(self.path, file)
            first = 2  # of the next lines
            for lines in self._blocks(file):
                yield Piece(self._parse(lines, first, converters)[:, places], min(raw.tell() / size, 1.0))
                first += len(lines)

    def _blocks(self, file: io.TextIOWrapper) -> Iterator[list[str]]:
        """Yield whole lines, some at a time; raises DataError for a line that would fill the memory."""
        rest, first = "", 2
        while block := file.read(self._text_bytes):
            lines = io.StringIO(rest + block, newline="").readlines()
            # half a line, or one whose second character of CR LF is still to come
            rest = "" if lines[-1].endswith("\n") else lines.pop()
            if len(rest) > headers.LONGEST_LINE:
                raise too_long(self.path, first + len(lines))
            if lines:
                yield lines
            first += len(lines)
        if rest:
            yield [rest]

    def _parse(self, lines: list[str], first: int, converters: _Converters | None) -> Array:
        if any(line.strip() for line in lines):  # NumPy warns of text without any row
            try:
                # many times faster than Python's parser, but gives up at the first field that is no number
                table = np.loadtxt(
                    lines, np.float64, delimiter=",", comments=None, ndmin=2, converters=converters,
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

    def _converters(self, wanted: Sequence[str]) -> _Converters | None:
        """Return NumPy's converters: class names in the label's column, any text in columns that are left out."""
        there = set(wanted)
        found: _Converters = {place: lambda _: np.nan for place, name in enumerate(self.names) if name not in there}
        if self._classes and self._label in there:
            found[self.names.index(self._label)] = self._plainly_named
        return found or None
