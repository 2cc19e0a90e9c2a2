"""A swarm's directory, shared by the peers of this machine: made, named, found.

::

    HOME/swarms/<id>/
        manifest.cbor  blocks.sqlite  heads/
        bans/<peer>     who is left out on this machine, see adapters.local.bans
        owner.key       of a swarm that was made here and is not open: its founder's
    HOME/created/<id>   is there if the swarm was made in this home
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import ConfigurationError, EncodingError, ManifestError, ModelError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.swarm.manifest import MAX_BYTES, Manifest
from learnae.system.atomic_files import create_once, is_there, writing
from learnae.system.paths import MANIFEST_FILE, entries, home, in_home
from learnae.system.private_files import check_unwritable, make_directory

_CREATED = "created"
_HOW_TO_MAKE = "create one with: learnae swarm create --preset wrist"
_HOW_TO_NAME = "give its id, name, directory or a copy of its manifest.cbor"


@dataclass(frozen=True, slots=True)
class Swarm:
    """A swarm on this machine: the directory that its peers here share, and the manifest in it."""

    directory: Path
    manifest: Manifest


@contextmanager
def alone() -> Iterator[None]:
    """Let only one process at a time make swarms in this home, until it dies. Raises ConfigurationError."""
    swarms = home() / "swarms"
    try:
        make_directory(swarms)
        directory = os.open(swarms, os.O_RDONLY)
    except OSError as error:
        raise ConfigurationError(f"cannot use {swarms}: {error.strerror}", "choose a place you own") from error
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def create_named(manifest: Manifest, fill: Callable[[Path], None] | None = None) -> Swarm:
    """Create a swarm in this home as ``create_swarm`` does; raises ConfigurationError if another has its name."""
    with alone():
        for path in swarms_here():
            if _name_of(path) == manifest.name and path.name != str(manifest.swarm):
                raise ConfigurationError(
                    f"there is a swarm {manifest.name!r} here already, {path.name}",
                    f"join it with: learnae join {manifest.name}; or give the new one another --name",
                )
        return create_swarm(manifest, fill=fill)


def create_swarm(
    manifest: Manifest, directory: Path | None = None, fill: Callable[[Path], None] | None = None
) -> Swarm:
    """Make the directory of a new swarm; what ``fill`` puts there is there before the swarm is.

    Raises ConfigurationError if another is there, NotWrittenError.
    """
    data = manifest.to_bytes()
    if len(data) > MAX_BYTES:
        raise ManifestError(
            f"the swarm's definition has {len(data)} bytes, and {MAX_BYTES} are read", "use fewer layers, shorter names"
        )
    Manifest.from_bytes(data)  # what cannot be opened again must not be written
    directory = directory or home() / "swarms" / str(manifest.swarm)
    try:
        make_directory(directory)
    except OSError as error:
        raise ConfigurationError(f"cannot make {directory}: {error.strerror}", "choose a place you own") from error
    if fill is not None and not is_there(directory / MANIFEST_FILE):
        fill(directory)
    create_once(directory / MANIFEST_FILE, data)
    swarm = open_swarm(directory)
    if swarm.manifest.swarm != manifest.swarm:
        raise ConfigurationError(f"{directory} belongs to another swarm", "choose another directory")
    return swarm


def note_created(swarm: Cid) -> None:
    """Note that this home's user makes a swarm; what comes with another's directory must not say so.

    Raises NotWrittenError.
    """
    mark = home() / _CREATED / str(swarm)
    with writing(mark):
        make_directory(mark.parent)
    create_once(mark, b"")


def is_created_here(swarm: Cid) -> bool:
    """Return True if a swarm was made in this home."""
    return is_there(home() / _CREATED / str(swarm))


def open_swarm(directory: Path) -> Swarm:
    """Open the swarm in ``directory``; raises as ``open_manifest`` does, StateError if others may write there."""
    check_unwritable(*in_home(directory), directory)
    return Swarm(directory, open_manifest(directory))


def open_manifest(directory: Path) -> Manifest:
    """Read the manifest of the swarm in ``directory``; raises ManifestError or ModelError.

    A directory that is called as a swarm is, itself or where a link to it leads, holds that swarm and no other.
    """
    manifest = read_manifest(directory / MANIFEST_FILE)
    for name in (directory.absolute().name, Path(os.path.realpath(directory)).name):
        if is_swarm_id(name) and name != str(manifest.swarm):
            raise ManifestError(
                f"{directory} holds swarm {manifest.swarm}, and is called as another",
                f"bring its own {MANIFEST_FILE} back, or name that directory as what it holds",
            )
    return manifest


def read_manifest(path: Path) -> Manifest:
    """Read the manifest in a file; raises ManifestError or ModelError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"no swarm at {path}: {error.strerror}", _HOW_TO_NAME) from error
    try:
        return Manifest.from_bytes(data)
    except (ManifestError, ModelError) as error:
        raise type(error)(f"{path}: {error.problem}", error.remedy) from error


def find_swarm(text: str = "") -> Swarm:
    """Open the swarm named by its id, directory, name or a file of its manifest; without any, the only one here.

    A manifest from another machine gets a directory in this one's home. Raises ManifestError if there is no
    such swarm, ConfigurationError if there is none here, or no single one.
    """
    # not Path.exists and is_file: they raise for a name that is too long, and where this user may not look
    if is_swarm_id(text) or "/" in text or os.path.isfile(text) or (text and os.path.exists(Path(text, MANIFEST_FILE))):
        directory = home() / "swarms" / text if is_swarm_id(text) else Path(text)
        if os.path.isfile(directory):
            return create_swarm(read_manifest(directory))
        return open_swarm(directory)
    swarms = [path for path in swarms_here() if text in ("", _name_of(path))]
    if not swarms and text:
        raise ManifestError(f"no swarm at {text}, and none of that name", _HOW_TO_NAME)
    if not swarms:
        raise ConfigurationError("there is no swarm on this machine", _HOW_TO_MAKE)
    if len(swarms) > 1:
        which = f"{len(swarms)} swarms {text!r}" if text else f"{len(swarms)} swarms"
        names = ", ".join(path.name if text else f"{_name_of(path)} ({path.name})" for path in swarms)
        raise ConfigurationError(f"there are {which} on this machine", f"name one: {names}")
    return open_swarm(swarms[0])


def swarms_here() -> list[Path]:
    """Return the directories of all swarms in this home; raises StateError if it may not be read."""
    return [path for path in entries(home() / "swarms") if is_there(path / MANIFEST_FILE)]


def _name_of(directory: Path) -> str:
    try:
        return open_manifest(directory).name
    except (ManifestError, ModelError):
        return "?"


def is_swarm_id(text: str) -> bool:
    """Return True if a text is a swarm's id, whether it is known here or not."""
    try:
        return Cid.parse(text).codec == DAG_CBOR
    except EncodingError:
        return False
