"""Fields that name classes: one class has one form, whatever the format of the file."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.tables.forms import normal_form, number
from learnae.tables.numbers import is_missing, quoted
from learnae.tables.table import Floats, Kind, Where
from learnae.text import shown

_LONGEST_NUMBER = 10  # digits of a class
_MAX_UNKNOWN = 1000  # different labels that are counted
_MAX_SHOWN = 8
_BOOLEANS = {"true": "1", "false": "0"}


def _place(form: str) -> int | None:
    return int(form) if form.isascii() and form.isdecimal() and len(form) < _LONGEST_NUMBER else None


def _up_to(count: int) -> str:
    return ",".join(map(str, range(1, count + 1))) if count <= _MAX_SHOWN else f"1,2,…,{count}"


class Classes(Kind):
    """Classes by their ``names``; by their numbers, 0 to ``count`` - 1, where no name is a number itself.

    So ``--classes 1,2,3`` are names in every format, and a label 1 is never the second class. Labels that are
    neither become NaN and are counted. Raises DataError for two names of one form.
    """

    expected = "give names or numbers of classes, as text or numbers"

    def __init__(self, names: Sequence[str], count: int) -> None:
        self._names = {normal_form(name): float(place) for place, name in enumerate(names)}
        if len(self._names) < len(names):
            raise DataError(f"two of the swarm's classes have one name: {shown(names)}", "use a swarm of other names")
        self._shown = shown(names)
        self._by_number = not any(number(name) == number(name) for name in names)
        self._folded = {name.casefold(): place for name, place in self._names.items()}
        self._count = count
        self._known: dict[str, float] = {}
        self._seen: Counter[float] = Counter()
        self._unknown: Counter[str] = Counter()

    @override
    def plain(self, text: str) -> float:
        found = self._known.get(text)
        if found is None:
            found = self._find(text)
            if np.isnan(found):
                raise ValueError(text)
            if len(self._known) < _MAX_UNKNOWN:
                self._known[text] = found
        return found

    def _find(self, text: str) -> float:
        form = normal_form(text)
        if form in self._names:
            return self._names[form]
        if form.casefold() in _BOOLEANS:  # Python, pandas and R each write them in another way
            if form.casefold() in self._folded:
                return self._folded[form.casefold()]
            form = _BOOLEANS[form.casefold()]
            if form in self._names:
                return self._names[form]
        place = _place(form)
        return float(place) if self._by_number and place is not None and place < self._count else float("nan")

    @override
    def accept(self, values: Floats, where: Where) -> Floats:
        classes, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        self._seen.update(dict(zip(classes.tolist(), counts.tolist(), strict=True)))
        return values

    @override
    def of_texts(self, texts: Sequence[str], where: Where) -> Floats:
        values = np.array([self._found_or_counted(text, 1) for text in texts], np.float64)
        return self.accept(values, where)

    @override
    def of_array(self, values: NDArray[np.generic], where: Where) -> Floats:
        if values.dtype.kind not in "fiubU":
            raise DataError(f"{where.path}: column {where.column!r} is of type {values.dtype}", self.expected)
        forms, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        found = [
            self._found_or_counted(str(form), count)
            for form, count in zip(forms.tolist(), counts.tolist(), strict=True)
        ]
        return self.accept(np.array(found, np.float64)[places.reshape(-1)], where)

    def _found_or_counted(self, text: str, count: int) -> float:
        """Return the class; NaN, and counted, if it is none. Nothing, and -1, say that the class is not known."""
        try:
            return self.plain(text)
        except ValueError:
            form = normal_form(text)
            if not is_missing(form) and form != "-1" and (form in self._unknown or len(self._unknown) < _MAX_UNKNOWN):
                self._unknown[form] += count
            return float("nan")

    @property
    def complaint(self) -> str:
        """Name the labels that are no class, the most frequent first, with how often they are there."""
        if not self._unknown:
            return ""
        most = [f"{quoted(text)} ({count})" for text, count in self._unknown.most_common(_MAX_SHOWN)]
        more = ", …" if len(self._unknown) > _MAX_SHOWN else ""
        return f"labels that are no class: {', '.join(most)}{more}"

    def check(self, origin: str) -> None:
        """Raise DataError if classes are numbered from one: all would be trained as the next one, without the last."""
        numbers = sorted(place for form in self._unknown if (place := _place(form)) is not None)
        beyond = list(range(self._count, numbers[-1] + 1)) if numbers else []
        if not self._by_number or not beyond or numbers != beyond or self._seen[0.0]:
            return
        rows = {int(form): count for form, count in self._seen.items()} | {
            place: self._unknown[str(place)] for place in numbers
        }
        there = ", ".join(f"{form} ({rows[form]})" for form in sorted(rows)[:_MAX_SHOWN])
        subtract = "subtract one, or " if len(numbers) == 1 else ""
        choices = f"{subtract}write the names: {self._shown}" if self._names else (
            f"{subtract}name the classes by these numbers: learnae swarm create --classes {_up_to(numbers[-1])}"
        )  # fmt: skip
        raise DataError(
            f"{origin} has the labels {there}: numbered from 1, and the swarm's {self._count} classes from 0", choices
        )
