"""A table's names and fields as text, for commands that look before training: CSV, plain or gzip, Parquet."""

import csv
from collections.abc import Generator, Sequence
from pathlib import Path

from learnae.errors import DataError
from learnae.samples.table_headers import CSV, PARQUET, column_names, csv_errors, csv_text, first_line, pyarrow

names_of = column_names


def is_table(path: Path) -> bool:
    """Return True if a file of this name is a table."""
    return path.name.endswith((*CSV, *PARQUET))


def fields_of(path: Path, names: Sequence[str], wanted: Sequence[str]) -> Generator[tuple[str, ...], None, None]:
    """Yield each row's fields of the columns ``wanted``, of a table with these ``names``; empty where there is none."""
    return (_of_csv if path.name.endswith(CSV) else _of_parquet)(path, names, wanted)


def _of_csv(path: Path, names: Sequence[str], wanted: Sequence[str]) -> Generator[tuple[str, ...], None, None]:
    places = [names.index(name) if name in names else len(names) for name in wanted]
    with csv_errors(path), path.open("rb") as raw, csv_text(raw) as file:
        first_line(path, file)
        for row in csv.reader(file):
            if row:
                yield tuple(row[place].strip() if place < len(row) else "" for place in places)


def _of_parquet(path: Path, names: Sequence[str], wanted: Sequence[str]) -> Generator[tuple[str, ...], None, None]:
    arrow, parquet = pyarrow(path)
    try:
        file = parquet.ParquetFile(path)
        present = [name for name in wanted if name in names]
        if not present:
            yield from (("",) * len(wanted) for _ in range(file.metadata.num_rows))
            return
        for batch in file.iter_batches(columns=present):
            columns = dict(zip(present, (column.to_pylist() for column in batch.columns), strict=True))
            absent = [None] * batch.num_rows
            for row in zip(*(columns.get(name, absent) for name in wanted), strict=True):
                yield tuple("" if value is None else str(value) for value in row)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}", "give a Parquet file") from error
