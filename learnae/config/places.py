"""Paths in the configuration: a field of one of these types is a path, and ``located`` says where it leads."""

import os
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from learnae.errors import ConfigurationError
from learnae.system.credentials import is_handed_over
from learnae.system.paths import MANIFEST_FILE, expanded

_PLACE, _SECRET, _SWARM, _NAMED = "place", "secret", "swarm", "named"

Place = Annotated[str, _PLACE]  # a file or a directory
Secret = Annotated[str, _SECRET]  # a file; systemd may have handed it over under this name
SwarmPlace = Annotated[str, _SWARM]  # a swarm's id or name, its directory or a copy of its manifest
NamedPlace = Annotated[str, _NAMED]  # a name that is no path, or a path, which has a /


def located(text: str, kind: Any, folder: Path | None, where: str) -> str:
    """Return a value of the type ``kind``: a path with ``~`` expanded, and relative to ``folder``, if there is one.

    What is no path stays as it is. Raises ConfigurationError that names ``where``.
    """
    sort = get_args(kind)[1] if get_origin(kind) is Annotated else None
    if not text or sort is None:
        return text
    if "\0" in text:
        raise ConfigurationError(f"{where} is {text!r}, which is no path", "leave out the sign U+0000")
    if text.startswith("~"):
        return expanded(text, where)
    return str(folder / text) if folder is not None and _is_path(text, sort, folder) else text


def _is_path(text: str, sort: str, folder: Path) -> bool:
    if sort == _PLACE or "/" in text:
        return True
    if sort == _SECRET:
        return not is_handed_over(text)
    return sort == _SWARM and (os.path.isfile(folder / text) or os.path.isfile(folder / text / MANIFEST_FILE))
