"""Forward and backward passes in NumPy: functions over explicit weights, in any float type.

The slow, debuggable twin of every other learner, and the oracle of their tests.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from learnae.models.batch_learner import ClippedSum
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, Array, Layer
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser
from learnae.privacy.clipping import WITHIN, shares_of

_TOGETHER = 384  # rows on their way through a model


@dataclass(frozen=True, slots=True)
class Differential:
    """The mean loss of a batch and its gradient (count,).

    ``moves`` (count,) is what a step adds to weights that no gradient trains, the moving statistics
    of BatchNormalization; None if the model has none. Their gradient is 0.
    """

    loss: float
    gradient: Array
    moves: Array | None


def predict(model: ModelDefinition, weights: Array, rows: Array) -> Array:
    """Return the model's output (n, *output_shape) for ``rows`` (n, *input_shape); dropout is inactive.

    Some rows at a time: what a few hundred become on their way fits into a cache, and into memory that was freed a
    moment before, where that of a thousand has fresh pages each time.
    """
    size = model.rows_at_once(_TOGETHER)
    if size < len(rows):
        return np.concatenate(
            [predict(model, weights, rows[start : start + size]) for start in range(0, len(rows), size)]
        )
    value = rows
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        value, _ = layer.forward(arrays, value, False, None)
    return value


class Differentiator:
    """Passes batches forward and back through ``weights`` (count,), which may change in place between two of them.

    Views into weights and gradient are made once: a small model's step spends its time on making arrays.
    """

    def __init__(self, model: ModelDefinition, loss: Loss, weights: Array) -> None:
        self.model, self.loss, self.weights = model, loss, weights
        self.gradient = np.zeros_like(weights)
        self._arrays, self._slots = model.split(weights), model.split(self.gradient)
        self._layers = _before_loss(model)
        self._has_moments = bool(len(model.moments.means))

    def differentiate(self, rows: Array, targets: Array, rng: np.random.Generator | None = None) -> Differential:
        """Return loss and gradient of a batch, as in training; dropout draws from ``rng``, and is inactive without.

        The gradient is overwritten by the next one.
        """
        value, memories = self._forward(rows, rng)
        flow = self.loss.gradient(value, targets)
        self.gradient.fill(0)
        for index in range(len(self._layers) - 1, -1, -1):
            self._layers[index].gradients(self._slots[index], memories[index], flow)
            if index:
                flow = self._layers[index].backward(self._arrays[index], memories[index], flow)
        return Differential(self.loss.value(value, targets), self.gradient, self._moves(memories))

    def clipped_sum(
        self, rows: Array, targets: Array, bound: float, rng: np.random.Generator | None = None
    ) -> ClippedSum:
        """Sum the gradients of each row's own loss, scaled to a norm of at most ``bound``.

        One pass forward and one back: a row's gradient of a layer follows from what entered and what flows back, and is
        never stored by itself. Norms are as exact as the weights' type. The sum is overwritten by the next one. Raises
        ModelError where rows have none.
        """
        self.model.check_row_gradients()
        value, memories = self._forward(rows, rng)
        flow = self.loss.gradient(value, targets)
        flow *= value.dtype.type(len(rows))
        flows, squares = [], np.zeros(len(rows))
        for index in range(len(self._layers) - 1, -1, -1):
            if self._arrays[index]:
                squares += self._layers[index].squared_norms(memories[index], flow)
            flows.append(flow)
            if index:
                flow = self._layers[index].backward(self._arrays[index], memories[index], flow)
        norms, shares = np.sqrt(squares), None
        if not norms.max(initial=0.0) <= WITHIN * bound:
            shares = shares_of(norms, bound).astype(self.weights.dtype)
        self.gradient.fill(0)
        for index, layer in enumerate(self._layers):
            if self._slots[index]:
                flow = flows[len(self._layers) - 1 - index]
                left = flow if shares is None else flow * shares.reshape(-1, *[1] * (flow.ndim - 1))
                layer.gradients(self._slots[index], memories[index], left)
        return ClippedSum(self.gradient, norms, self.loss.value(value, targets))

    def _forward(self, rows: Array, rng: np.random.Generator | None) -> tuple[Array, list[Any]]:
        """Return the output in training, and what each layer remembers."""
        memories, value = [], rows
        for layer, own in zip(self.model.layers, self._arrays, strict=True):
            value, memory = layer.forward(own, value, True, rng)
            memories.append(memory)
        return value, memories

    def _moves(self, memories: list[Any]) -> Array | None:
        """Return what a step adds to moving statistics (count,); None if the model has none."""
        if not self._has_moments:
            return None
        moves = np.zeros_like(self.weights)
        for layer, *each in zip(self.model.layers, self._arrays, self.model.split(moves), memories, strict=True):
            layer.moved(*each)
        return moves


def differentiate(
    model: ModelDefinition,
    loss: Loss,
    weights: Array,
    rows: Array,
    targets: Array,
    rng: np.random.Generator | None = None,
) -> Differential:
    """Return loss and gradient of one batch (Differentiator)."""
    return Differentiator(model, loss, weights).differentiate(rows, targets, rng)


def clipped_sum(
    model: ModelDefinition,
    loss: Loss,
    weights: Array,
    rows: Array,
    targets: Array,
    bound: float,
    rng: np.random.Generator | None = None,
) -> ClippedSum:
    """Sum the clipped gradients of some rows (Differentiator)."""
    return Differentiator(model, loss, weights).clipped_sum(rows, targets, bound, rng)


def _before_loss(model: ModelDefinition) -> tuple[Layer, ...]:
    """Return the layers that gradients flow back through: the loss is fused with an activation at the end."""
    return model.layers[:-1] if isinstance(model.layers[-1], Activation) else model.layers


def train_step(
    model: ModelDefinition,
    loss: Loss,
    optimiser: Optimiser,
    weights: Array,
    rows: Array,
    targets: Array,
    rng: np.random.Generator | None = None,
) -> float:
    """Take one optimiser step on ``weights`` (count,), in place; return the batch's loss before it."""
    return take_step(Differentiator(model, loss, weights), optimiser, rows, targets, rng)


def take_step(
    through: Differentiator,
    optimiser: Optimiser,
    rows: Array,
    targets: Array,
    rng: np.random.Generator | None = None,
) -> float:
    """Take one optimiser step on the weights that ``through`` works on; return the batch's loss before it."""
    result = through.differentiate(rows, targets, rng)
    optimiser.apply(through.weights, result.gradient)
    if result.moves is not None:
        through.weights += result.moves
    return result.loss
