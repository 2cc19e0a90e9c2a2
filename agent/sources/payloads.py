"""What sensors say over MQTT, read with care: JSON by path, zigbee2mqtt, Tasmota, SenML (RFC 8428).

Errors name fields and units, never a value: they go into the log and the status.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from firmware_bridge.errors import SenmlError
from firmware_bridge.senml import codec as senml
from firmware_bridge.senml.numbers import Quantity, load_json, read_number
from learnae.errors import EncodingError, LearnaeError
from learnae.overriding import override
from learnae.text import shown

MAX_BYTES = 64 * 1024  # of a payload
_MAX_DEPTH = 8  # maps and lists inside each other that are searched
_MAX_LABEL_CHARACTERS = 64
_MAX_CHOICES = 12  # fields that an error names
_MAX_RIVALS = 64
MISSES = 3  # messages without a channel until that is told: some devices send a part at a time
_NAME = re.compile(r"(?![0-9]|.*[0-9]\.[0-9]{2})[\w .:/\-]{1,60}")  # of a field, as errors show it: no reading
_TASMOTA_UNITS = {  # of fields in any case: what of the message says their unit
    "temperature": "TempUnit",
    "dewpoint": "TempUnit",
    "pressure": "PressureUnit",
    "seapressure": "PressureUnit",
    "speed": "SpeedUnit",
}

Content = Any  # a message as its format loads it
Place = tuple[str, Callable[[], Quantity | None]]  # full path of a field, and what reads its number, if it has one now


@dataclass(slots=True)
class Channel:
    """One channel's number in the messages of one kind. It stays in the field, and in the unit, in which it was first.

    ``path`` is the configured one, ``place`` and ``unit`` are what was found. ``decimal`` as of ``read_number``.
    """

    payload: str
    path: str
    decimal: str = ""
    place: str = ""
    unit: str = ""
    misses: int = 0  # messages without it, one after the other
    is_failing: bool = False  # the device said that it has no number now
    rivals: list[str] = field(default_factory=list)  # what the path may mean, once there were several in one message

    def read(self, content: Content) -> float | None:
        """Return the number in a message, if it has one. Raises EncodingError for what is not certain."""
        find = FORMATS[self.payload].find
        found = dict(find(content, self.path, self.decimal))
        if len(found) > 1 or self.rivals:
            self.rivals = sorted({*self.rivals, *found})[:_MAX_RIVALS]
        if not self.place and self.rivals:  # also when all but one of them are away
            raise EncodingError(f"{self} may be {_choices(self.rivals)}: name one of them in source.channels")
        if self.place and self.place not in found:
            found = dict(find(content, self.place, self.decimal))
        if not found or self.place not in ("", *found):
            self.misses += 1
            return None
        self.place, self.misses = self.place or next(iter(found)), 0
        number = found[self.place]
        quantity = number()
        self.is_failing = quantity is None
        if quantity is None:
            return None
        if self.unit and quantity.unit and quantity.unit != self.unit:
            raise EncodingError(
                f"{self} is in another unit than before",
                f"let the device keep to {self.unit!r} or to {quantity.unit!r}",
            )
        self.unit = self.unit or quantity.unit
        return quantity.value

    def doubt(self, content: Content) -> str:
        """Return why there is no number, or perhaps the wrong one, with the fields of a message; "" if all is well."""
        if self.is_failing and not self.misses:
            return f"{self} has no number now"
        if not self.path:
            return ""
        if self.place and self.misses < MISSES:
            return f"{self} may be {_choices(self.rivals)}: {self.place} is used" if self.rivals else ""
        names = _choices(sorted(FORMATS[self.payload].names(content)))
        place = f" ({self.place})" if self.place not in ("", self.path) else ""
        return f"{self}{place} is not in the messages, which have {names or 'no numbers'}"

    @override
    def __str__(self) -> str:
        return _called(self.path)


@dataclass(frozen=True, slots=True)
class Format:
    """How messages of one kind are loaded and searched. All raise EncodingError."""

    load: Callable[[bytes], Content]
    find: Callable[[Content, str, str], list[Place]]  # by path and decimal separator
    names: Callable[[Content], list[str]]  # full paths of all numbers


# -- JSON and what is made of it


def _load(payload: bytes) -> Content:
    """Read JSON, or a bare text."""
    _check_size(payload)
    text = payload.decode("utf-8-sig", "replace").strip()
    if text[:1] not in ("{", "[", '"'):
        return text
    try:
        return load_json(text)
    except ValueError as error:
        raise EncodingError(f"a payload of {len(payload)} bytes that is not JSON") from error


def _find(content: Content, path: str, decimal: str) -> list[Place]:
    if path and not isinstance(content, (dict, list)):
        raise EncodingError(
            "a payload without fields", "write TOPIC# in source.channels for a payload that is the number"
        )
    values = list(_at(content, path.split("."))) if path else [content]
    if len(values) > 1:
        raise EncodingError(f"{path!r} is there twice in one message", "let the device name its fields without dots")
    return [(path, partial(_number, path, value, decimal)) for value in values]


def _find_tasmota(content: Content, path: str, decimal: str) -> list[Place]:
    """Find ``path``, or else all fields whose path ends so, in any case."""
    found = _find(content, path, decimal) or [
        (place, partial(_number, place, value, decimal))
        for place, value in _fields(content, "", _MAX_DEPTH)
        if f".{place}".lower().endswith(f".{path}".lower())
    ]
    return [(place, partial(_with_unit, content, place, number)) for place, number in found]


def _with_unit(content: Content, place: str, number: Callable[[], Quantity | None]) -> Quantity | None:
    quantity = number()
    unit = content.get(_TASMOTA_UNITS.get(place.rpartition(".")[2].lower(), "")) if isinstance(content, dict) else None
    if quantity is None or not isinstance(unit, str) or not re.fullmatch(r"[A-Za-z/]{1,8}", unit):
        return quantity
    return Quantity(quantity.value, unit)


def _at(value: Content, steps: list[str]) -> Iterator[Content]:
    """Yield what is at the path; names of fields may have dots in them."""
    if not steps:
        yield value
    elif isinstance(value, dict):
        for end in range(1, len(steps) + 1):
            name = ".".join(steps[:end])
            if name in value:
                yield from _at(value[name], steps[end:])
    elif isinstance(value, list) and steps[0].isdecimal() and steps[0].isascii() and len(steps[0]) < 6:
        yield from (_at(value[int(steps[0])], steps[1:]) if int(steps[0]) < len(value) else ())


def _number(place: str, value: Content, decimal: str) -> Quantity | None:
    if isinstance(value, (dict, list)):
        inner = [f"{place}.{name}".strip(".") for name in _names(value)]
        raise EncodingError(
            f"{_called(place)} holds several values: {_choices(inner) or 'no numbers'}",
            "name one of them in source.channels",
        )
    try:
        return read_number(value, decimal)
    except EncodingError as error:
        raise EncodingError(f"{_called(place)} cannot be used: {error.problem}", error.remedy) from error


def _names(content: Content) -> list[str]:
    names = []
    for place, value in _fields(content, "", _MAX_DEPTH):
        try:
            if not isinstance(value, (dict, list)) and read_number(value) is not None:
                names.append(place)
        except EncodingError:
            continue
    return names


def _fields(value: Content, path: str, depth: int) -> Iterator[tuple[str, Content]]:
    """Yield the full path and value of all fields."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        place = f"{path}.{name}" if path else str(name)
        yield place, inner
        if depth:
            yield from _fields(inner, place, depth - 1)


