"""The secrets that a peer has of a sealed swarm, as the records stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from learnae.ipld.cid import Cid
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.sealing import Secrets
from learnae.overriding import override
from learnae.protocol.identity import Identity


class MemberSecrets(Secrets):
    """Follows a ledger, which it asks again when there are more records; without one, there are no secrets.

    For the thread that changes the ledger; ``last`` is for all.
    """

    def __init__(self, identity: Identity, ledger: Ledger | None) -> None:
        self._ledger = ledger
        self._keyring = None if ledger is None else Keyring(identity, ledger)
        self._heads: tuple[Cid, ...] | None = None  # of the ledger, when it was last looked through
        self._secrets: Mapping[bytes, bytes] = {}
        self._root: bytes | None = None
        self.last: tuple[bytes, bytes] | None = None  # what was current when that was last asked for

    @property
    def root(self) -> bytes | None:
        """Return the secret from which the meeting place follows; None while no member has told it."""
        self._look()
        return self._root

    @property
    def epochs(self) -> Mapping[bytes, bytes]:
        """Return all secrets by the name of their epoch."""
        self._look()
        return self._secrets

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        self._look()
        return self.last

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return self.epochs.get(name)

    def _look(self) -> None:
        if self._ledger is None or self._keyring is None or self._ledger.heads() == self._heads:
            return
        self._heads = self._ledger.heads()
        self._secrets, self._root = dict(self._keyring.secrets), self._keyring.root
        self.last = self._keyring.current(self._ledger.roster().removed)
