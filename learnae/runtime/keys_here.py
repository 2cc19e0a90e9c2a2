"""The keys of this machine that may be members' of a swarm, and what they can read of it."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from learnae.basics.overriding import override
from learnae.errors import StateError
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.sealing import Secrets
from learnae.protocol.identity import Identity
from learnae.system.atomic_files import is_there
from learnae.system.paths import KEY_FILE, OWNER_FILE, peers_here


def owner_key(directory: Path) -> Identity | None:
    """Return the key of who made the swarm in ``directory``; None where it was made elsewhere. Raises StateError."""
    path = directory / OWNER_FILE
    return Identity.load(path) if is_there(path) else None


def keys_here(directory: Path) -> Iterator[Identity]:
    """Yield the key of who made the swarm in ``directory``, then those of this home's peers that can be read."""
    with suppress(StateError):  # it is another user's
        if owner := owner_key(directory):
            yield owner
    for peer in peers_here():
        with suppress(StateError):  # it has none, or another user's
            yield Identity.load(peer / KEY_FILE)


class SecretsHere(Secrets):
    """Reads what any of the ``keys`` can read; says nothing."""

    def __init__(self, keys: Iterable[Identity], ledger: Ledger) -> None:
        self._keyrings = [Keyring(key, ledger) for key in keys]

    @property
    def is_empty(self) -> bool:
        """Return True if no key here can read anything."""
        return not any(keyring.names() for keyring in self._keyrings)

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        return None

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return next(filter(None, (keyring.secret_of(name) for keyring in self._keyrings)), None)
