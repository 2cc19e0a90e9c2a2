"""Forward and backward passes in NumPy: functions over explicit weights, in any float type.

The slow, debuggable twin of every other learner, and the oracle of their tests.
"""

from dataclasses import dataclass

import numpy as np

from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, Array
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser


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
    """Return the model's output (n, *output_shape) for ``rows`` (n, *input_shape); dropout is inactive."""
    value = rows
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        value, _ = layer.forward(arrays, value, False, None)
    return value


def differentiate(
    model: ModelDefinition,
    loss: Loss,
    weights: Array,
    rows: Array,
    targets: Array,
    rng: np.random.Generator | None = None,
) -> Differential:
    """Return loss and gradient of a batch, as in training; dropout draws from ``rng``, and is inactive without."""
    arrays = model.split(weights)
    memories = []
    value = rows
    for layer, own in zip(model.layers, arrays, strict=True):
        value, memory = layer.forward(own, value, True, rng)
        memories.append(memory)
    gradient, moves = np.zeros_like(weights), np.zeros_like(weights)
    slots, move_slots = model.split(gradient), model.split(moves)
    flow = loss.gradient(value, targets)
    last, moved = len(model.layers) - 1, False
    for index in range(last, -1, -1):
        layer = model.layers[index]
        if not (index == last and isinstance(layer, Activation)):  # the loss is fused with that one
            flow = layer.backward(arrays[index], slots[index], memories[index], flow, index > 0)
        moved |= layer.moved(arrays[index], move_slots[index], memories[index])
    return Differential(loss.value(value, targets), gradient, moves if moved else None)


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
    result = differentiate(model, loss, weights, rows, targets, rng)
    optimiser.apply(weights, result.gradient)
    if result.moves is not None:
        weights += result.moves
    return result.loss
