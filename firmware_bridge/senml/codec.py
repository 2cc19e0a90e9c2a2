"""Sensor Measurement Lists (SenML, RFC 8428) in JSON and CBOR: read into measurements, and written.

Every record is read on its own: one that breaks the rules costs itself, and a value that is no number costs
that value. What says that the pack must not be used at all (``bver``, a field that ends in ``_``) costs the pack.
Needs neither a serial port nor the bridge: SenML of other origin (MQTT) is read with this, too.
"""

import base64
import binascii
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import cbor2

from firmware_bridge.errors import SenmlError
from firmware_bridge.records import MAX_TIME, Readings, Schema
from firmware_bridge.senml.numbers import Quantity, load_json, read_number
from learnae.basics.overriding import override
from learnae.errors import EncodingError, LearnaeError
from learnae.ipld.fields import Fields

MAX_BYTES = 1 << 20  # of one pack
MAX_MEASUREMENTS = 20_000  # in one pack
VERSION = 10  # RFC 8428, section 4.4
MIN_ABSOLUTE_TIME = 2.0**28  # seconds: smaller times count from now (section 4.5.3)
_MAX_UNIT = 60  # characters
_MAX_NUMBER = 1e300  # so that base and value together are finite
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")  # section 4.5.1
_PATH = re.compile(r"/[A-Za-z0-9\-:./_]+")  # what LwM2M calls its resources
_BASES = ("bver", "bn", "bt", "bu", "bv", "bs")
_FIELDS = ("n", "u", "v", "vs", "vb", "s", "t", "ut", "vd")
# CBOR's integers for JSON's names (section 6, table 4): bases count down from -1, fields up from 0
_LABELS = {name: -1 - i for i, name in enumerate(_BASES)} | {name: i for i, name in enumerate(_FIELDS)}
_NAMES = {label: name for name, label in _LABELS.items()}
_REFERENCES = (25, 28, 29, 256)  # tags of shared values
_VALUES = ("v", "vs", "vb", "vd")
_FIELD_OF = {str: "vs", bool: "vb", bytes: "vd"}  # of a value; "v" of any number

Value = float | str | bool | bytes | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """One resolved record: full ``name``, ``unit`` or "", Unix ``time``; ``value`` None if there is only a ``sum``.

    A ``value`` or ``sum`` that the device has not got now, or that cannot be read, is NaN. ``is_dated``
    is False if the time was counted from the reader's now.
    """

    name: str
    unit: str
    time: float
    value: Value
    sum: float | None = None
    is_dated: bool = field(default=True, compare=False)

    @property
    def number(self) -> float | None:
        """Return the number of the value (a boolean's is 0 or 1) or else the sum; None for text and octets."""
        if isinstance(self.value, (bool, int, float)):
            return float(self.value)
        return self.sum if self.value is None else None

    @property
    def number_unit(self) -> str:
        """Return the unit of ``number``: a sum's is that of the value times seconds."""
        return f"{self.unit} s".strip() if self.value is None else self.unit


def from_json(data: bytes | str, now: float, faults: list[LearnaeError] | None = None) -> list[Measurement]:
    """Read application/senml+json; ``now`` (Unix seconds) is what relative times count from. Raises SenmlError.

    What is wrong with single records goes into ``faults``; without such a list the first fault is raised.
    """
    _check_size(len(data))
    try:
        pack = load_json(data)
    except ValueError as error:
        raise SenmlError(f"a SenML pack that is not JSON: {error}") from error
    return _resolve(pack, now, faults)


