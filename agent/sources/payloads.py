"""What sensors say over MQTT, read with care: JSON by path, zigbee2mqtt, Tasmota, SenML (RFC 8428).

Errors name fields and units, never a value: they go into the log and the status.
"""

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from firmware_bridge.errors import SenmlError
from firmware_bridge.senml import codec as senml
from firmware_bridge.senml.numbers import UNIT, Quantity, load_json, read_number
from learnae.basics.overriding import override
from learnae.errors import EncodingError, LearnaeError
from learnae.text import shown

MAX_BYTES = 64 * 1024  # of a payload
_MAX_DEPTH = 8  # maps and lists inside each other that are searched
_MAX_LABEL_CHARACTERS = 64
_MAX_CHOICES = 12  # fields that an error names
_MAX_RIVALS = 64
MISSES = 3  # messages without a channel until that is told: some devices send a part at a time
_NAME = re.compile(r"(?![0-9]|.*[0-9]\.[0-9]{2})[\w .:/\-]{1,60}")  # of a field, as errors show it: no reading
_UNIT_FIELDS = {  # at the top of Tasmota's messages, by the names of fields in small letters
    "temperature": "TempUnit",
    "dewpoint": "TempUnit",
    "pressure": "PressureUnit",
    "seapressure": "PressureUnit",
    "speed": "SpeedUnit",
}
_UNIT_WORDS = ("unit", "units", "uom", "unit_of_measurement")  # beside the field that they are of
# fields that say whose or which number a map holds, in small letters
_OWNERS = (
    *("name", "sensor", "sensor_id", "type", "model", "device", "device_id", "deviceid"),
    *("deveui", "mac", "address", "addr", "node", "src"),
)
_MOST_CHARACTERS = 64  # of a word by which a device is known
_HARDWARE = re.compile(
    r"(?:0x)?(?:[0-9a-f]{2}[:.\-]?){4,10}", re.IGNORECASE
)  # an id of this form is no message's number

Content = Any  # a message as its format loads it


@dataclass(frozen=True, slots=True)
class Found:
    """The full path ``place`` of a field; ``number`` reads it, None if there is none now; ``owner`` says whose it is.

    The owner is what maps around the field say of themselves, by the paths of these words.
    """

    place: str
    number: Callable[[], Quantity | None]
    owner: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Channel:
    """One channel's number in the messages of one kind. It stays in the field, unit and device in which it was first.

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
    owner: dict[str, str] = field(default_factory=dict)  # as of Found

    def read(self, content: Content) -> float | None:
        """Return the number in a message, if it has one. Raises EncodingError for what is not certain."""
        find = FORMATS[self.payload].find
        found = {each.place: each for each in find(content, self.path, self.decimal)}
        if len(found) > 1 or self.rivals:
            self.rivals = sorted({*self.rivals, *found})[:_MAX_RIVALS]
        if not self.place and self.rivals:  # also when all but one of them are away
            raise EncodingError(f"{self} may be {_choices(self.rivals)}: name one of them in source.channels")
        if self.place and self.place not in found:
            found = {each.place: each for each in find(content, self.place, self.decimal)}
        if not found or self.place not in ("", *found):
            self.misses += 1
            return None
        self.place, self.misses = self.place or next(iter(found)), 0
        owner = found[self.place].owner
        if any(owner[word] != self.owner.get(word, owner[word]) for word in owner):
            raise EncodingError(
                f"{self} comes from several devices on one topic, of which the first is used",
                "name a topic that one device has for itself, or give the source another name if it was replaced",
            )
        self.owner = owner | self.owner
        quantity = found[self.place].number()
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
            others = f"may be {_choices(self.rivals)}" if self.rivals else "is a place in a list"
            is_sure = not self.rivals and (self.payload == _SENML or self.place.lower().endswith(self.path.lower()))
            return "" if is_sure else f"{self} {others}: {_choices([self.place])} is used"
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
    find: Callable[[Content, str, str], list[Found]]  # by path and decimal separator
    names: Callable[[Content], list[str]]  # full paths of all numbers


# -- JSON and what is made of it


def _load(payload: bytes) -> Content:
    """Read JSON, or a bare text."""
    _check_size(payload)
    text = _decoded(payload)
    if text[:1] not in ("{", "[", '"'):
        return text
    try:
        return load_json(text)
    except ValueError as error:
        remedy = "let the device send JSON, or set source.payload to what it sends"
        raise EncodingError(f"a payload of {len(payload)} bytes that is not JSON", remedy) from error


def _decoded(payload: bytes, errors: str = "replace") -> str:
    """Return the text of any Unicode encoding, without the zeros that end a string in C. Raises UnicodeDecodeError."""
    text = payload.rstrip(b"\0")
    data = payload if b"\0" in text else text
    return data.decode(json.detect_encoding(data), errors).strip().rstrip("\0")


def _find(content: Content, path: str, decimal: str) -> list[Found]:
    if path and not isinstance(content, (dict, list)):
        raise EncodingError(
            "a payload without fields", "write TOPIC# in source.channels for a payload that is the number"
        )
    fields = list(_at(_Field("", content), path.split("."))) if path else [_Field("", content)]
    if len(fields) > 1:
        raise EncodingError(f"{path!r} is there twice in one message", "let the device name its fields without dots")
    return [each.found(decimal) for each in fields]


def _find_tasmota(content: Content, path: str, decimal: str) -> list[Found]:
    """Find ``path``, or else all fields whose path ends so, in any case."""
    return _find(content, path, decimal) or [
        each.found(decimal)
        for each in _fields(_Field("", content), _MAX_DEPTH)
        if f".{each.place}".lower().endswith(f".{path}".lower())
    ]


@dataclass(frozen=True, slots=True)
class _Field:
    """What is at a full path, and the maps around it by theirs, the outermost first."""

    place: str
    value: Content
    around: tuple[tuple[str, dict[str, Content]], ...] = ()

    def inner(self) -> Iterator[tuple[str, "_Field"]]:
        """Yield the fields or items with their names: an item that says its own name has that in its path."""
        if isinstance(self.value, dict):
            around = (*self.around, (self.place, self.value))
            for name, value in self.value.items():
                yield name, _Field(f"{self.place}.{name}" if self.place else name, value, around)
        elif isinstance(self.value, list):
            names = _names_of_items(self.value)
            for index, value in enumerate(self.value):
                name = names.get(index, str(index))
                yield str(index), _Field(f"{self.place}.{name}" if self.place else name, value, self.around)

    def found(self, decimal: str) -> Found:
        owner = {f"{place}.{word}": value for place, each in self.around for word, value in _owner(each, bool(place))}
        return Found(self.place, partial(self.number, decimal), owner)

    def number(self, decimal: str) -> Quantity | None:
        """Return the number, in the unit that is written in it or beside it."""
        quantity = _number(self.place, self.value, decimal)
        if quantity is None or quantity.unit or not self.around:
            return quantity
        name = self.place.rpartition(".")[2]
        beside = (*_UNIT_WORDS, f"{name}_unit", f"{name}Unit")
        nearest, top = self.around[-1][1], self.around[0][1]
        words = [nearest.get(word) for word in beside] + [top.get(_UNIT_FIELDS.get(name.lower(), ""))]
        known = (word for word in words if isinstance(word, str) and re.fullmatch(UNIT, word) and len(word) < 16)
        return Quantity(quantity.value, next(known, ""))


def _owner(each: dict[str, Content], is_inside: bool) -> Iterator[tuple[str, str]]:
    """Yield what a map says of itself; an id may be a message's, unless it ``is_inside`` one or looks like hardware."""
    for name, value in each.items():
        word, is_text = name.lower(), isinstance(value, str)
        is_id = word == "id" and is_text and (is_inside or _HARDWARE.fullmatch(value))
        is_id = is_id or (word in ("id", "channel") and "model" in each)
        if (word in _OWNERS or is_id) and (is_text or isinstance(value, int)):
            yield name, str(value)[:_MOST_CHARACTERS]


