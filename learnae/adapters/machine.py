"""A peer's place on this machine: its locked directory, its key, and the swarm's shared directory."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from learnae import home
from learnae.adapters.exchanged import ExchangedStore
from learnae.adapters.local import LocalBlockStore, LocalGossip, LocalStateStore
from learnae.adapters.outside import Gossips, Monitors, Outside
from learnae.adapters.status_file import StatusFile
from learnae.cid import DAG_CBOR
from learnae.errors import InUseError, NotWrittenError, StateError
from learnae.files import remove_leftovers, writing
from learnae.identity import Identity, peer_name
from learnae.peer import Options, Peer, Ports
from learnae.ports import Learner, Monitor

_ATTEMPT_SECONDS = 0.01
_ASKED_SECONDS = 10.0  # whoever asks for the holder shares the lock for an instant, if it is not stopped just then
_SAID_SECONDS = 10.0  # a holder says who it is at once, if it is not stopped just then


class SystemClock:
    """ports.Clock of this machine."""

    def now(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def uptime(self) -> int:
        """See ports.Clock."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Lock:
    """One process a peer. The kernel releases the lock when its holder dies, however it dies.

    Whoever has it has it exclusively; ``holder``, and whoever is about to take it, share it for an instant.
    """

    def __init__(self, path: Path) -> None:
        """Raises StateError if another process has it."""
        self._file = path.open("a+")
        try:
            self._take(path, time.monotonic() + _ASKED_SECONDS)
        except StateError:
            self._file.close()
            raise
        self._file.write(str(os.getpid()))
        self._file.flush()

    def _take(self, path: Path, deadline: float) -> None:
        while True:
            if not _try(self._file, fcntl.LOCK_SH):
                raise _in_use(path)
            self._file.truncate(0)  # nobody has it: what is written there is the number of a dead process
            if _try(self._file, fcntl.LOCK_EX):
                return
            fcntl.flock(self._file, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise _in_use(path)
            time.sleep(_ATTEMPT_SECONDS)

    def release(self) -> None:
        """Let another process have it."""
        self._file.close()


def holder(path: Path) -> int | None:
    """The process that holds the lock at ``path``; None if nobody does, 0 if it does not say who it is.

    Raises StateError if one may not look.
    """
    deadline = time.monotonic() + _SAID_SECONDS
    try:
        with path.open() as file:
            while not _try(file, fcntl.LOCK_SH):
                file.seek(0)
                text = file.read(20)
                if text.isdigit() or time.monotonic() > deadline:
                    return int(text) if text.isdigit() else 0
                time.sleep(_ATTEMPT_SECONDS)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except PermissionError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the user it belongs to") from error
    return None


def _try(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _in_use(path: Path) -> StateError:
    return InUseError(
        f"{path.parent} is in use by process {holder(path) or '?'}", "stop that one, or choose another name"
    )


class Place:
    """Opens a peer's directory and the directory of its swarm; raises StateError or ManifestError."""

    def __init__(self, swarm: Path, directory: Path) -> None:
        self.manifest = home.open_manifest(swarm)
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = Lock(directory / home.LOCK_FILE)
            remove_leftovers(directory, older_than=time.time())  # nobody else writes here
        self.swarm = swarm
        self.directory = directory
        self.identity = Identity.load_or_create(directory / home.KEY_FILE)
        self.store = ExchangedStore(LocalBlockStore(swarm))
        self.monitor: Monitor = StatusFile(directory / home.STATUS_FILE)
        self._outside = Outside()

    @property
    def name(self) -> str:
        """The peer's name in files and topics."""
        return peer_name(self.identity.author)

    def peer(self, learner: Learner, options: Options, outside: Outside | None = None) -> Peer:
        """The peer that lives here, linked to other machines by ``outside``."""
        self._outside = outside or Outside()
        local = LocalGossip(self.swarm, self.name)
        gossip = Gossips({"local": local, **self._outside.gossips})
        self.monitor = Monitors([self.monitor, *self._outside.monitors])
        ports = Ports(
            store=self.store,
            gossip=gossip,
            learner=learner,
            state=LocalStateStore(self.directory / home.STATE_FILE),
            monitor=self.monitor,
            clock=SystemClock(),
        )
        links = list(self._outside.gossips)
        options = replace(
            options,
            announcements=(lambda: sum(gossip.counts[name] for name in links)) if links else None,
            is_back=home.last_status(self.directory).get("peer") == self.name,  # with this key
        )
        try:
            peer = Peer(self.identity, self.manifest, ports, options)
        except StateError as error:
            raise type(error)(f"{self.directory}: {error.problem}", error.remedy) from error
        gossip.count_in(peer.problems)
        self.store.count_in(peer.problems)
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