def from_cbor(data: bytes, now: float, faults: list[LearnaeError] | None = None) -> list[Measurement]:
    """Read application/senml+cbor, as ``from_json``; raises SenmlError."""
    _check_size(len(data))
    try:
        source = io.BytesIO(data)
        pack = cbor2.load(
            source,
            max_depth=8,
            allow_duplicate_keys=False,
            semantic_decoders=dict.fromkeys(_REFERENCES, _refuse_reference),
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise SenmlError(f"a SenML pack that is not CBOR: {error}") from error
    if source.read(1):
        raise SenmlError("a SenML pack with other bytes behind it", "let the device send one pack a message")
    if isinstance(pack, (list, tuple)):  # a tuple inside a tag
        pack = [_named(record) if isinstance(record, Mapping) else record for record in pack]
    return _resolve(pack, now, faults)


def to_json(measurements: Iterable[Measurement]) -> bytes:
    """Write application/senml+json: one pack, names and times with a common base. Raises SenmlError."""
    pack = _compress(measurements)
    for record in pack:
        if isinstance(record.get("vd"), bytes):
            record["vd"] = base64.urlsafe_b64encode(record["vd"]).rstrip(b"=").decode()  # section 4.3: no padding
    return json.dumps(pack, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def to_cbor(measurements: Iterable[Measurement]) -> bytes:
    """Write application/senml+cbor; raises SenmlError."""
    return cbor2.dumps([{_LABELS[name]: value for name, value in record.items()} for record in _compress(measurements)])


def measurements_of(schema: Schema, readings: Readings) -> list[Measurement]:
    """Return readings as measurements, sample after sample, without those of no value; names are ``board:channel``."""
    names = [f"{schema.board}:{channel.name}" for channel in schema.channels]
    return [
        Measurement(name, channel.unit, time, value)
        for time, row in zip(readings.times.tolist(), readings.values.tolist(), strict=True)
        for name, channel, value in zip(names, schema.channels, row, strict=True)
        if not math.isnan(value)
    ]


# -- reading


class _Record(Fields):
    """One map of a pack, whose errors do not show what was read: not for logs, and each time another."""

    @override
    def error(self, name: str, value: object, wanted: str) -> LearnaeError:
        if name in ("n", "bn", "bver"):
            return super().error(name, value, wanted)
        return SenmlError(
            f"{self.thing}.{name} is a {type(value).__name__} that cannot be used", f"it must be {wanted}"
        )


def _named(record: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a record of CBOR with the names of JSON."""
    found = {_NAMES.get(key, key) if type(key) is int else key: _plain(value) for key, value in record.items()}
    if len(found) < len(record):
        raise SenmlError("a SenML record that has one field by name and by number", "let the device give each once")
    return found


def _resolve(pack: object, now: float, faults: list[LearnaeError] | None) -> list[Measurement]:
    if not isinstance(pack, list) or len(pack) > MAX_MEASUREMENTS:
        raise SenmlError("a SenML pack that is no list", f"it is a list of at most {MAX_MEASUREMENTS} records")
    base: dict[str, Any] = {}
    found: list[Measurement] = []
    wrong: list[LearnaeError] = []
    for number, record in enumerate(pack):
        if isinstance(record, Mapping):
            fields = _Record(record, f"SenML record {number}", SenmlError)
            _check_usable(fields)
            base.update({name: fields.value(name) for name in _BASES if name in fields})
            if any(name not in _BASES for name in fields):
                merged = _Record({**base, **{name: fields.value(name) for name in fields}}, fields.thing, SenmlError)
                try:
                    found.append(_measurement(merged, now, wrong))
                except SenmlError as error:
                    wrong.append(error)
        else:
            wrong.append(SenmlError(f"SenML record {number} is a {type(record).__name__}", "it must be a map"))
        if wrong and faults is None:
            raise wrong[0]
    if faults is not None:
        faults += wrong
    return found


def _check_usable(fields: Fields) -> None:
    """Raise SenmlError if this record says that a reader like this one must not use the pack."""
    for name in fields:
        if isinstance(name, str) and name.endswith("_"):
            problem = f"{fields.thing} has {name!r}, which has to be understood and is not known"
            raise SenmlError(problem, "let the device leave it out (RFC 8428, section 4.4)")
    if fields.integer("bver", 1, 1000, VERSION) > VERSION:
        raise fields.error("bver", fields.value("bver"), f"at most {VERSION}")


def _measurement(fields: Fields, now: float, wrong: list[LearnaeError]) -> Measurement:
    """Read one record; one of good name and time whose value cannot be read has none, and a fault in ``wrong``."""
    name = fields.text("bn", 200, "") + fields.text("n", 200, "")
    if not _NAME.fullmatch(name) and not _PATH.fullmatch(name):
        raise fields.error("n", name, "letters, digits and - : . / _, a letter, digit or slash first")
    time = fields.number("bt", -MAX_TIME, MAX_TIME, 0.0) + fields.number("t", -MAX_TIME, MAX_TIME, 0.0)
    is_dated = time >= MIN_ABSOLUTE_TIME
    if not is_dated:
        time += now
    if not 0 <= time <= MAX_TIME:
        raise fields.error("t", time, "a time since 1970")
    unit = fields.text("u", _MAX_UNIT, fields.text("bu", _MAX_UNIT, ""))
    value: Value
    total = None
    try:
        value, own_unit = _value(fields)
        if own_unit and unit and own_unit != unit:
            raise SenmlError(f"{fields.thing}.v has another unit in its text than beside it", "give it one unit")
        unit = unit or own_unit
        if "s" in fields or "bs" in fields:
            total = _sum(fields, "s", "bs").value
        if value is None and "s" not in fields:
            raise SenmlError(f"{fields.thing} has no value", "give it one of v, vs, vb, vd, or s")
    except SenmlError as error:
        wrong.append(error)
        value, total = math.nan, None
    return Measurement(name, unit, time, value, total, is_dated)


def _value(fields: Fields) -> tuple[Value, str]:
    """Return the value and the unit that is written in it, if any."""
    present = [name for name in _VALUES if name in fields]
    if len(present) > 1:
        raise SenmlError(f"{fields.thing} has {' and '.join(present)}", "give each record one value")
    if present == ["vs"]:
        return fields.text("vs", 1000), ""
    if present == ["vb"]:
        quantity = _quantity(fields, "vb")
        if quantity.value not in (0, 1) and not math.isnan(quantity.value):
            raise fields.error("vb", quantity.value, "true or false")
        return math.nan if math.isnan(quantity.value) else bool(quantity.value), ""
    if present == ["vd"]:
        return _octets(fields), ""
    if present == ["v"]:
        quantity = _sum(fields, "v", "bv")
        return quantity.value, quantity.unit
    return None, ""


def _sum(fields: Fields, name: str, base: str) -> Quantity:
    """Return a number and its base value together."""
    quantity = _quantity(fields, name) if name in fields else Quantity(0.0)
    return Quantity(quantity.value + fields.number(base, -_MAX_NUMBER, _MAX_NUMBER, 0.0), quantity.unit)


def _quantity(fields: Fields, name: str) -> Quantity:
    """Read a number in whatever form; NaN if the device says that it has none."""
    try:
        quantity = read_number(fields.value(name))
    except EncodingError as error:
        raise SenmlError(f"{fields.thing}.{name} cannot be used: {error.problem}", error.remedy) from error
    if quantity is None:
        return Quantity(math.nan)
    if abs(quantity.value) > _MAX_NUMBER:
        raise fields.error(name, quantity.value, f"a number from {-_MAX_NUMBER:g} to {_MAX_NUMBER:g}")
    return quantity


def _plain(value: Any) -> Any:
    """Return a decimal fraction of CBOR (section 6: allowed for every number) as a float, what is undefined as None."""
    if value is cbor2.undefined:
        return None
    return float(value) if isinstance(value, Decimal) else value


def _octets(fields: Fields) -> bytes:
    data = fields.value("vd")
    if isinstance(data, bytes):
        return data
    text = fields.text("vd", MAX_BYTES)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.error("vd", text, "base64url") from error


# -- writing


def _compress(measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    """Make one record of each; the first also has the base name and time that all share."""
    whole = list(measurements)
    pack = [_record(each) for each in whole]
    if not pack:
        return []
    prefix = _common_prefix([each.name for each in whole])
    base = whole[0].time
    if base < MIN_ABSOLUTE_TIME:
        raise SenmlError(f"a measurement of the Unix time {base}", "SenML has no times before the middle of 1978")
    for record, each in zip(pack, whole, strict=True):
        if record["n"] == prefix:
            del record["n"]
        else:
            record["n"] = each.name[len(prefix) :]
        if each.time != base:
            record["t"] = round(each.time - base, 6)  # a microsecond; and base + t keeps within a float's digits
    pack[0] = {"bn": prefix, "bt": base, **pack[0]}
    return pack


def _record(each: Measurement) -> dict[str, Any]:
    if not _NAME.fullmatch(each.name):
        raise SenmlError(f"a measurement named {each.name!r}", "use letters, digits and - : . / _")
    if isinstance(each.value, float) and not math.isfinite(each.value):
        raise SenmlError(f"{each.name} is {each.value}", "SenML has finite numbers only")
    record: dict[str, Any] = {"n": each.name}
    if each.unit:
        record["u"] = each.unit
    if each.value is not None:
        record[_FIELD_OF.get(type(each.value), "v")] = each.value
    if each.sum is not None:
        record["s"] = each.sum
    return record


def _common_prefix(names: list[str]) -> str:
    shortest, longest = min(names), max(names)
    length = next((index for index, char in enumerate(shortest) if char != longest[index]), len(shortest))
    return shortest[:length]


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise SenmlError(f"a SenML pack of {size} bytes", f"at most {MAX_BYTES} are read")


def _refuse_reference(*_: object) -> object:
    raise ValueError("a reference to a shared value")
