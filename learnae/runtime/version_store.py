"""Versions on the disk of a peer, a file each: ``best``, and the last ones as ``v1``, ``v2``, …"""

import logging
import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from learnae.adapters.local.lock import Lock
from learnae.adapters.local.state_store import LocalStateStore
from learnae.errors import ConfigurationError, NotWrittenError, StateError
from learnae.ipld.cid import Cid
from learnae.peer.learning.versions import BEST, PERSONAL, Version, VersionPolicy, holds, is_better, number_of
from learnae.peer.peer import Peer
from learnae.peer.state import PeerState
from learnae.protocol.bodies import Metrics
from learnae.protocol.identity import peer_name
from learnae.system.atomic_files import read_regular, remove_leftovers, write_atomic, writing
from learnae.system.paths import LOCK_FILE, STATE_FILE, VERSIONS, entries

_log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 32  # of a version: far more than any model here


class VersionKeeper:
    """Keeps the best and the last versions of ``peer`` in its ``directory``. A full disk is counted, and survived."""

    def __init__(
        self,
        directory: Path,
        peer: Peer,
        policy: VersionPolicy | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory / VERSIONS
        self._peer = peer
        self._policy = policy or VersionPolicy()
        self._monotonic = monotonic
        self._best = self._read_best()
        self._kept = monotonic()  # a version for every stretch of work, not for every start
        self._improved = float("-inf")
        self._is_kept = True  # the newest estimate
        self._own: object = None  # the last personal model that was kept

    @property
    def best(self) -> Metrics | None:
        """Return how good the best version is on held-out rows; None before there is one."""
        return self._best.metrics if self._best else None

    def offer(self) -> None:
        """Look at the consensus estimate after an own update, and keep it if it is the best, or if it is time."""
        self._is_kept = False
        now = self._monotonic()
        if 1000 * (now - self._improved) >= self._policy.best_spacing and self._is_best():
            self._improved = now
            self._best = self._keep(BEST)
        if 1000 * (now - self._kept) >= self._policy.spacing:
            self.keep_last()
        personal = self._peer.options.personal
        if personal and personal.choice is not self._own:
            self._own = personal.choice
            self._keep(PERSONAL)

    def keep_last(self) -> None:
        """Keep the newest estimate, as before a planned stop, and delete the oldest beyond the number."""
        if self._is_kept:
            return
        names = [path.name for path in entries(self._directory)]
        self._kept, self._is_kept = self._monotonic(), True
        name = f"v{max(map(number_of, names), default=0) + 1}"
        if self._keep(name):
            for old in self._policy.superfluous([*names, name]):
                (self._directory / old).unlink(missing_ok=True)

    def last_without(self, authors: Collection[bytes]) -> tuple[str, Version] | None:
        """Return the newest version, and its name, that nothing of ``authors`` has gone into; None if there is none."""
        peer = self._peer
        return last_version_without(self._directory.parent, authors, peer.swarm, peer.estimate().shape)

    def forget_best(self, authors: Collection[bytes]) -> None:
        """Let the next estimate be the best, if something of ``authors`` has gone into this one."""
        if self._best and any(holds(self._best.held, author) for author in authors):
            self._best = None

    def _fits(self, version: Version) -> bool:
        return version.swarm == self._peer.swarm and version.vector.shape == self._peer.estimate().shape

    def _is_best(self) -> bool:
        found, best = self._peer.training.metrics, self._best
        if found is None or best is None or best.metrics is None:
            return found is not None
        known = best.metrics
        if known.rows != found.rows:  # other rows are held out by now
            known = self._peer.training.learner.evaluate(best.vector) or known
        return is_better(found, known)

    def _keep(self, name: str) -> Version | None:
        peer = self._peer
        merged = {peer_name(author): replica.cid for author, replica in peer.following.replicas.items()}
        vector, metrics = peer.own_estimate() if name == PERSONAL else peer.estimate(), peer.training.metrics
        version = Version(peer.swarm, peer.ports.clock.now(), peer.steps, metrics, merged, vector, peer.merging.held)
        try:
            with writing(self._directory):
                self._directory.mkdir(exist_ok=True, mode=0o700)
                remove_leftovers(self._directory, older_than=time.time())  # no other process writes here
            write_atomic(self._directory / name, *version.to_pieces(), mode=0o600)
        except NotWrittenError as error:
            peer.errors.count(error)
            return self._best if name == BEST else None
        return version

    def _read_best(self) -> Version | None:
        try:
            best = read_version(self._directory.parent, BEST)
        except ConfigurationError:
            return None
        except StateError as error:
            _log.warning("%s", error)
            return None
        return replace(best, vector=self._peer.ports.keep(best.vector)) if self._fits(best) else None


def last_version_without(
    directory: Path, authors: Collection[bytes], swarm: Cid, shape: tuple[int, ...]
) -> tuple[str, Version] | None:
    """Return the newest version of the peer in ``directory`` that nothing of ``authors`` has gone into, and its name.

    None if there is none of this ``swarm`` and ``shape``; damaged ones are passed over, and logged.
    """
    found = []
    for name in version_names(directory):
        try:
            version = read_version(directory, name)
        except (ConfigurationError, StateError) as error:
            _log.warning("%s", error)
            continue
        is_clean = not any(holds(version.held, author) for author in authors)
        if is_clean and (version.swarm, version.vector.shape) == (swarm, shape):
            found.append((name, version))
    return max(found, key=lambda entry: entry[1].time, default=None)


def version_names(directory: Path) -> list[str]:
    """Return the versions that the peer in ``directory`` keeps: the best one, then the last ones, newest first."""
    names = [path.name for path in entries(directory / VERSIONS)]
    numbered = sorted((name for name in names if number_of(name)), key=number_of, reverse=True)
    return [BEST] * (BEST in names) + numbered


def read_version(directory: Path, name: str) -> Version:
    """Read the version ``name`` of the peer in ``directory``; raises ConfigurationError without, StateError if damaged.

    Any other name than PERSONAL and those that ``version_names`` gives is none.
    """
    path = directory / VERSIONS / name
    if name not in (BEST, PERSONAL) and not number_of(name):
        raise ConfigurationError(f"{name!r} is no version", "see learnae versions")
    try:
        return Version.from_bytes(read_regular(path, _MOST_BYTES))
    except FileNotFoundError:
        raise ConfigurationError(f"{directory.name} keeps no version {name}", "see learnae versions") from None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", "run it as the user it belongs to") from error
    except StateError as error:
        raise StateError(f"{path}: {error.problem}", error.remedy) from error


def roll_back(directory: Path, name: str) -> Version:
    """Let the stopped peer in ``directory`` go on from its version ``name``: weights, vote and estimate.

    Its optimiser begins anew, and its next update is a checkpoint. Raises InUseError while it runs, ConfigurationError
    for a version or a peer that is none, StateError, NotWrittenError.
    """
    if not os.path.isdir(directory):
        raise ConfigurationError(f"no peer at {directory}", "see learnae versions")
    if name == PERSONAL:
        raise ConfigurationError("a personal model goes to no other peer", "take another version")
    lock = Lock(directory / LOCK_FILE)
    try:
        version = read_version(directory, name)
        try:
            state = PeerState.read(directory / STATE_FILE)
        except OSError as error:
            raise ConfigurationError(f"no saved peer at {directory}: {error.strerror}", "run it first") from error
        if version.swarm != state.swarm or version.vector.shape != state.weights.shape:
            raise ConfigurationError(f"version {name} is of another swarm", "take one of this swarm")
        vector = version.vector
        replica = None if state.replica is None else vector
        back = replace(
            state, weights=vector, estimate=vector, replica=replica, update=None, learner={}, held=version.held
        )
        LocalStateStore(directory / STATE_FILE).save(back.to_bytes())
        return version
    finally:
        lock.release()
