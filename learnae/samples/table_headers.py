"""The names of a table's columns: the first line of a CSV file, plain or gzip (whatever its name says), or a
Parquet file's schema."""

import csv
import gzip
import importlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from learnae.errors import DataError
from learnae.system.installation import how_to_install

CSV, PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
LONGEST_LINE = 1 << 22  # characters: room for 100,000 columns
_UTF8 = "utf-8-sig"  # spreadsheets begin with a byte order mark
_GZIP = b"\x1f\x8b"  # RFC 1952: how every member begins
# how pandas writes the numbers of rows: the first time, the second time, to Parquet
_CSV_INDEX, _PARQUET_INDEX = ("", "Unnamed: 0"), "__index_level_"


def column_names(path: Path) -> list[str]:
    """Return all names, in their order; raises DataError, also for a file of another kind."""
    if path.name.endswith(CSV):
        with csv_errors(path), path.open("rb") as raw, csv_text(raw) as file:
            return csv_names(path, first_line(path, file))
    if path.suffix not in PARQUET:
        raise DataError(f"{path} is no table", f"give one of {', '.join((*CSV, *PARQUET))}")
    arrow, parquet = pyarrow(path)
    try:
        return parquet_names(path, parquet.read_schema(path).names)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}", "give a Parquet file") from error


@contextmanager
def csv_errors(path: Path) -> Iterator[None]:
    """Raise what can be wrong with the bytes of a file as a DataError."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", "give a CSV file in UTF-8 with a header") from error


def csv_text(raw: IO[bytes]) -> io.TextIOWrapper:
    """Open the text of an open file."""
    begins = raw.read(len(_GZIP))
    raw.seek(0)
    data: IO[bytes] = gzip.GzipFile(fileobj=raw) if begins == _GZIP else raw  # type: ignore[assignment]
    return io.TextIOWrapper(data, encoding=_UTF8, newline="")


def first_line(path: Path, file: io.TextIOWrapper) -> str:
    """Read the header, unparsed; raises DataError if it has no end."""
    line = file.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE:
        raise too_long(path, 1)
    return line


def too_long(path: Path, number: int) -> DataError:
    """Return the error for a line without end."""
    return DataError(f"{path}, line {number} has more than {LONGEST_LINE} characters", "give one row a line")


def csv_names(path: Path, line: str) -> list[str]:
    """Parse the names in a header; raises DataError if it is none."""
    names = [name.strip() for name in next(csv.reader([line]), [])]
    if names:
        names[0] = names[0].removeprefix("#").strip()  # as numpy.savetxt writes it, and HEPMASS has it
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise DataError(f"{path} is not separated by commas: {names[0][:80]!r}", "write it with commas and points")
    if not names or len(set(names)) != len(names) or all(map(is_number, names)):
        raise DataError(f"{path} has no usable header", "name every column once in the first line")
    for position, name in enumerate(names, 1):
        if name in _CSV_INDEX:
            raise DataError(
                f"{path}: column {position} has no name", "name it, or leave it out (pandas: index=False in to_csv)"
            )
    return names


def pyarrow(path: Path) -> tuple[Any, Any]:
    """Import pyarrow and its Parquet reader; raises DataError where they are not installed."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow", how_to_install("parquet")) from error


def parquet_names(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of data: pandas adds a column of row numbers unless told not to. Raises DataError."""
    kept = [name for name in names if not name.startswith(_PARQUET_INDEX)]
    if len(set(kept)) != len(kept):
        raise DataError(f"{path} has several columns of one name", "name every column once")
    return kept


def is_number(text: str) -> bool:
    """Return True for a number, also nan, which a row of numbers may well have and which is no name for a column."""
    try:
        float(text)
    except ValueError:
        return False
    return True
