"""Which column of a recording holds its times: named by the user, or the one that looks like it."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from learnae.basics.light_numpy import median
from learnae.errors import DataError
from learnae.samples.columns import Columns
from learnae.tables.forms import is_number
from learnae.tables.table import Floats, Where
from learnae.tables.time_units import AUTO, GAP_PERIODS, SAMPLES, SECONDS
from learnae.tables.times import (
    EXPECTED,
    Times,
    are_compact_dates,
    epoch_unit,
    is_called_time,
    is_counter,
    is_rate,
    iso_seconds,
    looks_like_dates,
    looks_like_time,
    unit_in,
    unit_of,
)
from learnae.text import shown

_log = logging.getLogger(__name__)

CHOICES = 'in [data] or [source], set time = "COLUMN", or time = false if there is none'


def time_column(
    heads: Mapping[str, Sequence[object]],
    used: Sequence[str],
    columns: Columns,
    rate: float | None,
    origin: str,
    choices: str = CHOICES,
) -> str:
    """Return the column of times among ``heads``, the first fields of each; empty if there is none.

    Columns that are ``used`` otherwise are none. Without a ``rate``, only those that ascend evenly look like times.
    Raises DataError, which says the ``choices``, if it is not certain.
    """
    if columns.time is False or columns.time == "false":
        return ""
    if isinstance(columns.time, str) and columns.time:
        if columns.time not in heads:
            raise DataError(f"{origin} has no column {columns.time!r}; it has {shown(list(heads))}", choices)
        return columns.time
    others = [name for name in heads if name not in used]
    for candidates in (
        [name for name in others if is_called_time(name)],
        [name for name in others if is_counter(name) and all(is_number(str(field)) for field in heads[name])],
        [name for name in others if _are_dates(heads[name])],
    ):
        if len(candidates) > 1:
            raise DataError(f"{origin} has several columns that look like times: {shown(candidates)}", choices)
        if candidates:
            return candidates[0]
    if found := [name for name in others if looks_like_dates(heads[name])]:
        raise DataError(f"{origin}: {shown(found)} looks like times: {heads[found[0]][0]!r}", f"{EXPECTED}; {choices}")
    if found := [name for name in others if looks_like_time(heads[name], rate)]:
        raise DataError(f"{origin}: {shown(found)} looks like times, by its first values, and not by its name", choices)
    return ""


def _are_dates(fields: Sequence[object]) -> bool:
    texts = [str(field) for field in fields if field is not None and str(field).strip()]
    try:
        return bool([iso_seconds(text) for text in texts])
    except (ValueError, OverflowError):
        return False


def seconds_of(raw: Floats, times: Times, unit: str, rate: float | None, where: Where) -> Floats:
    """Return the times ``raw`` (n,) that ``times`` has read in seconds, their unit said, be it AUTO.

    Raises DataError if they do not ascend, or their unit is not certain.
    """
    wrong = np.flatnonzero(np.diff(raw) <= 0)
    if len(wrong):
        index = int(wrong[0]) + 1
        put_back = ", write their zones if a clock was put back" if times.is_dated else ""
        raise DataError(
            f"{where.at(index)}: times do not ascend: {raw[index].item()!r} after {raw[index - 1].item()!r}",
            f"sort the samples and remove repeated ones{put_back}, or set time = false if this is no time",
        )
    if times.is_dated:
        _log.info("%s: times are the dates in %r", where.path, where.column)
        return raw
    unit = unit or unit_in(where.column) or _inferred_unit(raw, rate, where)
    if unit == SAMPLES and rate is None:
        raise DataError(f"{where.path}: {where.column!r} counts samples", "say how many a second: --rate HZ")
    _log.info("%s: times are those in %r, in %s", where.path, where.column, unit)
    return raw / rate if unit == SAMPLES and rate else raw * SECONDS[unit]


def check_rate(seconds: Floats, rate: float, where: Where) -> None:
    """Raise DataError for samples at another rate: a window would be of another length, no feature mean the same."""
    steps = np.diff(seconds)
    close = steps[steps * rate <= GAP_PERIODS]
    if len(close) and not is_rate(seconds, rate):
        remedy = f"the swarm's are {1 / rate:g} s apart: resample them, or set time_unit if that is wrong"
        raise DataError(f"{where.path}: samples are {median(close):.3g} s apart", remedy)


def _inferred_unit(raw: Floats, rate: float | None, where: Where) -> str:
    fitting = unit_of(raw, rate, is_counter(where.column)) if rate else AUTO
    of_epoch = epoch_unit(raw)
    if fitting in SECONDS and of_epoch and fitting != of_epoch:
        raise DataError(
            f"{where.at(0)}: {raw[0].item()!r} is of this century in {of_epoch}, and samples are as far apart as the "
            f"swarm's in {fitting}",
            f'set time_unit = "{of_epoch}" or "{fitting}" in [data] or [source]',
        )
    if not of_epoch and are_compact_dates(raw):
        raise DataError(f"{where.at(0)}: {raw[0]:.0f} looks like a date", "write it as 2024-05-01T12:00:00")
    return fitting or of_epoch or (SAMPLES if is_counter(where.column) else "s")
