"""What learners on one machine share that draw random batches, and the metrics of any model."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss, explained
from learnae.models.optimisers import OptimiserPolicy
from learnae.ports import Learner, Trained
from learnae.privacy.clipping import NormClip
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments

_STEPS_DRAWN = 64  # whose rows are drawn together: a tenth of the time of drawing those of one after another

Array = NDArray[Any]
Predictor = Callable[[Array], Array]  # rows (n, *input_shape) to outputs (n, *outputs)


@dataclass(frozen=True, slots=True)
class ClippedSum:
    """Holds the sum (count,) of rows' gradients, each at most so long, the rows' norms (n,) before, the mean loss."""

    gradient: Array
    norms: NDArray[np.float64]
    loss: float


@dataclass(eq=False)
class BatchLearner(Learner):
    """Trains on a Dataset that may grow between calls, on random batches of its training rows."""

    evaluation_batch: ClassVar[int]  # rows, at most

    model: ModelDefinition
    loss: Loss
    optimiser: OptimiserPolicy
    data: Dataset
    batch: int
    rng: np.random.Generator
    clip: NormClip = field(default_factory=lambda: NormClip(is_on=False))

    def __post_init__(self) -> None:
        """Make what steps work on, with weights of 0."""

    def step(self, rows: Array, targets: Array) -> float:
        """Take one optimiser step on a batch; return its mean loss before it."""
        raise NotImplementedError

    def clipped_sum(self, rows: Array, targets: Array, bound: float) -> ClippedSum:
        """Sum the gradients of ``rows`` (n, *input_shape) at the own weights, each at most ``bound`` long.

        Gradients are of each row's own loss, without dropout, and in float32: a norm is that of the gradient so
        computed, to some 1e-6 of itself. Of up to CHUNK_ROWS rows each goes through ADDITIONS roundings at most
        (learnae.privacy.noise.grid); the sum over more is in float64. Nothing is trained. Raises ModelError for a model
        in which rows have none of their own.
        """
        raise NotImplementedError

    def bound_for(self, rows: Array, targets: Array) -> float:
        """Return how long a row's gradient may be; where that is to be measured, these ``rows`` do for all."""
        count = len(self.data.train)
        if self.clip.is_due(count):
            weights = self.weights()
            self.load(self.model.untaught())
            self.clip.note(self.norms_of(rows, targets), count)
            self.load(weights)
        return self.clip.bound

    def norms_of(self, rows: Array, targets: Array) -> NDArray[np.float64]:
        """Return the norms (n,) of the gradients of ``rows`` at the own weights."""
        return self.clipped_sum(rows, targets, math.inf).norms

    @property
    def clips_rows(self) -> bool:
        """Return True if steps clip each row's gradient."""
        return self.clip.is_on and self.model.has_row_gradients

    def predictor(self, weights: Vector) -> Predictor:
        """Return the model of these weights as a function of at most ``rows_at_once`` rows."""
        raise NotImplementedError

    @property
    def rows_at_once(self) -> int:
        """Return how many rows are evaluated together: ``evaluation_batch``, fewer where each needs much memory."""
        return self.model.rows_at_once(self.evaluation_batch)

    @property
    @override
    def moments(self) -> Moments:
        return self.model.moments

    @override
    def train(self, steps: int) -> Trained:
        rows, targets = self.data.train.rows, self.data.train.targets
        if not len(rows) or steps < 1:
            return Trained(0, 0, 0.0)
        total, at_once = 0.0, 1 if len(self.data.drawn) else _STEPS_DRAWN
        for begun in range(0, steps, at_once):
            chosen = self.rng.integers(0, len(rows), (min(at_once, steps - begun), self.batch))
            count = self._drawn_count()
            for each in chosen:
                total += self.step(*self._mixed(rows.take(each, 0), targets.take(each, 0), count))
            self.data.train.draw(chosen[:, count:].ravel())
        return Trained(steps, len(rows), total / steps)

    def _drawn_count(self) -> int:
        """Draw how many rows of a batch are drawn from others' summaries."""
        return int(self.rng.binomial(self.batch, self.data.drawn_share)) if len(self.data.drawn) else 0

    def _mixed(self, rows: Array, targets: Array, count: int) -> tuple[Array, Array]:
        """Put ``count`` drawn rows in place of the first of a batch."""
        if count:
            drawn = self.data.drawn
            chosen = self.rng.integers(0, len(drawn), count)
            rows[:count], targets[:count] = drawn.rows[chosen], drawn.targets[chosen]
        return rows, targets

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        held_out = self.data.holdout
        if not len(held_out):
            return None
        return measure(self.loss, self.predictor(weights), held_out.rows, held_out.targets, self.rows_at_once)


def measure(loss: Loss, predict: Predictor, rows: Array, targets: Array, batch: int) -> Metrics | None:
    """Return how good ``predict`` is on ``rows`` (n, *input_shape), ``batch`` at a time; None without any."""
    if not len(rows):
        return None
    total, right, absolute, squared = 0.0, 0.0, 0.0, 0.0
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        output = predict(rows[part])
        share = len(output) / len(rows)
        total += share * loss.value(output, targets[part])
        if loss.is_classification:
            right += share * loss.accuracy(output, targets[part])
        else:
            error = np.subtract(output, targets[part], dtype=np.float64)
            absolute += share * float(np.mean(np.abs(error)))
            squared += float(np.sum(error * error))
    if loss.is_classification:
        return Metrics(total, min(right, 1.0), len(rows))
    return Metrics(total, None, len(rows), absolute, explained(squared, targets, batch))


def sum_parts(
    sum_part: Callable[[Array, Array, float], ClippedSum],
    count: int,
    rows: Array,
    targets: Array,
    bound: float,
    size: int,
) -> ClippedSum:
    """Return the clipped sum (``count``,) over ``rows``, of which ``sum_part`` takes at most ``size`` at a time."""
    gradient, norms, loss = np.zeros(count), [np.zeros(0)], 0.0
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found = sum_part(rows[part], targets[part], bound)
        gradient += found.gradient
        norms.append(found.norms)
        loss += found.loss * (len(found.norms) / len(rows))
    return ClippedSum(gradient, np.concatenate(norms), loss)
