"""The jury: replicas are judged on rows drawn from what members tell of theirs, before they are merged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from learnae.ipld.cid import Cid
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.peer.following import Replica
from learnae.peer.summaries.lessons import Lessons
from learnae.samples.proxy_rows import Group
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import Vote

LEAST_WITNESSES = 3  # members whose summaries are believable: fewer may be one that lies
_POINTS, _POINTS_OF_LARGE = 256, 64  # of the proxy set
_LARGE = 200_000  # weights: a pass takes its time
_CAPS = 2.0  # times what knowing nothing loses: the most that one row adds to a loss

Replicas = Mapping[bytes, Replica]


class Jury:
    """Says which replicas are merged; all of them while too few members tell of their rows.

    ``muted`` says why each other one is not, until it is judged again.
    """

    def __init__(self, manifest: Manifest, lessons: Lessons, rng: np.random.Generator | None = None) -> None:
        self._model: ModelDefinition = manifest.definition
        self._classes = manifest.class_count
        self._half_life = manifest.merge.half_life
        self._points = _POINTS if self._model.count <= _LARGE else _POINTS_OF_LARGE
        self._lessons = lessons
        self._judge = Judge(self._loss, JudgingPolicy(), self._model.moments, rng or np.random.default_rng())
        self._believed: Mapping[bytes, Sequence[Group]] = {}
        self._rows = np.zeros((0, *self._model.input_shape), np.float32)
        self._targets = np.zeros(0, np.int64)
        self._judged: frozenset[Cid] | None = None
        self.muted: Mapping[bytes, str] = {}

    @property
    def suspects(self) -> list[bytes]:
        """Return the authors whose replicas have been bad for long: a hint for people."""
        return self._judge.suspects

    def heard(self, replicas: Replicas) -> dict[bytes, Replica]:
        """Return those that are merged."""
        return {author: replica for author, replica in replicas.items() if author not in self.muted}

    def sit(self, own: Vote, replicas: Replicas, now: int) -> None:
        """Judge ``replicas`` again if any of them is new; ``own`` are the weights as they are, ``now`` in ms."""
        names = frozenset(replica.cid for replica in replicas.values())
        if not self._renew() or names == self._judged:
            return
        self._judged = names
        self.muted = self._judge.judge(own, replicas, self._half_life, now).muted

    def note_own(self, merged: Vector) -> None:
        """Take in the own weights (count,) after a merge."""
        self._judge.note_own(merged)

    def _renew(self) -> bool:
        """Draw the proxy set anew if members tell something else; return False, and mute no one, without enough."""
        believed = self._lessons.believed
        if believed is not self._believed:
            self._believed, self._judged = believed, None
            self._judge.forget_losses()
            rows, targets = self._lessons.proxy(self._points)
            self._rows, self._targets = rows.reshape(len(rows), *self._model.input_shape), targets.astype(np.int64)
        if sum(1 for groups in believed.values() if groups) >= LEAST_WITNESSES and len(self._rows):
            return True
        self.muted = {}
        return False

    def _loss(self, weights: Vector) -> float:
        """Return the mean cross entropy (nats) over the proxy set, each row's capped."""
        with np.errstate(all="ignore"):
            output = predict(self._model, weights, self._rows).reshape(len(self._rows), -1)
            if output.shape[1] == 1:
                output = np.concatenate([1 - output, output], axis=1)
            likely = np.nan_to_num(output[np.arange(len(output)), self._targets])
            losses = -np.log(np.maximum(likely, np.finfo(np.float32).tiny))
        return float(np.minimum(losses, _CAPS * math.log(self._classes)).mean())


def jury_of(manifest: Manifest, lessons: Lessons | None) -> Jury | None:
    """Return the jury of a swarm; None where rows have no classes, or members' summaries are not seen."""
    if lessons is None or not manifest.class_count or manifest.only_keras:
        return None
    return Jury(manifest, lessons)
