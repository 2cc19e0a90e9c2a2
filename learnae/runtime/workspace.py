"""Where one peer works: its locked directory, its key, and what its links and the peer itself share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.lock import Lock
from learnae.basics.error_log import ErrorLog
from learnae.config.sections import LIVE
from learnae.peer.members.records_here import open_gate
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.opener import MessageOpener
from learnae.swarm.directory import Swarm
from learnae.system.atomic_files import remove_leftovers, writing
from learnae.system.paths import ARCHIVE_FILE, KEY_FILE, LOCK_FILE, in_home
from learnae.system.private_files import check_unwritable, make_private

if TYPE_CHECKING:
    from learnae.membership.member_secrets import MemberSecrets


class Workspace:
    """Locks a peer's directory, and loads or makes its key there; raises StateError.

    A peer with the ``history`` of all makes the swarm's directory an archive, in which no peer deletes blocks.
    ``errors``, ``opener``, ``gate`` and ``store`` are made here, before any link and before the peer, which share them.
    """

    def __init__(self, swarm: Swarm, directory: Path, history: str = LIVE) -> None:
        check_unwritable(*in_home(directory))
        with writing(directory):
            make_private(directory)
            self._lock = Lock(directory / LOCK_FILE)
            remove_leftovers(directory, older_than=time.time())  # no other process writes here
        self.swarm = swarm
        if history != LIVE:
            with writing(archive := swarm.directory / ARCHIVE_FILE):
                archive.touch()
        self.directory = directory
        self.identity = Identity.load_or_create(directory / KEY_FILE)
        self.errors = ErrorLog()
        self.opener = MessageOpener()
        local = LocalBlockStore(swarm.directory)
        self.gate = open_gate(swarm.manifest, local, self.errors)
        self.secrets = self._secrets()
        self.store = BlockService(local, self.errors, check=self.gate.check)

    def _secrets(self) -> MemberSecrets | None:
        if self.gate.ledger is None:
            return None
        from learnae.membership.member_secrets import MemberSecrets  # noqa: PLC0415 - not in open swarms

        return MemberSecrets(self.identity, self.gate.ledger)

    @property
    def name(self) -> str:
        """Return the peer's name in files and topics."""
        return peer_name(self.identity.author)

    @property
    def meeting(self) -> str:
        """Return the name of the place where the swarm's peers meet, on any network; empty while it is not known."""
        if not self.swarm.manifest.is_sealed:
            return str(self.swarm.manifest.swarm)
        from learnae.membership.rendezvous import members_place  # noqa: PLC0415 - not in open swarms

        root = self.secrets.root if self.secrets else None
        return members_place(root) if root else ""

    @property
    def is_archive(self) -> bool:
        """Return True if the swarm's directory on this machine keeps everything."""
        return (self.swarm.directory / ARCHIVE_FILE).exists()

    def release(self) -> None:
        """Let another process have the directory."""
        self._lock.release()
