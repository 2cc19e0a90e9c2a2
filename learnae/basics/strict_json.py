"""JSON as others read it: RFC 8259 has no NaN and no infinity, so they are null."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any


def dumps(value: object, indent: int | None = None, default: Callable[[object], object] | None = None) -> str:
    """Return ``value`` as JSON; ``default`` turns what JSON does not have into something that it has."""
    return json.dumps(finite(value), indent=indent, default=default, allow_nan=False)


def finite(value: Any) -> Any:
    """Return ``value`` with None for each float in it that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
