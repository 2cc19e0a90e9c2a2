"""Which column of a recording holds its times: named by the user, or the one that looks like it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from learnae.errors import ConfigurationError, DataError
from learnae.tables.numbers import is_number
from learnae.tables.times import AUTO, UNITS, is_called_time, is_counter, iso_seconds, looks_like_time
from learnae.text import shown

_log = logging.getLogger(__name__)

_CHOICES = 'in [data] or [source], set time = "COLUMN", or time = false if there is none'


@dataclass(frozen=True, slots=True)
class Columns:
    """What a user says of a table: the column of the ``label``; that of the ``time`` (AUTO: the one that looks like it;
    False: none), and its ``unit`` (AUTO: the one that fits the swarm's rate). Raises ConfigurationError.
    """

    label: str = "label"
    time: str | bool = AUTO
    unit: str = AUTO

    def __post_init__(self) -> None:
        if self.unit not in (AUTO, *UNITS):
            raise ConfigurationError(f"time_unit is {self.unit!r}", f"use one of {', '.join(UNITS)}")


USUAL_COLUMNS = Columns()


def time_column(
    heads: Mapping[str, Sequence[object]], used: Sequence[str], columns: Columns, rate: float, origin: str
) -> str:
    """Return the column of times among ``heads``, the first fields of each; empty if there is none.

    Columns that are ``used`` otherwise are none. Raises DataError if it is not certain.
    """
    if columns.time is False or columns.time == "false":
        return ""
    if isinstance(columns.time, str) and columns.time:
        if columns.time not in heads:
            raise DataError(f"{origin} has no column {columns.time!r}; it has {shown(list(heads))}", _CHOICES)
        return columns.time
    others = [name for name in heads if name not in used]
    for candidates in (
        [name for name in others if is_called_time(name)],
        [name for name in others if is_counter(name) and all(is_number(str(field)) for field in heads[name])],
        [name for name in others if _are_dates(heads[name])],
    ):
        if len(candidates) > 1:
            raise DataError(f"{origin} has several columns that look like times: {shown(candidates)}", _CHOICES)
        if candidates:
            return candidates[0]
    if found := [name for name in others if looks_like_time(heads[name], rate)]:
        raise DataError(
            f"{origin}: {shown(found)} looks like times, by its first values, and not by its name", _CHOICES
        )
    return ""


def _are_dates(fields: Sequence[object]) -> bool:
    texts = [str(field) for field in fields if field is not None and str(field).strip()]
    try:
        return bool([iso_seconds(text) for text in texts])
    except (ValueError, OverflowError):
        return False
