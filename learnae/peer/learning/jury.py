"""The jury: replicas are judged before they are merged, on rows drawn from what members tell of theirs, or own ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import unique
from learnae.basics.overriding import override
from learnae.ipld.cid import Cid
from learnae.models.dataset import Rows
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.models.reference.stacked import Stacked, is_stackable
from learnae.peer.following import Replica
from learnae.peer.summaries.lessons import Lessons
from learnae.protocol.identity import peer_name
from learnae.samples.proxy_rows import Group
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge, JudgingPolicy, LossesOf
from learnae.weights.merge import JUDGED, NO_MOMENTS, OWN, TRIMMED, Moments, Vote
from learnae.weights.own_judging import OwnJudge

LEAST_WITNESSES = 3  # members whose summaries are believable: fewer may be one that lies
FIRST_MS = 60_000  # in which own held-out rows stand in: what liars spoil before summaries come does not heal
_FEWEST_OWN_ROWS = 20
_MOST_REPEATED = 8  # times: how often one own row counts where there are few of its class
_STAND_IN = JudgingPolicy(harm=math.inf, slack=math.inf, movement=0.0)  # own rows tell no more than who knows nothing
_KNOWS_NOTHING = 0.98  # times what saying the same of all rows loses
_MORE = 1.1  # times as many own rows: they are drawn anew
POINTS, POINTS_OF_LARGE = 256, 64  # of the proxy set
LARGE = 200_000  # weights: a pass takes its time
_PRODUCTS = 1 << 23  # of a pass of own rows, unless fewer than those would be left: a convolution has many
_CAPS = 2.0  # times what knowing nothing loses: the most that one row adds to a loss

Replicas = Mapping[bytes, Replica]


class Jury:
    """Says which replicas are merged; all of them while there is too little to judge by.

    ``muted`` says why each other replica is not merged, until it is judged again.
    """

    def __init__(self, manifest: Manifest, kind: type[Judge], moments: Moments) -> None:
        self._half_life = manifest.merge.half_life
        self._points = POINTS if manifest.model.count <= LARGE else POINTS_OF_LARGE
        self._judge = kind(lambda weights: self._each([weights])[0], moments=moments, losses_of=self._each)
        self._losses: LossesOf | None = None  # None while there is too little to judge by
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
        if self._draws(now, names != self._judged):
            self._judged = None
            self._judge.forget_losses()
        if self._losses is None:
            self.muted = {}
        elif names != self._judged:
            self._judged = names
            self.muted = self._judge.judge(own, replicas, self._half_life, now).muted

    def note_start(self, start: Vector) -> None:
        """Take in the weights (count,) that the swarm starts from."""

    def note_own(self, merged: Vector) -> None:
        """Take in the own weights (count,) after a merge."""
        self._judge.note_own(merged)

    def _draws(self, now: int, has_news: bool) -> bool:
        """Draw rows to judge by from now on, if others are due; return whether they were."""
        raise NotImplementedError

    def _each(self, several: Iterable[Vector]) -> Sequence[float]:
        assert self._losses is not None
        return self._losses(several)


class ProxyJury(Jury):
    """Judges on rows drawn from members' summaries.

    In its first minute rows ``held_out`` here stand in for theirs, unless it ``is_private``: what knows nothing of them
    once another does is muted, and all others are merged, as own rows may be unlike those of everybody.
    """

    def __init__(
        self, manifest: Manifest, lessons: Lessons, held_out: Rows | None = None, is_private: bool = False
    ) -> None:
        super().__init__(manifest, Judge, manifest.definition.moments)
        self._model: ModelDefinition = manifest.definition
        self._classes = manifest.class_count
        self._lessons = lessons
        self._held_out = None if is_private else held_out
        self._began: int | None = None
        self._witnesses: Mapping[bytes, Sequence[Group]] | None = None
        self._has_own = False

    @override
    def _draws(self, now: int, has_news: bool) -> bool:
        self._began = now if self._began is None else self._began
        witnesses = self._lessons.believed
        if sum(1 for groups in witnesses.values() if groups) < LEAST_WITNESSES:
            witnesses = {}
        is_early = self._held_out is not None and now - self._began < FIRST_MS
        if witnesses is self._witnesses or (not witnesses and self._witnesses == {} and is_early == self._has_own):
            return False
        self._witnesses, self._has_own, self._losses = witnesses, is_early and not witnesses, None
        nothing = _KNOWS_NOTHING * math.log(self._classes)
        self._judge.policy = JudgingPolicy() if witnesses else replace(_STAND_IN, nothing=nothing)
        if witnesses:
            self._judge_by(*self._lessons.proxy(self._points))
        elif self._held_out is not None and is_early and len(self._held_out) >= _FEWEST_OWN_ROWS:
            self._judge_by(*balanced(self._held_out, self._points))
        return True

    def _judge_by(self, rows: NDArray[np.float32], targets: NDArray[Any]) -> None:
        rows, targets = rows.reshape(len(rows), *self._model.input_shape), targets.reshape(len(rows)).astype(np.int64)
        self._losses = CappedLoss(self._model, rows, targets, self._classes).of_each if len(rows) else None


class OwnJury(Jury):
    """Judges on rows ``held_out`` here; drawn anew when there are a tenth more."""

    def __init__(self, manifest: Manifest, held_out: Rows) -> None:
        super().__init__(manifest, OwnJudge, manifest.definition.moments)
        self._model: ModelDefinition = manifest.definition
        self._points = min(self._points, max(POINTS_OF_LARGE, _PRODUCTS // self._model.row_products))
        self._objective = manifest.objective
        self._classes = manifest.class_count
        self._held_out = held_out
        self._enough = _FEWEST_OWN_ROWS

    @override
    def _draws(self, now: int, has_news: bool) -> bool:
        if not has_news or self._held_out.written < self._enough:
            return False
        self._enough = math.ceil(_MORE * self._held_out.written)
        rows, targets = evenly(self._held_out, self._points)
        nothing = math.log(max(self._classes, 2))  # loss of saying the same of all rows
        if not self._objective.is_classification:
            nothing = self._objective.value(np.broadcast_to(targets.mean(axis=0), targets.shape), targets)

        def losses(several: Iterable[Vector]) -> list[float]:
            with np.errstate(all="ignore"):
                outputs = (predict(self._model, weights, rows) for weights in several)
                return [self._objective.value(output, targets) / nothing for output in outputs]

        self._losses = losses if nothing > 0 else None
        return True


class OwnLoss(Protocol):
    """Tells how good weights are on rows that only the owner's program knows."""

    @property
    def may_be_asked(self) -> bool:
        """Return True if that program lets itself be asked now."""

    def __call__(self, weights: Vector) -> float:
        """Return the loss of weights (count,), less is better; infinite or NaN for the worst."""


