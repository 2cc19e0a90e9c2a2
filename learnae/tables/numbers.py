"""Fields that are numbers."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.tables.forms import number
from learnae.tables.table import Floats, Kind, Where

_SHOWN = 40  # characters of a field in a message
_MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?", "<na>"))
_TRUTHS = {"true": 1.0, "false": 0.0}
WITH_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:([.,'\u2019 \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", re.ASCII)
WITH_POINT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def _number_or_truth(text: str) -> float:
    """Return a number, or 1 and 0 for true and false: what they are in files of typed columns."""
    value = number(text)
    return _TRUTHS.get(text.strip().lower(), value) if math.isnan(value) else value


def is_missing(text: str) -> bool:
    """Return True for a field that says that there is nothing."""
    return text.strip().lower() in _MISSING


def quoted(text: str) -> str:
    """Return a field as messages show it."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


class Numbers(Kind):
    """Any numbers. ``complaint`` names the first field that is something else.

    Raises DataError for marks between thousands: only the large numbers have them, and would be left out.
    """

    expected = "give numbers, or leave it out"

    def __init__(self) -> None:
        self.complaint = ""

    @override
    def plain(self, text: str) -> float:
        if "_" in text:
            raise ValueError
        return float(text)

    @override
    def accept(self, values: Floats, where: Where) -> Floats:
        return values

    @override
    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        try:
            if "_" not in "".join(texts):
                return np.array([float(text) for text in texts], np.float64)
        except ValueError:
            pass
        values = np.array([_number_or_truth(text) for text in texts], np.float64)
        if not self.complaint:
            for index in np.flatnonzero(np.isnan(values)).tolist():
                if not is_missing(texts[index]):
                    self.complaint = f"{where.at(index)}: {quoted(texts[index])} is no number"
                    break
        for index in np.flatnonzero(np.isnan(values)).tolist():
            if _THOUSANDS.fullmatch(texts[index].strip()):
                raise DataError(
                    f"{where.at(index)}: {quoted(texts[index])} has marks between thousands", "write numbers without"
                )
        return values

    @override
    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        if values.dtype.kind not in "fiub":
            raise DataError(f"{where.path}: column {where.column!r} is of type {values.dtype}", self.expected)
        return values.astype(np.float64)
