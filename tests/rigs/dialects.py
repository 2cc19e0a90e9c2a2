"""Tables written in one of the many ways that programs write them, with what they hold."""

import csv
import io
import random
from pathlib import Path
from typing import NamedTuple

SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")
ENDS = ("\n", "\r\n", "\r")
NOTES = ("plain", "two\nlines", 'a "word"', "a, b; c", "ü é", "", " 5 ", "#7", "1,5")
CLASSES = ("idle", "läuft", "stall, hard")


class Dialect(NamedTuple):
    """How one table is written."""

    separator: str
    encoding: str
    end: str
    decimal: str
    quoting: int
    ends_with: str  # the last line
    has_comment: bool
    has_trailing: bool


class Truth(NamedTuple):
    """What a table holds: the columns ``a`` and ``b`` (None: empty), ``note``, and ``label`` by name."""

    a: list[float | None]
    b: list[float | None]
    note: list[str]
    label: list[str]


def random_dialect(rng: random.Random) -> Dialect:
    """Draw a way to write a table."""
    separator, end = rng.choice(SEPARATORS), rng.choice(ENDS)
    return Dialect(
        separator,
        rng.choice(ENCODINGS),
        end,
        "." if separator == "," else rng.choice((".", ",")),
        # of lines that end in CR alone, Python's writer does not quote a LF
        csv.QUOTE_ALL if end == "\r" else rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)),
        rng.choice(("end", "none", "blank")),
        rng.random() < 0.2,
        rng.random() < 0.2,
    )


def random_truth(rng: random.Random, rows: int) -> Truth:
    """Draw what a table holds."""
    digits = rng.choice((0, 2, 5, 12))

    def number() -> float | None:
        return None if rng.random() < 0.05 else round(rng.uniform(-1e4, 1e4), digits) * rng.choice((1, 1, 1e-7, 1e9))

    return Truth(
        [number() for _ in range(rows)],
        [number() for _ in range(rows)],
        [rng.choice(NOTES) for _ in range(rows)],
        [rng.choice(CLASSES) for _ in range(rows)],
    )


def write(path: Path, truth: Truth, dialect: Dialect) -> None:
    """Write the table."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=dialect.separator, lineterminator=dialect.end, quoting=dialect.quoting)
    more = [""] if dialect.has_trailing else []
    if dialect.has_comment:
        buffer.write(f"# made by a test{dialect.end}")
    writer.writerow(["a", "note", "label", "b", *more])
    for a, b, note, label in zip(*truth, strict=True):
        writer.writerow([_text(a, dialect), note, label, _text(b, dialect), *more])
    text = buffer.getvalue()
    if dialect.ends_with == "none":
        text = text.removesuffix(dialect.end)
    path.write_bytes((text + dialect.end * (dialect.ends_with == "blank")).encode(dialect.encoding))


def _text(value: float | None, dialect: Dialect) -> str:
    return "" if value is None else repr(value).replace(".", dialect.decimal)
