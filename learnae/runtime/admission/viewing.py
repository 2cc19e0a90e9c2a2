"""What lets this machine see sealed swarms: the keys of its own members, and viewer keys."""

from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.membership.viewer_key import MAX_BYTES, ViewerKey
from learnae.system.private_files import read_private


def sealed_views(file: Path | None) -> dict[str, ViewerKey]:
    """Return by meeting place what opens sealed swarms: the viewer key in ``file``, or else all of this home's members.

    Raises ConfigurationError or StateError.
    """
    if file is None:
        return {}
    key = read_viewer_key(file)
    return {key.meeting: key}


def read_viewer_key(file: Path) -> ViewerKey:
    """Read a viewer key, which is its owner's alone from then on; raises ConfigurationError or StateError."""
    try:
        data = read_private(file, MAX_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot read the viewer key {file}: {error.strerror}", "check the path") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{file} has more than {MAX_BYTES} bytes", "this is no viewer key")
    try:
        return ViewerKey.parse(data.decode("ascii", "replace"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file} is no viewer key: {error.problem}", error.remedy) from error
