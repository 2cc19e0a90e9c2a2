"""From a file's name to its table: the one list of formats."""

from pathlib import Path

from learnae.errors import DataError
from learnae.tables.compression import ENDINGS, member_name
from learnae.tables.lines import BLOCK_BYTES
from learnae.tables.table import Table

CSV, JSON = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
PARQUET, ARROW = (".parquet", ".pq"), (".arrow", ".feather", ".ipc")
ARRAYS = (".npz", ".npy")
FORMATS = (
    f"{', '.join((*CSV, *JSON))}, each perhaps with {', '.join(ENDINGS)}; {', '.join((*PARQUET, *ARROW, *ARRAYS))}"
)


def check_readable(path: Path) -> None:
    """Raise DataError for a file that is not there, is a directory or may not be read."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    except UnicodeEncodeError as error:
        raise DataError(f"cannot read {path!a}: this locale has no such letters", "set LC_ALL=C.UTF-8") from error


def is_called_table(name: str) -> bool:
    """Return True if a file of this name is a table."""
    bare = name.lower()
    for ending in ENDINGS:
        bare = bare.removesuffix(ending)
    return bare.endswith((*CSV, *JSON, *PARQUET, *ARROW))


def is_called_arrays(path: Path) -> bool:
    """Return True if a file of this name holds NumPy's arrays."""
    return path.name.lower().endswith(ARRAYS)


def open_table(path: Path, block_bytes: int = BLOCK_BYTES) -> Table:
    """Open the table in a file; its modules are imported only where it is used. Raises DataError."""
    check_readable(path)
    name = member_name(path)
    if name.endswith(CSV):
        from learnae.tables.csv_table import CsvTable  # noqa: PLC0415

        return CsvTable(path, block_bytes)
    if name.endswith(JSON):
        from learnae.tables.json_lines import JsonLines  # noqa: PLC0415

        return JsonLines(path)
    if path.name.lower().endswith((*PARQUET, *ARROW)):
        from learnae.tables.arrow_table import ArrowTable  # noqa: PLC0415

        return ArrowTable(path, path.name.lower().endswith(PARQUET))
    raise DataError(f"cannot read {path}: its name does not say what it is", f"give one of {FORMATS}")
