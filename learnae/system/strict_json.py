"""JSON as RFC 8259 has it: the standard library writes NaN and Infinity, which no other reader takes."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def to_json(value: object, indent: int | None = None, default: Callable[[Any], object] | None = None) -> str:
    """Return ``value`` as one JSON document; a number that JSON has no word for is null."""
    return json.dumps(_finite(value), indent=indent, default=default, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
