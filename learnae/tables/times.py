"""Times in columns: what they are called, what they say, and in which unit."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import median
from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.tables.forms import number
from learnae.tables.numbers import quoted
from learnae.tables.table import Floats, Kind, Where
from learnae.tables.time_units import AUTO, CENTURY, GAP_PERIODS, SAMPLES, SECONDS

_USUAL = ("s", "ms", "us", "ns")  # the others are never guessed: 1, 2, 3 may be minutes, and seconds at another rate
RATE_TOLERANCE = 0.1  # of a period: clocks of sensors are far better
EXPECTED = "give seconds, or ms, us, ns, or ISO 8601 such as 2024-05-01T12:00:00.25Z"

_WORDS = frozenset(
    word
    for words in (
        "time timestamp timestamps date datetime epoch ts utc gmt unix unixtime localtime clock elapsed millis micros",
        "zeit zeitstempel zeitpunkt uhrzeit datum heure temps horodatage hora fecha tiempo tempo tijd czas время",
        "时间 時刻",
    )
    for word in words.split()
)
_WHOLE = frozenset(("t", "s", "sec", "secs", "second", "seconds", "ms", "us", "ns", "minutes", "hours", "days"))
COUNTERS = frozenset(("index", "idx", "sample", "samples", "sample index", "sample number", "row", "frame"))
_UNIT = re.compile(
    r"[\s_]*[(\[]?\b(?:(?P<s>s|secs?|seconds?)|(?P<ms>ms|msecs?|millis(?:econds?)?)|"
    r"(?P<us>[uµμ]s|usecs?|micros(?:econds?)?)|(?P<ns>ns|nsecs?|nanos(?:econds?)?)|(?P<min>mins?|minutes?)|"
    r"(?P<h>h|hrs?|hours?)|(?P<d>d|days?)|utc|gmt)[)\]]?$"
)
_FRACTION = re.compile(r"[T\s]\d\d(?::\d\d:|\d\d)\d\d([.,]\d{1,12})(?=$|[Z+-])")  # of a second
_ZONE_NAME = re.compile(r"\s*(?:UTC|GMT)$")
_SPACE_BEFORE_ZONE = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")
_DATED = re.compile(r"\d{4}-?\d\d-?\d\d(?:$|[T\s])")
_DATE_LIKE = re.compile(  # 14.11.2023 22:13, 2023-W46-2, 22:13:20
    r"\s*(?:\d{1,4}([./-])\d\d?\1\d{1,4}\b.*|\d{4}-(?:W\d\d|\d{3}(?!\d)).*|\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?\s*(?:[AP]M)?)\s*",
    re.ASCII | re.IGNORECASE,
)
_TELLING = 100  # numbers at the begin, of which all would be dates
_COMPACT = ("%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S")  # dates that are numbers, too


def is_counter(name: str) -> bool:
    """Return True for the usual names of a column that counts samples."""
    return " ".join(re.split(r"[\s_.-]+", name.strip().casefold())) in COUNTERS


def is_called_time(name: str) -> bool:
    """Return True if people call a column of times so: time, Timestamp, t, time (ms), event_time, recordedAt …"""
    words = _words(name)
    bare = _UNIT.sub("", words).strip(" ([_") or words
    split = re.split(r"[^\w]+", bare)
    return bare in _WHOLE or any(word in _WORDS for word in split) or (len(split) > 1 and split[-1] == "at")


def unit_in(name: str) -> str:
    """Return the unit that a column's name says, such as time_ms or t[us]; AUTO if it says none."""
    found = _UNIT.search(_words(name))
    return next((unit for unit in SECONDS if found and found[unit]), AUTO)


def _words(name: str) -> str:
    return " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").casefold().split())


def iso_seconds(text: str) -> tuple[float, bool]:
    """Return the seconds since 1970 of a time in ISO 8601, and whether it says its zone; without, it is UTC.

    Raises ValueError.
    """
    text = text.strip().upper()
    if not _DATED.match(text):
        raise ValueError(text)
    text = _SPACE_BEFORE_ZONE.sub("", _ZONE_NAME.sub("+00:00", text))
    fraction = _FRACTION.search(text)
    if fraction:
        text = text[: fraction.start(1)] + text[fraction.end(1) :]
    if "." in text or "," in text:  # Python takes the fraction of a minute for one of a second
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return whole.timestamp() + (float(f"0.{fraction[1][1:]}") if fraction else 0.0), moment.tzinfo is not None