# -- SenML


@dataclass(frozen=True, slots=True)
class _Pack:
    measurements: list[senml.Measurement]
    faults: list[LearnaeError]


def _load_senml(payload: bytes) -> _Pack:
    """Read JSON or CBOR; records that break the rules are left out."""
    _check_size(payload)
    read = senml.from_json if payload.lstrip()[:1] in (b"[", b"{") else senml.from_cbor
    faults: list[LearnaeError] = []
    try:
        return _Pack(read(payload, time.time(), faults), faults)
    except SenmlError as error:
        raise EncodingError(str(error)) from error


def _find_senml(content: _Pack, path: str, _decimal: str) -> list[Place]:
    """Find the newest measurement of the full name ``path``, its value or else its sum; ``NAME (sum)`` is the sum."""
    name = path.removesuffix(_SUM)
    mine = [each for each in content.measurements if each.name == name]
    if not mine:
        return []
    newest = max(each.time for each in mine)
    last = [each for each in mine if each.time == newest]
    is_sum = path != name or last[-1].value is None
    numbers = [each.sum if is_sum else each.number for each in last]
    if is_sum and numbers == [None]:
        return []
    unit = f"{last[-1].unit} s".strip() if is_sum else last[-1].unit
    return [(name + _SUM * is_sum, partial(_only, name, numbers, unit))]


def _only(name: str, numbers: list[float | None], unit: str) -> Quantity | None:
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise EncodingError(f"{name!r} is no number")
    if len(set(map(repr, known))) > 1:
        raise EncodingError(f"{name!r} has several values of one time", "let the device give each its name or its time")
    return None if math.isnan(known[0]) else Quantity(known[0], unit)


def _names_of_senml(content: _Pack) -> list[str]:
    return list({each.name for each in content.measurements if each.number is not None})


_SUM = " (sum)"
FORMATS = {
    "json": Format(_load, _find, _names),
    "zigbee2mqtt": Format(_load, _find, _names),
    "tasmota": Format(_load, _find_tasmota, _names),
    "senml": Format(_load_senml, _find_senml, _names_of_senml),
}
TOPICS = {"zigbee2mqtt": "zigbee2mqtt/{}", "tasmota": "tele/{}/SENSOR"}  # where a device of that name publishes


def as_text(payload: bytes) -> str:
    """Read a label: JSON or bare text of at most 64 printable characters. Raises EncodingError."""
    try:
        text = payload[:MAX_BYTES].decode().strip()
    except UnicodeDecodeError as error:
        raise EncodingError("a label that is not text") from error
    if text.startswith('"'):
        try:
            text = str(load_json(text))
        except ValueError as error:
            raise EncodingError("a label that is not JSON") from error
    if len(text) > _MAX_LABEL_CHARACTERS or not text.isprintable():
        raise EncodingError(f"a label longer than {_MAX_LABEL_CHARACTERS} characters")
    return text


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_BYTES:
        raise EncodingError(f"a payload of {len(payload)} bytes", f"at most {MAX_BYTES} are read")


def _called(path: str) -> str:
    return repr(path) if path else "the payload"


def _choices(names: list[str]) -> str:
    """Join names of fields, the first of very many; one that is not a usual name is not shown."""
    usual = [name if _NAME.fullmatch(name) else "…" for name in names]
    return shown(usual[:_MAX_CHOICES] + ["…"] * (len(usual) > _MAX_CHOICES))
