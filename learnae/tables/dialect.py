"""How a CSV file is written: its separator, where its header is, and what it calls its columns."""

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import DataError
from learnae.tables.forms import is_number
from learnae.tables.lines import NOTHING, Lines
from learnae.tables.numbers import is_missing, quoted
from learnae.tables.table import HEAD_ROWS

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLE_LINES = 200
_LEAST_LINES = 8  # of it, where blocks are short: few, as each may be long
_DECLARED = "sep="  # how Excel begins a file of another separator
COMMENT = "#"
_USABLE = "name every column once in the first line"


@dataclass(frozen=True, slots=True)
class Dialect:
    """``names`` in the file's order; ``has_trailing`` separator: an empty field more in each row; the first rows."""

    separator: str
    names: list[str]
    has_trailing: bool
    head: list[list[str]]


def records(lines: Sequence[str], separator: str) -> list[list[str]]:
    """Parse some lines, leniently."""
    try:
        return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error:  # a field of more than 128 KiB: the strict reader says where
        return [line.rstrip("\r\n").split(separator) for line in lines]


def read_dialect(path: Path, lines: Lines) -> Dialect:
    """Find out how a file is written, and take its lines up to the header. Raises DataError if that is not certain."""
    declared, comments = "", []
    while lines.fill(_LEAST_LINES):
        line = lines.waiting[0]
        if line.lower().startswith(_DECLARED) and not declared and line[len(_DECLARED) :].strip("\r\n") in _SEPARATORS:
            declared = line[len(_DECLARED) :].strip("\r\n")
        elif line.lstrip().startswith(COMMENT):
            comments.append(line)
        elif line.strip(" \r\n" + NOTHING):
            break
        next(lines)
    sample = lines.waiting[:_SAMPLE_LINES]
    if comments and (found := _commented(path, comments[-1], sample, declared)):
        return found
    if not sample:
        raise DataError(f"{path} has no usable header", _USABLE)
    separator = declared or _separator(path, sample)
    found = _dialect(path, sample, separator)
    try:
        next(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"cannot read {path}, line {lines.number}: {error}", _USABLE) from error
    return found


def _commented(path: Path, comment: str, sample: Sequence[str], declared: str) -> Dialect | None:
    """Return the dialect where the header is a comment: as numpy.savetxt writes it, and HEPMASS has it."""
    header = comment.lstrip().removeprefix(COMMENT).lstrip()
    lines = [header, *sample]
    fits = [one for one in ([declared] if declared else _SEPARATORS) if _fits(records(lines, one))]
    first = records(sample[:1], fits[0])[0] if fits and sample else [""]
    if sample and not any(is_number(field) for field in first):
        return None  # a remark
    if sample and not fits and header.split() and len(header.split()) == len(sample[0].split()) > 1:
        raise _spaces(path)
    plain = _separator(path, lines) if fits or not sample else ""
    return _dialect(path, lines, plain) if plain else None


def _fits(rows: Sequence[Sequence[str]]) -> bool:
    """Return True if all rows have as many fields as the header, perhaps an empty one more."""
    header, *rest = rows
    rest = [row for row in rest if _is_row(row)]
    if len(rest) > 1:
        del rest[-1]  # it may be cut off, here or in the file
    width = len(header)
    return all(len(row) == width or (len(row) == width + 1 and not row[-1].strip()) for row in rest)


def _is_row(row: Sequence[str]) -> bool:
    return bool(row) and not row[0].lstrip().startswith(COMMENT) and bool("".join(row).strip(" " + NOTHING))


def _separator(path: Path, sample: Sequence[str]) -> str:
    found = {one: records(sample, one) for one in _SEPARATORS}
    several = [one for one, rows in found.items() if len(rows[0]) > 1]
    fitting = [one for one in several if _fits(found[one])]
    if len(fitting) > 1:
        ways = " or ".join(f"{_SEPARATORS[one]} ({len(found[one][0])} columns)" for one in fitting)
        raise DataError(f"{path} may be separated by {ways}", "write it with one of them only")
    if fitting:
        return fitting[0]
    if several:
        return max(several, key=lambda one: len(found[one][0]))
    words = [len(line.split()) for line in sample[:2]]
    if len(words) > 1 and words[0] == words[1] > 1 and is_number(sample[1].split()[0]):
        raise _spaces(path)
    return ","


def _spaces(path: Path) -> DataError:
    return DataError(f"{path} is separated by spaces", "write it with commas (numpy.savetxt: delimiter=',')")


def _dialect(path: Path, sample: Sequence[str], separator: str) -> Dialect:
    header, *rest = records(sample, separator)
    names = [name.strip() for name in header]
    rows = [row for row in rest if _is_row(row)]
    if len(rows) > 1:
        del rows[-1]  # it may go on behind the sample
    head = [[field.strip() for field in row] for row in rows[:HEAD_ROWS]]
    has_trailing = bool(head) and len(head[0]) == len(names) + 1 and not head[0][-1]
    if len(names) > 1 and not names[-1] and all(len(row) == len(names) and not row[-1] for row in head):
        names.pop()
        has_trailing = True
    check_names(path, names)
    return Dialect(separator, names, has_trailing, [row[: len(names)] for row in head if len(row) >= len(names)])


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise DataError unless each column has a name of its own."""
    if "\0" in "".join(names):
        raise DataError(f"{path} is no text: zeros are in its first line", "unpack it first, if it is an archive")
    if not any(names) or all(is_number(name) or is_missing(name) for name in names):
        raise DataError(f"{path} has no usable header: {quoted(','.join(names))}", _USABLE)
    for position, name in enumerate(names, 1):
        if name in ("", "Unnamed: 0"):  # how pandas writes the numbers of rows: the first time, the second time
            raise DataError(
                f"{path}: column {position} has no name",
                "name it, or leave it out (pandas: in to_csv, index_label='time' if it holds times, else index=False)",
            )
    for name, places in itertools.groupby(sorted(range(len(names)), key=names.__getitem__), names.__getitem__):
        if len(several := list(places)) > 1:
            there = ", ".join(str(place + 1) for place in several)
            raise DataError(f"{path} has no usable header: columns {there} are all called {name!r}", _USABLE)
