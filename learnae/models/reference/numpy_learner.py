"""The reference learner: NumPy, no dependency beyond it, runs wherever Python does."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.batch_learner import BatchLearner, ClippedSum, Predictor, measure, sum_parts
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser
from learnae.models.reference.numpy_model import Differentiator, predict, take_step
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector


class NumpyLearner(BatchLearner):
    """Computes with the functions of numpy_model, which the other learners are measured by."""

    evaluation_batch = 1024

    @override
    def __post_init__(self) -> None:
        self._optimiser = Optimiser(self.optimiser, self.model.count)
        self._weights: Vector = np.zeros(self.model.count, np.float32)
        self._through = Differentiator(self.model, self.loss, self._weights)

    @override
    def weights(self) -> Vector:
        return self._weights.copy()

    @override
    def load(self, weights: Vector) -> None:
        np.copyto(self._weights, weights)

    @override
    def step(self, rows: NDArray[Any], targets: NDArray[Any]) -> float:
        if not self.clips_rows:
            return take_step(self._through, self._optimiser, rows, targets, self.rng)
        found = self._through.clipped_sum(rows, targets, self.bound_for(rows, targets), self.rng)
        gradient = found.gradient
        gradient /= np.float32(len(rows))
        self._optimiser.apply(self._weights, gradient)
        return found.loss

    @override
    def clipped_sum(self, rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
        self.model.check_row_gradients()
        return sum_parts(self._through.clipped_sum, self.model.count, rows, targets, bound, self.rows_at_once)

    @override
    def predictor(self, weights: Vector) -> Predictor:
        return partial(predict, self.model, weights)

    def predict(self, weights: Vector, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the model's output (n, *outputs) with these weights for ``rows`` (n, *input_shape)."""
        return predict(self.model, weights, rows)

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
    return measure(loss, partial(predict, model, weights), rows, targets, NumpyLearner.evaluation_batch)