def _names_of_items(items: list[Content]) -> dict[int, str]:
    """Return the names of a list's maps that have one of their own, by their indices."""
    for word in ("name", "id", "mac", "address", "sensor", "type"):
        names = [each.get(word) for each in items if isinstance(each, dict)]
        texts = [name for name in names if isinstance(name, str) and name and not name.isdecimal()]
        if len(texts) == len(items) == len(set(texts)):
            return dict(enumerate(texts))
    return {}


def _at(found: _Field, steps: list[str]) -> Iterator[_Field]:
    """Yield what is at the path; names of fields may have dots in them, items are named or counted."""
    if not steps:
        yield found
        return
    for name, inner in found.inner():
        own = inner.place[len(found.place) :].removeprefix(".") if found.place else inner.place
        for called in {name, own}:
            parts = called.split(".")
            if steps[: len(parts)] == parts:
                yield from _at(inner, steps[len(parts) :])


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
    for each in _fields(_Field("", content), _MAX_DEPTH):
        try:
            if not isinstance(each.value, (dict, list)) and read_number(each.value) is not None:
                names.append(each.place)
        except EncodingError:
            continue
    return names


def _fields(found: _Field, depth: int) -> Iterator[_Field]:
    """Yield all fields inside one."""
    for _, inner in found.inner():
        yield inner
        if depth:
            yield from _fields(inner, depth - 1)


# -- SenML


@dataclass(frozen=True, slots=True)
class _Pack:
    """What a pack of SenML holds, and what is wrong in it."""

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
        raise EncodingError("a SenML pack that cannot be used", str(error)) from error


def _find_senml(content: _Pack, path: str, _decimal: str) -> list[Found]:
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
    return [Found(name + _SUM * is_sum, partial(_only, name, numbers, unit))]


def _only(name: str, numbers: list[float | None], unit: str) -> Quantity | None:
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        raise EncodingError(f"{name!r} is no number")
    if len(set(map(repr, known))) > 1:
        raise EncodingError(f"{name!r} has several values of one time", "let the device give each its name or its time")
    return None if math.isnan(known[0]) else Quantity(known[0], unit)


def _names_of_senml(content: _Pack) -> list[str]:
    return list({each.name for each in content.measurements if each.number is not None})


_SUM, _SENML = " (sum)", "senml"
FORMATS = {
    "json": Format(_load, _find, _names),
    "zigbee2mqtt": Format(_load, _find, _names),
    "tasmota": Format(_load, _find_tasmota, _names),
    _SENML: Format(_load_senml, _find_senml, _names_of_senml),
}


def as_text(payload: bytes) -> str:
    """Read a label: JSON or bare text of at most 64 printable characters. Raises EncodingError."""
    try:
        text = _decoded(payload[:MAX_BYTES], "strict")
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
    places = {str(index) for index in range(len(names))}  # in a list
    usual = [name if name in places or _NAME.fullmatch(name) else "…" for name in names]
    return shown(usual[:_MAX_CHOICES] + ["…"] * (len(usual) > _MAX_CHOICES))
