"""A model for the machine that makes it, beside the common one: tuned on own rows, chosen on own held-out ones.

The common model serves some people much worse than others. A copy of it that is trained on with own rows, or one
that has never seen others, may serve its owner better; which one does is measured, and the common one keeps its
place until another is strictly better. Nothing of it leaves the machine. Its steps are no draws of rows that an
update may tell of.

Sources: fine-tuning with a choice among candidates (Wang et al. 2019, 1910.10252); test, then train (Gama, Sebastião &
Rodrigues 2013).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import unique
from learnae.models.batch_learner import BatchLearner
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import BlockStore
from learnae.privacy.clipping import NormClip
from learnae.swarm.initial_weights import starting_weights
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

COMMON, TUNED, ALONE = "common", "tuned", "alone"

_ROWS, _HELD_OUT = 100, 30  # fewer: tested with each new row before it is trained on
_STEPS, _FEW_STEPS = 1560, 104
# seconds from one choice to the next, at first, with the start before the first, and at last: model and rows have moved
_SOON, _EVERY = 15.0, 300.0
_NEW, _SCORED, _ENOUGH = 10, 50, 20  # rows scored at a time, that count, and that a choice needs
_FOLDS = 4  # of held-out rows: what is chosen on three of them is much like what is chosen on all
_SHARE = 0.1  # of the time, at most, goes to this
_SLICE = 0.05  # seconds of training at once, about
_MOST_WEIGHTS = 1 << 20  # of a model that is kept twice more, and trained by NumPy
_LONGEST = 1.0  # of a row's gradient: so a copy that few rows tune is not lost


@dataclass(frozen=True, slots=True)
class Choice:
    """The model that is used: ``name`` of COMMON, TUNED and ALONE, ``vector`` (count,), None for the common one.

    ``score`` is its share of right answers on own held-out rows, each judged by a choice made without it, ``common``
    that of the common model; for regression what the loss leaves of 1. ``rows`` is of how many.
    """

    name: str = COMMON
    vector: Vector | None = None
    score: float | None = None
    common: float | None = None
    rows: int = 0


def personal_of(manifest: Manifest, data: Dataset, store: BlockStore, is_on: bool) -> Personal | None:
    """Make the personal model of a peer with rows of ``data``; None if it is not to have one, or can have none.

    There is none without labels, for models that Keras alone can train, and for large ones.
    """
    if not is_on or manifest.only_keras or manifest.is_autoencoder or manifest.model.count > _MOST_WEIGHTS:
        return None
    rng = np.random.default_rng()

    def make() -> NumpyLearner:
        return NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng,
            NormClip(most=_LONGEST),
        )  # fmt: skip

    return Personal(data, make, partial(starting_weights, manifest, store), manifest.class_count)


class Personal:
    """Makes and chooses the personal model, a slice of work at a time.

    ``make`` gives a fresh learner on this machine's rows, ``data``, ``start`` the weights that all begin with; the
    swarm tells so many ``classes`` apart, 0 for none. ``seconds`` is a clock that only counts.
    """

    def __init__(
        self,
        data: Dataset,
        make: Callable[[], BatchLearner],
        start: Callable[[], Vector | None],
        classes: int = 0,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._data = data
        self._make = make
        self._start = start
        self._classes = classes
        self._seconds = seconds
        self.choice = Choice()
        self._work: Iterator[None] | None = None
        self._rested: float | None = None  # when work may go on; not before the common model has learnt something
        self._due = float("-inf")  # when the next choice is to be made
        self._pause = _SOON
        self._alone: tuple[int, Vector] | None = None  # of how many rows
        self._few: _Few | None = None

    def advance(self, common: Vector) -> None:
        """Do a slice of work, if it is time for one; ``common`` (count,) is the estimate that all share."""
        begun = self._seconds()
        if self._rested is None:
            self._rested = begun + _SOON
        if begun < self._rested:
            return
        if self._work is None:
            self._work = self._next(common)
        if self._work is not None:
            try:
                next(self._work)
            except StopIteration:
                self._work = None
        self._rested = begun + (self._seconds() - begun) / _SHARE

    def settle(self, common: Vector) -> Choice:
        """Do all work that is due for ``common`` (count,), at once and without a rest, and return the choice."""
        for _ in self._next(common) or ():
            pass
        return self.choice

    def vector(self, common: Vector) -> Vector:
        """Return the weights (count,) that serve this machine best, as far as is known."""
        return common if self.choice.vector is None else self.choice.vector

    @property
    def alone(self) -> Vector | None:
        """Return the weights (count,) that no other peer has had a part in; None before there are some."""
        return self._alone[1] if self._alone else None

    def status(self) -> dict[str, Any]:
        """Return what is used, and how good it is on own held-out rows, for people here."""
        choice = self.choice
        return {"model": choice.name, "score": choice.score, "common": choice.common, "rows": choice.rows}

    def _next(self, common: Vector) -> Iterator[None] | None:
        """Return the work that is due now."""
        if len(self._data.train) < _ROWS or len(self._data.holdout) < _HELD_OUT:
            self._few = self._few or _Few(self._make(), common)
            return self._learn_few(self._few, common) if self._few.has_news else None
        return self._choose(common) if self._seconds() >= self._due else None

    def _learn_few(self, few: _Few, common: Vector) -> Iterator[None]:
        yield from few.learn(common, self._seconds)
        self.choice = few.choice() if self._has_most_classes() else Choice()

    def _has_most_classes(self) -> bool:
        """Whether own rows are of more than half of the classes: on one alone, a copy that says no other looks best."""
        return 2 * len(unique(self._data.train.targets)) > self._classes

    def _choose(self, common: Vector) -> Iterator[None]:
        self._few, learner = None, self._make()
        learner.load(common)
        yield from _train(learner, _STEPS, self._seconds)
        candidates = [(COMMON, common), (TUNED, learner.weights())]
        yield from self._renew_alone(learner)
        if self.alone is not None:
            candidates.append((ALONE, self.alone))
        self.choice = choose(learner, candidates)
        self._due, self._pause = self._seconds() + self._pause, min(2 * self._pause, _EVERY)

    def _renew_alone(self, learner: BatchLearner) -> Iterator[None]:
        """Train a model that no other peer has had a part in; anew where rows are half as many again.

        The ``learner`` is there for this: another one would take as much memory as all else that is personal.
        """
        rows = len(self._data.train)
        if (self._alone and rows < 1.5 * self._alone[0]) or (start := self._start()) is None:
            return
        learner.begin_optimiser()
        learner.load(start)
        yield from _train(learner, _STEPS, self._seconds)
        self._alone = rows, learner.weights()


class _Few:
    """A copy that is trained as labels come: each new row is answered first, by it and by the common model."""

    def __init__(self, learner: BatchLearner, common: Vector) -> None:
        self._learner = learner
        self._seen = 0
        self._scored: deque[tuple[float, float]] = deque(maxlen=_SCORED)  # what the common model, and it, got right
        learner.load(common)

    @property
    def has_news(self) -> bool:
        """Whether there are new rows enough."""
        return self._learner.data.train.written - self._seen >= _NEW

    def learn(self, common: Vector, seconds: Callable[[], float]) -> Iterator[None]:
        """Score what is new, then train on all."""
        train = self._learner.data.train
        fresh = train.since(self._seen)
        rows, targets, self._seen = train.rows[fresh], train.targets[fresh], train.written
        own = _scores(self._learner, self._learner.weights(), rows, targets)
        self._scored.extend(zip(_scores(self._learner, common, rows, targets), own, strict=True))
        yield from _train(self._learner, _FEW_STEPS, seconds)

    def choice(self) -> Choice:
        """Return the better of both on the rows scored last; the common one before there are enough.

        The copy has to be better on more rows than it is worse on, by more than chance makes of so few.
        """
        if len(self._scored) < _ENOUGH:
            return Choice()
        scored = np.array(self._scored)
        (common, own), better = scored.mean(axis=0), np.sign(scored[:, 1] - scored[:, 0])
        if own > common and better.sum() > np.sqrt(np.abs(better).sum()):
            return Choice(TUNED, self._learner.weights(), float(own), float(common), len(self._scored))
        return Choice(COMMON, None, float(common), float(common), len(self._scored))


def choose(learner: BatchLearner, candidates: list[tuple[str, Vector]]) -> Choice:
    """Return the first of ``candidates`` that is strictly better on the held-out rows than those before it.

    Its score is cross-fitted: each fold of the rows is judged by a choice on all others. The first of ``candidates`` is
    the common model.
    """
    held_out = learner.data.holdout
    scores = np.array([_scores(learner, vector, held_out.rows, held_out.targets) for _, vector in candidates])
    folds = _folds(held_out.targets, learner.loss.is_classification)
    judged = np.empty(len(held_out))
    for fold in unique(folds):
        away = folds == fold
        judged[away] = scores[_best(scores[:, ~away]), away]
    best = _best(scores)
    name, vector = candidates[best]
    return Choice(name, vector if best else None, float(judged.mean()), float(scores[0].mean()), len(held_out))


def _best(scores: NDArray[np.float64]) -> int:
    return int(scores.mean(axis=1).argmax())  # the first of several that are as good


def _folds(targets: NDArray[Any], is_classification: bool) -> NDArray[np.int64]:
    """Return which fold rows are in that come in the order of time: each has a stretch of each class."""
    kinds = targets.reshape(len(targets), -1)[:, 0] if is_classification else np.zeros(len(targets))
    folds = np.zeros(len(targets), np.int64)
    for kind in unique(kinds):
        (members,) = np.nonzero(kinds == kind)
        folds[members] = np.arange(len(members)) * _FOLDS // len(members)
    return folds


def _scores(learner: BatchLearner, vector: Vector, rows: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return (n,) for each row whether it is answered rightly, 1 or 0; for regression 1 less its loss."""
    predict, size, loss = learner.predictor(vector), learner.evaluation_batch, learner.loss
    output = np.concatenate([predict(rows[start : start + size]) for start in range(0, len(rows), size)])
    pairs = ((output[index : index + 1], targets[index : index + 1]) for index in range(len(rows)))
    if loss.is_classification:
        return np.array([loss.accuracy(*pair) for pair in pairs])
    return np.array([1 - loss.value(*pair) for pair in pairs])


def _train(learner: BatchLearner, steps: int, seconds: Callable[[], float]) -> Iterator[None]:
    """Take ``steps`` on random batches of own rows, and pause after each slice."""
    train = learner.data.train
    begun = seconds()
    for _ in range(steps):
        chosen = learner.rng.integers(0, len(train), learner.batch)
        learner.step(train.rows[chosen], train.targets[chosen])
        if seconds() - begun >= _SLICE:
            yield
            begun = seconds()
    yield
