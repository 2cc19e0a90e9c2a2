"""Read a map from an untrusted peer: every field typed and bounded, or a named error."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from learnae.errors import LearnaeError
from learnae.ipld.cid import Cid

_REQUIRED: Any = object()
_NUMBER_BOUND = 1e15
# str.isprintable is another one in each version of Python, and all peers must take the same messages: control and
# format characters, spaces but the usual one, surrogates, private use
_UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000f0000-\U0010ffff]"
)


class Fields:
    """A view of ``mapping`` whose readers raise ``blame`` errors that name ``thing.field``."""

    def __init__(self, mapping: object, thing: str, blame: type[LearnaeError]) -> None:
        self.thing = thing
        self._blame = blame
        if not isinstance(mapping, Mapping):
            raise blame(f"{thing} is a {type(mapping).__name__}", "it must be a map")
        self._mapping = mapping

    def __contains__(self, name: str) -> bool:
        return name in self._mapping

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping)

    def integer(self, name: str, low: int = 0, high: int = 2**53, default: int = _REQUIRED) -> int:
        """Return an integer in [low, high]."""
        value = self.value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(name, value, f"an integer from {low} to {high}")
        return value

    def number(
        self, name: str, low: float = -_NUMBER_BOUND, high: float = _NUMBER_BOUND, default: float = _REQUIRED
    ) -> float:
        """Return a finite float or integer in [low, high]."""
        value = self.value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(name, value, "a number")
        if not low <= value <= high or abs(value) == math.inf:  # NaN is in no range
            raise self.error(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def text(self, name: str, longest: int = 64, default: str = _REQUIRED) -> str:
        """Return a printable string of at most ``longest`` characters."""
        value = self.value(name, default)
        if not isinstance(value, str) or len(value) > longest or _UNPRINTABLE.search(value):
            raise self.error(name, value, f"printable text of at most {longest} characters")
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str = _REQUIRED) -> str:
        """Return one of the ``allowed`` words."""
        value = self.value(name, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.error(name, value, f"one of {', '.join(allowed)}")
        return value

    def boolean(self, name: str, default: bool = _REQUIRED) -> bool:
        """Return True or False."""
        value = self.value(name, default)
        if not isinstance(value, bool):
            raise self.error(name, value, "true or false")
        return value

    def octets(self, name: str, length: int) -> bytes:
        """Return a byte string of exactly ``length`` bytes."""
        value = self.value(name)
        if not isinstance(value, bytes) or len(value) != length:
            raise self.error(name, value, f"{length} bytes")
        return value

    def link(self, name: str) -> Cid:
        """Return a link to a block."""
        value = self.value(name)
        if not isinstance(value, Cid):
            raise self.error(name, value, "a link")
        return value

    def optional_link(self, name: str) -> Cid | None:
        """Return a link to a block, or null."""
        return None if self.value(name, None) is None else self.link(name)

    def links(
        self, name: str, most: int, default: Sequence[Cid] = _REQUIRED, *, repeated: bool = False
    ) -> tuple[Cid, ...]:
        """Return at most ``most`` links, none twice unless they may be ``repeated``."""
        value = self.value(name, default)
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, Cid) for item in value):
            raise self.error(name, value, "a list of links")
        if len(value) > most or (len(set(value)) != len(value) and not repeated):
            raise self.error(name, f"{len(value)} links", f"at most {most} links{'' if repeated else ', none twice'}")
        return tuple(value)

    def numbers(self, name: str, most: int) -> tuple[float, ...]:
        """Return a list of at most ``most`` finite numbers."""
        items = self._items(name, 0, most, f"a list of at most {most} numbers")
        return tuple(items.number(index) for index in items)

    def integers(self, name: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """Return a list of exactly ``count`` integers in [low, high]."""
        items = self._items(name, count, count, f"a list of {count} integers")
        return tuple(items.integer(index, low, high) for index in items)

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Return a list of at most ``most`` strings."""
        items = self._items(name, 0, most, f"a list of at most {most} strings")
        return tuple(items.text(index) for index in items)

    def fields(self, name: str) -> Fields:
        """Return a map inside this map."""
        return Fields(self.value(name), f"{self.thing}.{name}", self._blame)

    def maps(self, name: str, most: int) -> tuple[Fields, ...]:
        """Return a list of at most ``most`` maps."""
        items = self._items(name, 0, most, f"a list of at most {most} maps")
        return tuple(items.fields(index) for index in items)

    def _items(self, name: str, least: int, most: int, wanted: str) -> Fields:
        items = self.value(name)
        if not isinstance(items, (list, tuple)) or not least <= len(items) <= most:
            raise self.error(name, items, wanted)
        return Fields({str(index): item for index, item in enumerate(items)}, f"{self.thing}.{name}", self._blame)

    def value(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return the field unchecked."""
        value = self._mapping.get(name, default)
        if value is _REQUIRED:
            raise self._blame(f"{self.thing} has no field {name!r}")
        return value

    def error(self, name: str, value: object, wanted: str) -> LearnaeError:
        """Return the error that says what ``name`` must be."""
        shown = repr(value)
        return self._blame(f"{self.thing}.{name} is {shown[:60]}", f"it must be {wanted}")
