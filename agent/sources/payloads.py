"""What sensors say over MQTT, read with care: JSON by path, zigbee2mqtt, Tasmota, SenML (RFC 8428)."""

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from firmware_bridge.errors import SenmlError
from firmware_bridge.senml import codec as senml
from learnae.errors import EncodingError

MAX_BYTES = 64 * 1024  # of a payload
_MAX_DEPTH = 8  # maps inside maps that are searched
_MAX_LABEL_CHARACTERS = 64

Extract = Callable[[bytes, str], float | None]


def from_json(payload: bytes, path: str) -> float | None:
    """Return the number at ``path`` (``a.b.0``; "" for the payload itself), if any; raises EncodingError."""
    value = _load(payload)
    for step in filter(None, path.split(".")):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return _number(value)


def from_tasmota(payload: bytes, path: str) -> float | None:
    """Return the number of Tasmota's SENSOR message: at ``path``, or of the first field of that name in any case."""
    found = from_json(payload, path)
    if found is not None:
        return found
    for name, value in _fields(_load(payload), _MAX_DEPTH):
        if name.lower() == path.lower() and (number := _number(value)) is not None:
            return number
    return None


def from_senml(payload: bytes, path: str) -> float | None:
    """Return the last number or boolean of the full name ``path``, in JSON or CBOR; raises EncodingError."""
    _check_size(payload)
    read = senml.from_json if payload.lstrip()[:1] == b"[" else senml.from_cbor
    try:
        values = [each.value for each in read(payload, time.time()) if each.name == path]
    except SenmlError as error:
        raise EncodingError(str(error)) from error
    numbers = [float(value) for value in values if isinstance(value, (bool, int, float))]
    return numbers[-1] if numbers else None


FORMATS: dict[str, Extract] = {
    "json": from_json,
    "zigbee2mqtt": from_json,
    "tasmota": from_tasmota,
    "senml": from_senml,
}
TOPICS = {"zigbee2mqtt": "zigbee2mqtt/{}", "tasmota": "tele/{}/SENSOR"}  # where a device of that name publishes


def as_text(payload: bytes) -> str:
    """Read a label: JSON or bare text of at most 64 printable characters. Raises EncodingError."""
    try:
        text = payload[:MAX_BYTES].decode().strip()
    except UnicodeDecodeError as error:
        raise EncodingError("a label that is not text") from error
    if text.startswith('"'):
        text = str(_load(payload))
    if len(text) > _MAX_LABEL_CHARACTERS or not text.isprintable():
        raise EncodingError(f"a label longer than {_MAX_LABEL_CHARACTERS} characters")
    return text


def _load(payload: bytes) -> Any:
    _check_size(payload)
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"a payload of {len(payload)} bytes that is not JSON") from error


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_BYTES:
        raise EncodingError(f"a payload of {len(payload)} bytes", f"at most {MAX_BYTES} are read")


def _fields(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            if depth:
                yield from _fields(inner, depth - 1)


def _number(value: Any) -> float | None:
    """Return the finite number in ``value``, if any; on, off, true, false and numbers in text are numbers, too."""
    if isinstance(value, str):
        value = {"on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0}.get(value.lower(), value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
