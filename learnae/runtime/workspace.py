"""Where one peer works: its locked directory and key, the swarm's shared directory, and the Peer built upon them."""

from __future__ import annotations

import time
from pathlib import Path

from learnae.adapters.composite.block_service import BlockService
from learnae.adapters.composite.gossip import Gossips
from learnae.adapters.composite.metered import MeteredStore
from learnae.adapters.composite.monitor import Monitors
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.adapters.local.gossip import LocalGossip
from learnae.adapters.local.lock import Lock
from learnae.adapters.local.state_store import LocalStateStore
from learnae.adapters.local.status_file import StatusFile
from learnae.error_log import ErrorLog
from learnae.errors import NotWrittenError, StateError
from learnae.ipld.cid import DAG_CBOR
from learnae.peer.composition import compose_peer
from learnae.peer.peer import Options, Peer, Ports
from learnae.ports import Learner, Monitor, Traffic
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.opener import MessageOpener
from learnae.runtime.link_set import LinkSet
from learnae.swarm.directory import open_manifest
from learnae.system.atomic_files import remove_leftovers, writing
from learnae.system.paths import KEY_FILE, LOCK_FILE, STATE_FILE, STATUS_FILE, last_status


class Workspace:
    """Opens a peer's directory and the directory of its swarm; raises StateError or ManifestError."""

    def __init__(self, swarm: Path, directory: Path) -> None:
        self.manifest = open_manifest(swarm)
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = Lock(directory / LOCK_FILE)
            remove_leftovers(directory, older_than=time.time())  # nobody else writes here
        self.swarm = swarm
        self.directory = directory
        self.identity = Identity.load_or_create(directory / KEY_FILE)
        self.store = BlockService(LocalBlockStore(swarm))
        self.monitor: Monitor = StatusFile(directory / STATUS_FILE)
        self.opener = MessageOpener()
        self.errors = ErrorLog()
        self._outside = LinkSet()

    @property
    def name(self) -> str:
        """The peer's name in files and topics."""
        return peer_name(self.identity.author)

    def peer(self, learner: Learner, options: Options, outside: LinkSet | None = None) -> Peer:
        """The peer that lives here, linked to other machines by ``outside``."""
        self._outside = outside or LinkSet()
        local = LocalGossip(self.swarm, self.name)
        gossip = Gossips({"local": local, **self._outside.gossips}, links=list(self._outside.gossips))
        errors, traffic = ErrorLog(), Traffic()
        self.monitor = Monitors([self.monitor, *self._outside.monitors])
        ports = Ports(
            store=MeteredStore(self.store, traffic, self.manifest.start),
            gossip=gossip,
            learner=learner,
            state=LocalStateStore(self.directory / STATE_FILE),
            monitor=self.monitor,
            clock=SystemClock(),
        )
        is_back = last_status(self.directory).get("peer") == self.name  # with this key
        try:
            peer = compose_peer(
                self.identity,
                self.manifest,
                ports,
                options,
                errors=errors,
                traffic=traffic,
                opener=self.opener,
                is_back=is_back,
            )
        except StateError as error:
            raise type(error)(f"{self.directory}: {error.problem}", error.remedy) from error
        gossip.count_in(errors)
        self.store.count_in(errors)
        for name, link in self.store.join(self._outside.exchanges).items():
            self._outside.states.setdefault(name, link.describe)
        if self._outside.exchanges:  # who knows the swarm's id can get its definition, too
            self.store.put(DAG_CBOR, self.manifest.to_bytes())
        return peer

    def leave(self, peer: Peer) -> None:
        """Save the peer, show its last status, and let another process have the place, whatever the disk says."""
        try:
            peer.save()
        except NotWrittenError as error:
            peer.endure(error)
            raise
        finally:
            self.monitor.close(peer.status())
            self.store.close()
            self._outside.close()
            self._lock.release()
