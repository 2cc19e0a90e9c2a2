"""What learners on one machine share that draw random batches, and the metrics of any model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.overriding import override
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments

Array = NDArray[Any]
Predictor = Callable[[Array], Array]  # rows (n, *input_shape) to outputs (n, *outputs)


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

    def __post_init__(self) -> None:
        """Make what steps work on, with weights of 0."""

    def step(self, rows: Array, targets: Array) -> float:
        """Take one optimiser step on a batch; return its mean loss before it."""
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
            total += self.step(rows[chosen], targets[chosen])
        return Trained(steps, len(rows), total / steps)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        held_out = self.data.holdout
        if not len(held_out):
            return None
        return measure(self.loss, self.predictor(weights), held_out.rows, held_out.targets, self.evaluation_batch)


def measure(loss: Loss, predict: Predictor, rows: Array, targets: Array, batch: int) -> Metrics | None:
    """Return mean loss and accuracy of ``predict`` over ``rows`` (n, *input_shape), ``batch`` at a time, if any."""
    if not len(rows):
        return None
    total, right = 0.0, 0.0
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        output = predict(rows[part])
        share = len(output) / len(rows)
        total += share * loss.value(output, targets[part])
        right += share * loss.accuracy(output, targets[part]) if loss.is_classification else 0.0
    return Metrics(total, min(right, 1.0) if loss.is_classification else None, len(rows))