class Times(Kind):
    """Times as numbers in some unit, or in ISO 8601 as seconds since 1970; never both, with zones or without."""

    expected = EXPECTED

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}  # seen, each with its first text
        self.is_dated = False
        self.are_durations = False  # which is said as dates are, and dates nothing

    @override
    def plain(self, text: str) -> float:
        value = number(text)
        if np.isfinite(value):
            self._forms.setdefault("a number", text)
            return value
        value, zoned = iso_seconds(text)
        self._forms.setdefault("a date with a zone" if zoned else "a date without a zone", text)
        return value

    @override
    def accept(self, values: Floats, where: Where) -> Floats:
        if len(self._forms) > 1 and len(values):
            (one, first), (other, second), *_ = self._forms.items()
            raise DataError(
                f"{where.at(len(values) - 1)}: times up to here have several forms: {quoted(first)} is {one}, "
                f"{quoted(second)} is {other}",
                "write all in one form",
            )
        self.is_dated = self.is_dated or any("date" in form for form in self._forms)
        return values

    @override
    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        values = np.empty(len(texts))
        for index, text in enumerate(texts):
            try:
                values[index] = self.plain(text)
            except (ValueError, OverflowError):
                raise DataError(f"{where.at(index)}: {quoted(text)} is no time", EXPECTED) from None
        return self.accept(values, where)

    @override
    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        if values.dtype.kind == "U":
            return self.of_texts(values.tolist(), where)
        if values.dtype.kind not in "fiuMm":
            raise DataError(f"{where.path}: column {where.column!r} is of type {values.dtype}", EXPECTED)
        missing = np.isnat(values) if values.dtype.kind in "Mm" else ~np.isfinite(values.astype(np.float64))
        if missing.any():
            index = int(missing.argmax())
            raise DataError(f"{where.at(index)}: {quoted(str(values[index]))} is no time", EXPECTED)
        if values.dtype.kind in "Mm":
            self._forms.setdefault("a date", str(values[:1]))
            self.are_durations = values.dtype.kind == "m"
            return self.accept(_seconds(values), where)
        self._forms.setdefault("a number", str(values[:1]))
        return self.accept(values.astype(np.float64), where)


def _seconds(values: NDArray[np.generic]) -> Floats:
    """Return dates or durations of any unit in seconds: whole ones apart, as float64 has no nanoseconds since 1970."""
    kind = values.dtype.kind
    whole = values.astype(f"{kind}8[s]")
    rest = (values - whole).astype("m8[ns]").astype(np.int64)
    return whole.astype(np.int64).astype(np.float64) + rest / 1e9


def unit_of(raw: Floats, rate: float, is_counter: bool = False) -> str:
    """Return the unit in which successive times are as far apart as samples at ``rate``; AUTO if there is none."""
    units = [(SAMPLES, 1 / rate)] if is_counter else []
    for unit, seconds in [*units, *((unit, SECONDS[unit]) for unit in _USUAL)]:
        if is_rate(raw * seconds, rate):
            return unit
    return AUTO


def epoch_unit(raw: Floats) -> str:
    """Return the unit in which the first time is one of this century, since 1970; AUTO if there is none."""
    return next((unit for unit in _USUAL if len(raw) and CENTURY[0] < raw[0] * SECONDS[unit] < CENTURY[1]), AUTO)


def is_rate(seconds: Floats, rate: float) -> bool:
    """Return True if times, apart from gaps, are a period of ``rate`` apart, on average or most of them."""
    steps = np.diff(seconds) * rate
    steps = steps[(steps > 0) & (steps <= GAP_PERIODS)]
    return len(steps) > 0 and min(abs(steps.mean() - 1), abs(median(steps) - 1)) <= RATE_TOLERANCE


def looks_like_time(fields: Sequence[object], rate: float | None) -> bool:
    """Return True if the first fields of a column ascend evenly, or in some unit as times at ``rate`` do."""
    values = np.array([number(str(field)) for field in fields])
    steps = np.diff(values)
    if len(values) < 3 or not np.isfinite(values).all() or (steps <= 0).any():
        return False
    even = abs(steps / median(steps) - 1) < RATE_TOLERANCE
    return bool(even.mean() > 0.5 or (rate and unit_of(values, rate)))


def looks_like_dates(fields: Sequence[object]) -> bool:
    """Return True if the first fields of a column say dates or times of day in some other form than ISO 8601's."""
    texts = [str(field) for field in fields if field is not None and str(field).strip()]
    return bool(texts) and all(_DATE_LIKE.fullmatch(text) for text in texts)


def are_compact_dates(raw: Floats) -> bool:
    """Return True if numbers are all such as 20231114221320: a date, and no time in any unit since 1970."""
    texts = [f"{value:.17g}" for value in raw[:_TELLING].tolist()]
    return bool(texts) and any(all(_is_date(text, form) for text in texts) for form in _COMPACT)


def _is_date(text: str, form: str) -> bool:
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return False
    return moment.strftime(form) == text and CENTURY[0] < moment.timestamp() < CENTURY[1]
