"""What learners on one machine share that draw random batches, and the metrics of any model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss, explained
from learnae.models.optimisers import OptimiserPolicy
from learnae.overriding import override
from learnae.ports import Learner, Trained
from learnae.privacy.clipping import NormClip
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments

Array = NDArray[Any]
Predictor = Callable[[Array], Array]  # rows (n, *input_shape) to outputs (n, *outputs)


@dataclass(frozen=True, slots=True)
class ClippedSum:
    """Holds the sum (count,), float64, of rows' gradients, each at most so long, and the rows' norms (n,) before."""

    gradient: NDArray[np.float64]
    norms: NDArray[np.float64]
    loss: float


@dataclass(eq=False)
class BatchLearner(Learner):
    """Trains on a Dataset that may grow between calls, on random batches of its training rows."""

    evaluation_batch: ClassVar[int]  # rows: bounds the memory of an evaluation

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

        Nothing is trained. Raises ModelError for a model in which a row has no gradient of its own.
        """
        raise NotImplementedError

    def predictor(self, weights: Vector) -> Predictor:
        """Return the model of these weights as a function of at most ``evaluation_batch`` rows."""
        raise NotImplementedError

    @property
    @override
    def moments(self) -> Moments:
        return self.model.moments

    @override
    def train(self, steps: int) -> Trained:
        rows, targets = self.data.train.rows, self.data.train.targets
        if not len(rows) or steps < 1:
            return Trained(0, 0, 0.0)
        total = 0.0
        for _ in range(steps):
            chosen = self.rng.integers(0, len(rows), self.batch)
            total += self.step(*self._mixed(rows[chosen], targets[chosen]))
        return Trained(steps, len(rows), total / steps)

    def _mixed(self, rows: Array, targets: Array) -> tuple[Array, Array]:
        """Replace some of a batch by rows drawn from others' summaries, if there are any."""
        drawn = self.data.drawn
        if count := self.rng.binomial(self.batch, self.data.drawn_share) if len(drawn) else 0:
            chosen = self.rng.integers(0, len(drawn), count)
            rows[:count], targets[:count] = drawn.rows[chosen], drawn.targets[chosen]
        return rows, targets

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        held_out = self.data.holdout
        if not len(held_out):
            return None
        return measure(self.loss, self.predictor(weights), held_out.rows, held_out.targets, self.evaluation_batch)


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
