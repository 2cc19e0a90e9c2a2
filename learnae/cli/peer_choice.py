"""Which peer of this machine a command is about."""

from pathlib import Path

from learnae.errors import ConfigurationError
from learnae.runtime.homes import existing_peer
from learnae.runtime.version_store import version_names
from learnae.system.paths import peers_here
from learnae.text import shown


def peers_with_versions(name: str | None) -> list[Path]:
    """Return the directory of the peer ``name``, or those of all peers here that keep versions.

    Raises ConfigurationError if there is no such peer.
    """
    return [existing_peer(name)] if name else [path for path in peers_here() if version_names(path)]


def choose_peer(name: str | None) -> Path:
    """Return the directory of the peer ``name``; without a name, of the only one here that keeps versions.

    Raises ConfigurationError if there is none, or no single one.
    """
    found = peers_with_versions(name)
    if not found:
        raise ConfigurationError("no peer here keeps versions yet", "start one first")
    if len(found) > 1:
        names = shown([path.name for path in found])
        raise ConfigurationError(f"{len(found)} peers here keep versions", f"give --peer: {names}")
    return found[0]