class LossJury(Jury):
    """Judges by a ``loss`` of the owner's own, in which the swarm's start stands for knowing nothing."""

    def __init__(self, manifest: Manifest, loss: OwnLoss) -> None:
        moments = NO_MOMENTS if manifest.only_keras else manifest.definition.moments
        super().__init__(manifest, OwnJudge, moments)
        self._loss = loss
        self._start: Vector | None = None

    @override
    def note_start(self, start: Vector) -> None:
        self._start = start

    @override
    def sit(self, own: Vote, replicas: Replicas, now: int) -> None:
        if self._loss.may_be_asked:
            super().sit(own, replicas, now)

    @override
    def _draws(self, now: int, has_news: bool) -> bool:
        if self._start is None:
            return False
        nothing, self._start = self._loss(self._start), None
        if nothing > 0 and math.isfinite(nothing):
            self._losses = lambda several: [self._loss(weights) / nothing for weights in several]
        return True


def evenly(rows: Rows, count: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return at most ``count`` of ``rows``, evenly out of all, and their targets."""
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
    return rows.rows[places], rows.targets[places]


def balanced(rows: Rows, count: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return about ``count`` of ``rows``, as many of each class as far as there are, and their targets.

    Where nearly all own rows are of one class, what tells every row to be of it would be the best otherwise, and what
    others have learnt of the rest the worst. Few rows of a class count several times each.
    """
    classes = rows.targets.reshape(len(rows))
    labels = unique(classes)
    share, places = -(-count // len(labels)), []
    for own in (np.flatnonzero(classes == label) for label in labels):
        places.append(own[np.linspace(0, len(own) - 1, min(share, _MOST_REPEATED * len(own))).astype(int)])
    chosen = np.concatenate(places)
    return rows.rows[chosen], rows.targets[chosen]


class CappedLoss:
    """The mean cross entropy (nats) of ``rows`` (n, *input_shape) and their classes (n,), each row's capped."""

    def __init__(
        self, model: ModelDefinition, rows: NDArray[np.float32], targets: NDArray[np.int64], classes: int
    ) -> None:
        self._model, self._rows, self._targets, self._classes = model, rows, targets, classes
        self._stacked = Stacked(model, rows) if is_stackable(model) else None

    def __call__(self, weights: Vector) -> float:
        """Return that of these weights (count,)."""
        return self.of_each([weights])[0]

    def of_each(self, several: Iterable[Vector]) -> list[float]:
        """Return that of each of ``several`` weights: together they cost half as much."""
        if self._stacked is None:
            outputs = (predict(self._model, weights, self._rows).reshape(len(self._rows), -1) for weights in several)
            return [_of_likely(output, self._targets, self._classes) for output in outputs]
        with np.errstate(all="ignore"):
            parts = [_of_sums(sums, self._targets, self._classes) for sums in self._stacked.final_sums(several)]
        return [loss for part in parts for loss in part]


def _of_sums(sums: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> list[float]:
    """Return the losses (k,) of what enters a softmax, or a sigmoid, (k, outputs, n); that is overwritten."""
    if sums.shape[1] == 1:  # of the second class: that of the first is 0
        sums = np.concatenate([np.zeros_like(sums), sums], axis=1)
    sums -= sums.max(axis=1, keepdims=True)
    losses = -sums[:, targets, np.arange(len(targets))]
    losses += np.log(np.exp(sums, out=sums).sum(axis=1))
    found: list[float] = np.fmin(losses, _CAPS * math.log(classes)).mean(axis=1).tolist()
    return found


def _of_likely(output: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> float:
    with np.errstate(all="ignore"):
        if output.shape[1] == 1:
            output = np.concatenate([1 - output, output], axis=1)
        likely = np.nan_to_num(output[np.arange(len(output)), targets])
        losses = -np.log(np.maximum(likely, np.finfo(np.float32).tiny))
    return float(np.minimum(losses, _CAPS * math.log(classes)).mean())


def jury_of(
    manifest: Manifest,
    lessons: Lessons | None,
    held_out: Rows | None,
    is_private: bool,
    loss: OwnLoss | None = None,
) -> Jury | None:
    """Return the jury of a swarm that asks for one; None where there is nothing to judge by.

    That is where members' summaries are not seen, or there are no rows ``held_out``; one that ``is_private`` judges by
    no own rows: what is merged would tell of them. An own ``loss`` judges by the rules own and trimmed.
    """
    rule = manifest.merge.rule
    if loss is not None and rule in (OWN, TRIMMED) and not is_private:
        return LossJury(manifest, loss)
    if manifest.is_own_loop:
        return None
    if rule == JUDGED and lessons:
        return ProxyJury(manifest, lessons, held_out, is_private)
    return OwnJury(manifest, held_out) if rule == OWN and held_out is not None and not is_private else None
