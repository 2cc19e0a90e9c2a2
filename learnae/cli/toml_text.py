"""A configuration's sections as TOML (https://toml.io/en/v1.0.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from learnae.errors import ConfigurationError

Value = str | bool | int | float


def toml_text(section: str, values: Mapping[str, Value], hint: str = "") -> str:
    """Return ``[section]`` with ``values``, one a line, and below them ``hint``: comments for who edits the file.

    Names are bare keys: letters, digits, - and _. Raises ConfigurationError for text that is not UTF-8.
    """
    lines = [f"[{section}]", *(f"{name} = {_literal(value)}" for name, value in values.items())]
    return "".join(f"{line}\n" for line in (*lines, *hint.splitlines()))


def _literal(value: Value) -> str:
    """Return ``value`` as JSON writes it, which TOML reads alike, but for surrogate pairs and DEL."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{value!r} is not UTF-8, as a configuration is", "rename it") from error
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
