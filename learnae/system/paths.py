"""Where Learnae keeps things on this machine.

::

    HOME                       $LEARNAE_HOME, or $XDG_DATA_HOME/learnae
    HOME/swarms/<id>/          a swarm's directory, see swarm.directory
    HOME/cache/                data files of trainers, checked and ready to be mapped into memory
    HOME/peers/<name>/         one peer's own directory
        key.pem  state  summaries  contributions  status.json  figures  lock  log  log.1
        versions/<version> consensus estimates that were kept, see runtime.version_store
"""

import json
import os
from pathlib import Path
from typing import Any

from learnae.basics.peer_names import MOST_CHARACTERS, why_unclear
from learnae.errors import ConfigurationError, StateError
from learnae.system.atomic_files import read_regular, why_unwritable

ARCHIVE_FILE = "archive"  # in a swarm's directory: its blocks are kept for ever
OWNER_FILE = "owner.key"  # in a swarm's directory: who made it here
KEY_FILE, STATE_FILE, STATUS_FILE, LOCK_FILE, LOG_FILE = "key.pem", "state", "status.json", "lock", "log"
VERSIONS = "versions"
BANS = "bans"  # in a swarm's directory: a file for each peer that is left out on this machine
FIGURES_FILE = "figures"  # the curves of a peer, see adapters.local.figures_file
SUMMARIES_FILE = "summaries"  # what the peer has released of its rows, see peer.summaries.releasing
CONTRIBUTIONS_FILE = "contributions"  # what the peer knows of others' contributions, see peer.contributions.book
MANIFEST_FILE = "manifest.cbor"  # in a swarm's directory
_NAME_BYTES = 192  # of a peer: other file names are made of it
_STATUS_BYTES = 1 << 20  # far more than a status has


def home() -> Path:
    """Return the root of everything that no flag or configuration puts elsewhere.

    Raises StateError if it was moved to what is not there now, such as a disk that is not mounted: an empty home would
    be another one.
    """
    path = path_from("LEARNAE_HOME") or (path_from("XDG_DATA_HOME") or user_home() / ".local" / "share") / "learnae"
    if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
        raise StateError(
            f"{path} is a link to {os.readlink(path)}, and nothing is there",
            f"mount what it is on, or set LEARNAE_HOME, or, if there is no home any more: rm {path}",
        )
    return path


def in_home(directory: Path) -> list[Path]:
    """Return what is above a peer's or a swarm's directory in this home, and the home; nothing for one elsewhere."""
    try:
        root = home().absolute()
    except ConfigurationError:  # a user without one
        return []
    above = directory.absolute().parent
    return [root, above] if above.parent == root else []


def path_from(variable: str) -> Path | None:
    """Return the path in an environment variable, None if it is not set or empty; raises as ``expanded`` does."""
    text = os.environ.get(variable)
    return Path(expanded(text, variable)) if text else None


def expanded(text: str, where: str) -> str:
    """Return a path with ``~`` or ``~USER`` at its begin replaced; raises ConfigurationError that names ``where``."""
    if not text.startswith("~"):
        return text
    found = os.path.expanduser(text)
    if found.startswith("~"):
        raise ConfigurationError(
            f"{where} is {text!r}, and {text.partition('/')[0]} has no home directory",
            f"write the whole path, or ./{text} for a name that begins so",
        )
    return found


def user_home() -> Path:
    """Return the user's home; raises ConfigurationError for a user without one, such as a service's."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigurationError("this user has no home directory", "set HOME, or LEARNAE_HOME and --config") from error


def peer_directory(name: str) -> Path:
    """Return the directory of the peer ``name``, however its accents are typed.

    Raises ConfigurationError for a name that is no file name.
    """
    name = _composed(name)
    if "/" in name or name.startswith(".") or len(name.encode()) > _NAME_BYTES:
        remedy = f"use letters, digits and dashes, at most {MOST_CHARACTERS} ({_NAME_BYTES} bytes)"
        raise ConfigurationError(f"{name!r} is no name for a peer", remedy)
    check_peer_name("a peer", name)
    return home() / "peers" / name


def check_peer_name(what: str, name: str) -> None:
    """Raise ConfigurationError, which names ``what`` it is for, unless a peer may choose this name."""
    if why := why_unclear(name):
        raise ConfigurationError(f"{name!a} is no name for {what}: {why}", "use letters, digits and dashes")


def _composed(name: str) -> str:
    if name.isascii():
        return name
    from unicodedata import normalize  # noqa: PLC0415 - a megabyte of tables

    return normalize("NFC", name)


def why_peer_unwritable(directory: Path) -> str:
    """Return why the peer in ``directory`` could not save its state again; empty if it could, or if there is none."""
    if not os.path.isdir(directory):
        return ""
    try:
        size = os.path.getsize(directory / STATE_FILE)
    except OSError:  # none yet, or out of sight
        size = 0
    return why_unwritable(directory, size)


def last_status(directory: Path) -> dict[str, Any]:
    """Return the last status of the peer in ``directory`` (Peer.status); empty if there is none that can be read."""
    try:
        status = json.loads(read_regular(directory / STATUS_FILE, _STATUS_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) else {}


def peers_here() -> list[Path]:
    """Return the directories of all peers in this home; raises StateError if they may not be read."""
    return entries(home() / "peers")


def entries(directory: Path) -> list[Path]:
    """Return what is in ``directory``, sorted; nothing if there is none. Raises StateError if it may not be read.

    Hidden names are left out: a process that was killed may have left something half done there.
    """
    try:
        return [directory / name for name in sorted(os.listdir(directory)) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        remedy = "run it as the user it belongs to, or set LEARNAE_HOME"
        raise StateError(f"cannot read {directory}: {error.strerror}", remedy) from error
