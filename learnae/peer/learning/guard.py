"""Keeping weights that look like a trap from being trained on.

A few units of one direction, to which honest members come, too, are turned apart. Else who brought the trap is not
heard until its next update.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from learnae.basics.error_log import ErrorLog
from learnae.basics.light_numpy import norm
from learnae.errors import TrapError
from learnae.ipld.cid import Cid
from learnae.models.dataset import Dataset
from learnae.models.traps.trap_check import TrapCheck
from learnae.peer.following import Replica
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import MINUTE
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

NAMED_MS = 15 * MINUTE  # between two warnings of one author

Replicas = Mapping[bytes, Replica]
Combine = Callable[[Replicas], Vector]
NONE: Replicas = {}  # others

_log = logging.getLogger(__name__)


class Suspicion(Protocol):
    """Says what is wrong with weights (TrapCheck)."""

    def __call__(self, weights: Vector, before: Vector, start: Vector, others: Sequence[Vector] = ()) -> str:
        """Return what is wrong with ``weights`` (count,); empty for nothing."""

    def turned_apart(self, weights: Vector, start: Vector) -> Vector | None:
        """Return ``weights`` without what may be wrong with them, to be looked at again; None if that cannot be."""


def suspicion_of(manifest: Manifest, data: Dataset, rows_drawn: int) -> Suspicion | None:
    """Return the check with the rows of ``data``, of which each update draws so many at least.

    None where only Keras knows the model.
    """
    if manifest.only_keras:
        return None
    return TrapCheck(manifest.definition, manifest.objective, data.train, rows_drawn)


class Guard:
    """Asks ``suspicion`` what is wrong with weights (count,) that are to replace others, given what all started from.

    ``start`` is that. It is told, too, what they are made of. Without a suspicion nothing is wrong.
    """

    def __init__(self, suspicion: Suspicion | None, errors: ErrorLog, start: Vector) -> None:
        self.start = start
        self._suspicion = suspicion
        self._errors = errors
        self._muted: dict[bytes, Cid] = {}  # by author: the update that is not heard
        self._why: dict[bytes, str] = {}
        self._named: dict[bytes, int] = {}  # by author: when it was, in ms
        self._refused: frozenset[Cid] = frozenset()  # a trap together, and no single one is to blame

    def why(self, weights: Vector, before: Vector, replicas: Replicas = NONE) -> str:
        """Return what is wrong with ``weights``, of ``replicas``, that are to replace ``before``; empty for nothing."""
        if self._suspicion is None:
            return ""
        return self._suspicion(weights, before, self.start, [replica.vector for replica in replicas.values()])

    def safe(self, weights: Vector, before: Vector, replicas: Replicas) -> Vector | None:
        """Return ``weights``, of ``replicas``, their units turned apart where these show a sign; None for a trap.

        What is returned shows no sign: it passes the same look as any weights.
        """
        if self._suspicion is None or not self.why(weights, before, replicas):
            return weights
        turned = self._suspicion.turned_apart(weights, self.start)
        return None if turned is None or self.why(turned, before, replicas) else turned

    def heard(self, replicas: Replicas) -> dict[bytes, Replica]:
        """Return those that are not muted."""
        self._muted = {a: cid for a, cid in self._muted.items() if a in replicas and replicas[a].cid == cid}
        return {author: replica for author, replica in replicas.items() if author not in self._muted}

    def status(self) -> dict[str, str]:
        """Return by peer why its newest update is not merged."""
        return {peer_name(author): self._why[author] for author in self._muted}

    def combine(self, replicas: Replicas, before: Vector, function: Combine, now: int) -> Vector | None:
        """Return what ``function`` makes of the ``replicas`` that are heard, without those that bring a trap.

        These are muted. None where all of them together are a trap, and no one is to blame.
        """
        heard = self.heard(replicas)
        names = frozenset(replica.cid for replica in heard.values())
        if names == self._refused:
            return None
        result = function(heard)
        if (safe := self.safe(result, before, heard)) is not None:
            return safe
        why = self.why(result, before, heard)
        for author in self._culprits(heard, before, function):
            self._mute(author, heard[author].cid, why, now)
        if (safe := self.safe(function(self.heard(replicas)), before, heard)) is None:
            self._refused = frozenset(replica.cid for replica in self.heard(replicas).values())
            self.note(f"the weights of {len(self._refused)} peers together: {why}")
        return safe

    def note(self, problem: str) -> None:
        """Count what was found, and say it."""
        error = TrapError(problem, "the own weights are kept; see docs/privacy.md")
        self._errors.count(error)
        _log.warning("%s", error)

    def _culprits(self, heard: Replicas, before: Vector, function: Combine) -> list[bytes]:
        """Return who brings the trap: those whose weights are one, or else one without whom there is none."""

        def is_trap(weights: Vector) -> bool:
            return self.safe(weights, before, heard) is None

        def is_one_without(authors: list[bytes]) -> bool:
            return is_trap(function(_without(heard, authors)))

        found = [author for author, replica in heard.items() if is_trap(replica.vector)]
        if found and not is_one_without(found):
            return found
        far = sorted(heard, key=lambda author: -norm(heard[author].vector - before))
        alone = next((each for each in far if not is_one_without([each])), None)
        return found if alone is None else [alone]

    def _mute(self, author: bytes, cid: Cid, why: str, now: int) -> None:
        self._muted[author], self._why[author] = cid, why
        self._why = {muted: self._why[muted] for muted in self._muted}
        self._named = {named: time for named, time in self._named.items() if now - time < NAMED_MS}
        if author not in self._named:
            self._named[author] = now
            self.note(f"the weights of {peer_name(author)}, which are not merged: {why}")


def _without(heard: Replicas, authors: list[bytes]) -> Replicas:
    return {author: replica for author, replica in heard.items() if author not in authors}
