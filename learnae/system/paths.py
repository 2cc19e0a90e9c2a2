"""Where Learnae keeps things on this machine.

::

    HOME                       $LEARNAE_HOME, or $XDG_DATA_HOME/learnae
    HOME/swarms/<id>/          a swarm's directory, see swarm.directory
    HOME/cache/                data files of trainers, checked and ready to be mapped into memory
    HOME/peers/<name>/         one peer's own directory
        key.pem  state  status.json  lock  log  log.1
        versions/<version> consensus estimates that were kept, see runtime.version_store
"""

import json
import os
from pathlib import Path
from typing import Any

from learnae.errors import ConfigurationError, StateError
from learnae.system.atomic_files import read_regular, why_unwritable

ARCHIVE_FILE = "archive"  # in a swarm's directory: its blocks are kept for ever
KEY_FILE, STATE_FILE, STATUS_FILE, LOCK_FILE, LOG_FILE = "key.pem", "state", "status.json", "lock", "log"
VERSIONS = "versions"
_STATUS_BYTES = 1 << 20  # far more than a status has


def home() -> Path:
    """Return the root of everything that no flag or configuration puts elsewhere."""
    if "LEARNAE_HOME" in os.environ:
        return Path(os.environ["LEARNAE_HOME"])
    return Path(os.environ.get("XDG_DATA_HOME") or user_home() / ".local" / "share") / "learnae"


def user_home() -> Path:
    """Return the user's home; raises ConfigurationError for a user without one, such as a service's."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigurationError("this user has no home directory", "set HOME, or LEARNAE_HOME and --config") from error


def peer_directory(name: str) -> Path:
    """Return the directory of the peer ``name``; raises ConfigurationError for a name that is no file name."""
    if not name or "/" in name or name.startswith(".") or not name.isprintable() or len(name) > 64:
        raise ConfigurationError(f"{name!r} is no name for a peer", "use letters, digits and dashes")
    return home() / "peers" / name


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
    """Return what is in ``directory``, sorted; nothing if there is none. Raises StateError if it may not be read."""
    try:
        return [directory / name for name in sorted(os.listdir(directory))]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        remedy = "run it as the user it belongs to, or set LEARNAE_HOME"
        raise StateError(f"cannot read {directory}: {error.strerror}", remedy) from error
