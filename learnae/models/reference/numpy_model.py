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
from learnae.privacy.clipping import shares_of


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

    So many rows at a time as memory is bounded for.
    """
    size = model.rows_at_once(max(len(rows), 1))
    if size < len(rows):
        return np.concatenate(
            [predict(model, weights, rows[start : start + size]) for start in range(0, len(rows), size)]
        )
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
    value, memories = _forward(model, arrays, rows, rng)
    gradient, moves = np.zeros_like(weights), np.zeros_like(weights)
    slots, move_slots = model.split(gradient), model.split(moves)
    flow = loss.gradient(value, targets)
    layers = _before_loss(model)
    for index in range(len(layers) - 1, -1, -1):
        layers[index].gradients(slots[index], memories[index], flow)
        if index:
            flow = layers[index].backward(arrays[index], memories[index], flow)
    moved = [layer.moved(*each) for layer, *each in zip(model.layers, arrays, move_slots, memories, strict=True)]
    return Differential(loss.value(value, targets), gradient, moves if any(moved) else None)


def clipped_sum(
    model: ModelDefinition,
    loss: Loss,
    weights: Array,
    rows: Array,
    targets: Array,
    bound: float,
    rng: np.random.Generator | None = None,
) -> ClippedSum:
    """Sum the gradients of each row's own loss, scaled to a norm of at most ``bound``.

    One pass forward and one back: a row's gradient of a layer follows from what entered and what flows back, and is
    never stored by itself. Norms are as exact as the weights' type. Raises ModelError where rows have none.
    """
    model.check_row_gradients()
    arrays = model.split(weights)
    value, memories = _forward(model, arrays, rows, rng)
    flow = loss.gradient(value, targets) * value.dtype.type(len(rows))
    layers, flows, squares = _before_loss(model), [], np.zeros(len(rows))
    for index in range(len(layers) - 1, -1, -1):
        if arrays[index]:
            squares += layers[index].squared_norms(memories[index], flow)
        flows.append(flow)
        if index:
            flow = layers[index].backward(arrays[index], memories[index], flow)
    norms = np.sqrt(squares)
    shares = shares_of(norms, bound).astype(weights.dtype)
    gradient = np.zeros(weights.shape, weights.dtype)
    slots, is_whole = model.split(gradient), bool((shares == 1).all())
    for index, layer in enumerate(layers):
        if slots[index]:
            flow = flows[len(layers) - 1 - index]
            left = flow if is_whole else flow * shares.reshape(-1, *[1] * (flow.ndim - 1))
            layer.gradients(slots[index], memories[index], left)
    return ClippedSum(gradient, norms, loss.value(value, targets))


def _forward(
    model: ModelDefinition, arrays: list[list[Array]], rows: Array, rng: np.random.Generator | None
) -> tuple[Array, list[Any]]:
    """Return the output in training, and what each layer remembers."""
    memories, value = [], rows
    for layer, own in zip(model.layers, arrays, strict=True):
        value, memory = layer.forward(own, value, True, rng)
        memories.append(memory)
    return value, memories


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
    result = differentiate(model, loss, weights, rows, targets, rng)
    optimiser.apply(weights, result.gradient)
    if result.moves is not None:
        weights += result.moves
    return result.loss
