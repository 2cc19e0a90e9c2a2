"""The reference learner: NumPy, no dependency beyond it, runs wherever Python does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.evaluation import measure
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_model import predict, train_step
from learnae.overriding import override
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

_EVALUATION_BATCH = 1024  # rows: bounds the memory of an evaluation


class NumpyLearner(Learner):
    """Trains on a Dataset that may grow between calls, on random batches of its training rows."""

    def __init__(
        self,
        model: ModelDefinition,
        loss: Loss,
        optimiser: OptimiserPolicy,
        data: Dataset,
        batch: int,
        rng: np.random.Generator,
    ) -> None:
        self._model = model
        self._loss = loss
        self._optimiser = Optimiser(optimiser, model.count)
        self._data = data
        self._batch = batch
        self._rng = rng
        self._weights: Vector = np.zeros(model.count, np.float32)

    @override
    def weights(self) -> Vector:
        return self._weights.copy()

    @override
    def load(self, weights: Vector) -> None:
        self._weights = np.array(weights, np.float32)

    @override
    def train(self, steps: int) -> Trained:
        rows, targets = self._data.train.rows, self._data.train.targets
        if not len(rows) or steps < 1:
            return Trained(0, 0, 0.0)
        total = 0.0
        for _ in range(steps):
            chosen = self._rng.integers(0, len(rows), self._batch)
            total += train_step(
                self._model, self._loss, self._optimiser, self._weights, rows[chosen], targets[chosen], self._rng
            )
        return Trained(steps, len(rows), total / steps)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        rows, targets = self._data.holdout.rows, self._data.holdout.targets
        return evaluate(self._model, self._loss, weights, rows, targets)

    def predict(self, weights: Vector, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the model's output (n, *outputs) with these weights for ``rows`` (n, *input_shape)."""
        return predict(self._model, weights, rows)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return self._optimiser.state

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._optimiser.restore(state)


def evaluate(
    model: ModelDefinition, loss: Loss, weights: Vector, rows: NDArray[Any], targets: NDArray[Any]
) -> Metrics | None:
    """Return mean loss and accuracy over ``rows`` (n, *input_shape); None without rows."""
    return measure(loss, lambda part: predict(model, weights, part), rows, targets, _EVALUATION_BATCH)
