"""Numbers as devices write them: of JSON and CBOR, as text with a unit, on and off, and the words for "no reading".

Everything that agents hear, over MQTT or a serial line, goes through this one reader.
"""

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from learnae.basics.overriding import override
from learnae.errors import EncodingError

_MAX_CHARACTERS = 64  # of a number in text
_WORDS = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0}
_SIGN, _DIGITS = r"[-+\u2212]?", r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_LETTER = r"[^\W\d_]"
# letters, perhaps with a power (m2, s-1, m³), joined by / * or a dot; no digits elsewhere: 0x1F, 12h30 are no units
_ATOM = rf"(?:%{_LETTER}*|[°\ufffd]?{_LETTER}+|[°‰℃℉])(?:[²³]|\^-?[1-9]|(?<=[msnt])-?[1-4])?"
UNIT = rf"/?{_ATOM}(?:[/*·.]{_ATOM})*"
_NUMBER = re.compile(rf"({_SIGN}{_DIGITS})\s?((?![eE]$){UNIT})?")
_WITH_COMMA = re.compile(rf"({_SIGN}[0-9.]*,[0-9.,]*)\s?((?![eE]$){UNIT})?")
_GROUPED = {  # by what separates the decimals
    ",": re.compile(rf"{_SIGN}(?:[0-9]{{1,3}}(?:\.[0-9]{{3}})+|[0-9]+)(?:,[0-9]+)?"),
    ".": re.compile(rf"{_SIGN}(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?"),
}
DECIMALS = tuple(_GROUPED)
# what C, JavaScript and home automation print for a sensor that has failed, perhaps with its unit
_NOTHING = re.compile(
    rf"|-+|n/?a|null|none|undefined|unknown|unavailable"
    rf"|[-+]?(?:nan|inf(?:inity)?)(?:\([^()]*\))?(?:\s?{UNIT})?|[-+]?1\.#[a-z0-9]+",
    re.IGNORECASE,
)
_PLAIN = "let the device write one number, perhaps with its unit"
_MULTIPLIERS = ("k", "M", "G")  # alone they are no unit that a sensor has
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*+"?)|(:)(?=\s*[,}])|[^\s\[\]{}:,"]+', re.DOTALL)


class _Twice:
    """The value of a name that a map has more than once."""

    @override
    def __repr__(self) -> str:
        return "there twice"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A finite number and its unit, "" if it was written without."""

    value: float
    unit: str = ""


def read_number(value: object, decimal: str = "") -> Quantity | None:
    """Read a number; None if the device says that it has none now. Raises EncodingError for all else.

    ``decimal`` is what separates the decimals of numbers in text, a point or a comma; without it a
    text with a comma is refused, as it may be 1.5, 15 or two numbers. Errors do not quote what was read.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _read_text(value.strip(), decimal)
    if isinstance(value, _Twice):
        raise EncodingError("it is there twice in one map", "let the device give each name once")
    if isinstance(value, (bool, int, float, Decimal)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.inf
        return Quantity(number) if math.isfinite(number) else None
    raise EncodingError(f"it is a {type(value).__name__} and no number")


def load_json(data: bytes | str) -> Any:
    """Read JSON; a bare word in it (``nan``, ``-inf``, ``unavailable``) or a missing value costs that value alone.

    Numbers that JSON does not know (``+5``, ``.5``) become text for ``read_number``. Raises ValueError.
    """
    try:
        return _strict(data)
    except ValueError:
        text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
        return _strict(_TOKEN.sub(_mended, text))


def _strict(data: bytes | str) -> Any:
    try:
        return json.loads(data, parse_constant=str, object_pairs_hook=_as_map)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _as_map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = _Twice()
            seen.add(name)
    return found


def _mended(token: re.Match[str]) -> str:
    text = token[0]
    if token[1] is not None or text in ("true", "false", "null"):
        return text
    if token[2] is not None:
        return ":null"
    if len(text) <= _MAX_CHARACTERS and _JSON_NUMBER.fullmatch(text):
        return text
    try:
        quantity = read_number(text)
    except EncodingError:
        return "null"
    # a bare number with letters behind it may be a damaged one
    return "null" if quantity is None or quantity.unit else json.dumps(text)


def _read_text(text: str, decimal: str) -> Quantity | None:
    if len(text) > _MAX_CHARACTERS:
        raise EncodingError("it is text and no number", _PLAIN)
    if (word := _WORDS.get(text.lower())) is not None:
        return Quantity(word)
    if _NOTHING.fullmatch(text):
        return None
    if decimal:
        return _read_grouped(text, decimal)
    found = _NUMBER.fullmatch(text)
    if found is None:
        if _WITH_COMMA.fullmatch(text):
            raise EncodingError(
                "it has a comma, which may stand before decimals, between thousands or between two numbers",
                'set source.decimal to "," or "." (MQTT), or let the device write numbers with a point',
            )
        raise EncodingError("it is text and no number", _PLAIN)
    return _quantity(found[1], found[2])


def _read_grouped(text: str, decimal: str) -> Quantity | None:
    found = _NUMBER.fullmatch(text) or _WITH_COMMA.fullmatch(text)
    if found is None:
        raise EncodingError("it is text and no number", _PLAIN)
    digits = found[1]
    other = "." if decimal == "," else ","
    if digits.strip("-+\u2212").isdecimal() or _GROUPED[decimal].fullmatch(digits):
        return _quantity(digits.replace(other, "").replace(",", "."), found[2])
    if decimal == "." and other not in digits:
        return _quantity(digits, found[2])  # such as 1e3 or .5
    raise EncodingError(f"it is no number whose decimals follow {decimal!r}", "check source.decimal")


def _quantity(digits: str, unit: str | None) -> Quantity | None:
    if unit in _MULTIPLIERS:
        raise EncodingError(
            f"it ends in {unit}, which may be a unit or a multiplier",
            "let the device write the whole number or its unit",
        )
    number = float(digits.replace("\u2212", "-"))
    return Quantity(number, unit or "") if math.isfinite(number) else None
