"""The jury: replicas are judged on rows drawn from what members tell of theirs, before they are merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from learnae.ipld.cid import Cid
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.peer.following import Replica
from learnae.peer.summaries.lessons import Lessons
from learnae.protocol.identity import peer_name
from learnae.samples.proxy_rows import Group
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import JUDGED, Vote

LEAST_WITNESSES = 3  # members whose summaries are believable: fewer may be one that lies
FIRST_MS = 60_000  # in which own held-out rows stand in: what liars spoil before summaries come does not heal
_FEWEST_OWN_ROWS = 20
POINTS, _POINTS_OF_LARGE = 256, 64  # of the proxy set
_LARGE = 200_000  # weights: a pass takes its time
_CAPS = 2.0  # times what knowing nothing loses: the most that one row adds to a loss

Replicas = Mapping[bytes, Replica]


class Jury:
    """Says which replicas are merged; all of them where too few members tell of their rows.

    In its first minute own held-out rows stand in for theirs, unless it ``is_private``. ``muted`` says why each other
    replica is not merged, until it is judged again.
    """

    def __init__(
        self, manifest: Manifest, lessons: Lessons, is_private: bool = False, rng: np.random.Generator | None = None
    ) -> None:
        self._model: ModelDefinition = manifest.definition
        self._classes = manifest.class_count
        self._half_life = manifest.merge.half_life
        self._points = POINTS if self._model.count <= _LARGE else _POINTS_OF_LARGE
        self._lessons = lessons
        self._judge = Judge(self._loss, JudgingPolicy(), self._model.moments, rng or np.random.default_rng())
        self._is_private = is_private
        self._began: int | None = None
        self._witnesses: Mapping[bytes, Sequence[Group]] | None = None
        self._rows = np.zeros((0, *self._model.input_shape), np.float32)
        self._targets = np.zeros(0, np.int64)
        self._has_own = False
        self._judged: frozenset[Cid] | None = None
        self.muted: Mapping[bytes, str] = {}

    def status(self) -> dict[str, str]:
        """Return by peer why its replica is not merged now; a suspect's has been bad for long. Hints, no proof."""
        suspects = self._judge.suspects
        return {
            peer_name(author): f"suspect: {why}" if author in suspects else why for author, why in self.muted.items()
        }

    def heard(self, replicas: Replicas) -> dict[bytes, Replica]:
        """Return those that are merged."""
        return {author: replica for author, replica in replicas.items() if author not in self.muted}

    def sit(self, own: Vote, replicas: Replicas, now: int) -> None:
        """Judge ``replicas`` again if any of them is new; ``own`` are the weights as they are, ``now`` in ms."""
        names = frozenset(replica.cid for replica in replicas.values())
        self._began = now if self._began is None else self._began
        self._call(now)
        if not len(self._rows):
            self.muted = {}
        elif names != self._judged:
            self._judged = names
            self.muted = self._judge.judge(own, replicas, self._half_life, now).muted

    def note_own(self, merged: Vector) -> None:
        """Take in the own weights (count,) after a merge."""
        self._judge.note_own(merged)

    def _call(self, now: int) -> None:
        """Draw the proxy set anew if members tell something else."""
        witnesses = self._lessons.believed
        if sum(1 for groups in witnesses.values() if groups) < LEAST_WITNESSES:
            witnesses = {}
        is_early = not self._is_private and now - (self._began or 0) < FIRST_MS
        if witnesses is self._witnesses or (not witnesses and self._witnesses == {} and is_early == self._has_own):
            return
        self._witnesses, self._judged, self._has_own = witnesses, None, False
        rows, targets = np.zeros((0, *self._model.input_shape), np.float32), np.zeros(0, np.float32)
        if witnesses:
            rows, targets = self._lessons.proxy(self._points)
        elif is_early:
            self._has_own = True
            rows, targets = self._lessons.held_out(self._points)
            rows = rows if len(rows) >= _FEWEST_OWN_ROWS else rows[:0]
        self._rows = rows.reshape(len(rows), *self._model.input_shape)
        self._targets = targets[: len(rows)].reshape(len(rows)).astype(np.int64)
        self._judge.forget_losses()

    def _loss(self, weights: Vector) -> float:
        return capped_loss(self._model, weights, self._rows, self._targets, self._classes)


def capped_loss(
    model: ModelDefinition, weights: Vector, rows: NDArray[np.float32], targets: NDArray[np.int64], classes: int
) -> float:
    """Return the mean cross entropy (nats) of ``rows`` (n, *input_shape) and their classes (n,), each row's capped."""
    with np.errstate(all="ignore"):
        output = predict(model, weights, rows).reshape(len(rows), -1)
        if output.shape[1] == 1:
            output = np.concatenate([1 - output, output], axis=1)
        likely = np.nan_to_num(output[np.arange(len(output)), targets])
        losses = -np.log(np.maximum(likely, np.finfo(np.float32).tiny))
    return float(np.minimum(losses, _CAPS * math.log(classes)).mean())


def jury_of(manifest: Manifest, lessons: Lessons | None, is_private: bool) -> Jury | None:
    """Return the jury of a swarm that asks for one; None where members' summaries are not seen."""
    return Jury(manifest, lessons, is_private) if lessons and manifest.merge.rule == JUDGED else None
