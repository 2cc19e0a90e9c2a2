"""Losses, fused with the final activation as in learnae.models.losses."""

import math

from agent.tflite import schema
from agent.tflite.graph import ANY, Shape, Tensor
from agent.tflite.operations import Operations
from learnae.models.losses import HUBER_DELTA, Loss

_MIN_PROBABILITY = 1e-7  # as Keras clips


def target_input(loss: Loss, output_shape: Shape) -> tuple[Shape, int]:
    """Return shape and type of a batch of targets."""
    if loss.name == "sparse_categorical_crossentropy":
        return (ANY,), schema.INT32
    return (ANY, *output_shape), schema.FLOAT32


def loss_and_flow(
    ops: Operations, loss: Loss, logits: Tensor, targets: Tensor, row_weights: Tensor, each: bool
) -> tuple[Tensor, Tensor]:
    """Compute the loss (1,) and its gradient with respect to ``logits`` (rows, *outputs).

    ``logits`` are what enters the final activation; the loss is a sum with ``row_weights`` (rows, 1). The gradient is
    that of ``each`` row's own loss, or else of the sum.
    """
    outputs = math.prod(logits.shape[1:])
    flat = ops.reshape(logits, (ANY, outputs))
    value, slope = _FUNCTIONS[loss.name](ops, flat, targets)
    mean = ops.sum(ops.multiply(value, row_weights), (0,))
    return mean, ops.reshape(slope if each else ops.multiply(slope, row_weights), logits.shape)


def _squared(ops: Operations, flat: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = ops.subtract(flat, ops.reshape(targets, flat.shape))
    value = ops.mean(ops.unary(schema.SQUARE, difference), (1,), keep=True)
    return value, ops.multiply(difference, 2 / flat.shape[1])


def _huber(ops: Operations, flat: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = ops.subtract(flat, ops.reshape(targets, flat.shape))
    bounded = ops.maximum(ops.minimum(difference, HUBER_DELTA), -HUBER_DELTA)
    # where bounded: d * d / 2; beyond: delta * (|d| - delta / 2). Both are b * (d - b / 2)
    value = ops.multiply(bounded, ops.subtract(difference, ops.multiply(bounded, 0.5)))
    return ops.mean(value, (1,), keep=True), _over_outputs(ops, bounded)


def _binary(ops: Operations, flat: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    difference = ops.subtract(ops.unary(schema.LOGISTIC, flat), ops.reshape(targets, flat.shape))
    # targets are 0 or 1, so that the probability of the true one is 1 - |difference|
    value = _logarithm(ops, ops.subtract(1.0, ops.unary(schema.ABS, difference)))
    return ops.mean(value, (1,), keep=True) if flat.shape[1] > 1 else value, _over_outputs(ops, difference)


def _classes(ops: Operations, flat: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    prediction = ops.softmax(flat)
    wanted = ops.one_hot(targets, flat.shape[1], 1)
    probability = ops.sum(ops.multiply(prediction, wanted), (1,), keep=True)
    return _logarithm(ops, probability), ops.subtract(prediction, wanted)


def _logarithm(ops: Operations, probability: Tensor) -> Tensor:
    """Compute the negative logarithm of a probability."""
    return ops.multiply(ops.unary(schema.LOG, ops.maximum(probability, _MIN_PROBABILITY)), -1.0)


def _over_outputs(ops: Operations, slope: Tensor) -> Tensor:
    return ops.multiply(slope, 1 / slope.shape[1]) if slope.shape[1] > 1 else slope


_FUNCTIONS = {
    "mean_squared_error": _squared,
    "huber": _huber,
    "binary_crossentropy": _binary,
    "sparse_categorical_crossentropy": _classes,
}
