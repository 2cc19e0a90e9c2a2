"""The secrets that a peer has of its swarm, as the records stand. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from learnae.basics.overriding import override
from learnae.membership.key_epochs import Keyring
from learnae.membership.ledger import Ledger
from learnae.membership.sealing import Secrets
from learnae.protocol.identity import Identity


class MemberSecrets(Secrets):
    """Asks the keyring of ``identity`` on a ledger.

    For the thread that changes the ledger; ``last``, what was current when that was last asked for, is for all.
    """

    def __init__(self, identity: Identity, ledger: Ledger) -> None:
        self._keyring = Keyring(identity, ledger)
        self.last = self._keyring.current()

    @property
    def root(self) -> bytes | None:
        """Return the secret from which the meeting place follows; None while no member has told it."""
        return self._keyring.root

    @property
    def epochs(self) -> Mapping[bytes, bytes]:
        """Return all secrets by the name of their epoch."""
        found = {name: self.secret_of(name) for name in self._keyring.names()}
        return {name: secret for name, secret in found.items() if secret is not None}

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        self.last = self._keyring.current()
        return self.last

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return self._keyring.secret_of(name)
