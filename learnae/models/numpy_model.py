"""Forward and backward passes in NumPy: functions over explicit weights, in any float type.

The slow, debuggable twin of every other learner, and the oracle of their tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import Activation, Dense, Dropout, Flatten, Layer, ModelDefinition
from learnae.models.losses import Loss

Array = NDArray[Any]


def predict(model: ModelDefinition, weights: Array, rows: Array) -> Array:
    """The model's output (n, outputs) for ``rows`` (n, *input_shape); dropout is inactive."""
    value = rows
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        value = _forward(layer, arrays, value)
    return value


def loss_and_gradient(
    model: ModelDefinition,
    loss: Loss,
    weights: Array,
    rows: Array,
    targets: Array,
    rng: np.random.Generator | None = None,
) -> tuple[float, Array]:
    """The mean loss of a batch and its gradient (count,); dropout draws from ``rng``."""
    arrays = model.split(weights)
    inputs: list[Array] = []
    masks: list[Array | None] = []
    value = rows
    for layer, own in zip(model.layers, arrays, strict=True):
        inputs.append(value)
        mask = _dropout_mask(layer, value, rng)
        masks.append(mask)
        value = value * mask if mask is not None else _forward(layer, own, value)
    gradient = np.empty_like(weights)
    slots = model.split(gradient)
    flow = loss.gradient(value, targets)
    last = len(model.layers) - 1
    output = value
    for index in range(last, -1, -1):
        layer, mask = model.layers[index], masks[index]
        if mask is not None:
            flow = flow * mask
        elif not (index == last and isinstance(layer, Activation)):  # the loss is fused with that one
            flow = _backward(layer, arrays[index], slots[index], inputs[index], output, flow, index > 0)
        output = inputs[index]
    return loss.value(value, targets), gradient


def _forward(layer: Layer, arrays: list[Array], value: Array) -> Array:
    if isinstance(layer, Dense):
        result = value @ arrays[0]
        if layer.bias:
            result += arrays[1]
        return result
    if isinstance(layer, Flatten):
        return value.reshape(len(value), -1)
    if isinstance(layer, Activation):
        return activate(layer.function, value)
    return value  # Dropout, inactive


def activate(function: str, value: Array) -> Array:
    """Apply one of definition.ACTIVATIONS."""
    if function == "relu":
        return np.maximum(value, 0)
    if function == "tanh":
        return np.tanh(value)
    if function == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(value, -60, 60)))  # e^60 is finite in float32
    if function == "softmax":
        powers = np.exp(value - value.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return value


def _backward(
    layer: Layer, arrays: list[Array], slots: list[Array], entered: Array, left: Array, flow: Array, further: bool
) -> Array:
    """Write the gradients of the layer's arrays to ``slots``; return that of what ``entered`` it."""
    if isinstance(layer, Dense):
        np.matmul(entered.T, flow, out=slots[0])
        if layer.bias:
            flow.sum(axis=0, out=slots[1])
        return flow @ arrays[0].T if further else flow
    if isinstance(layer, Flatten):
        return flow.reshape(entered.shape)
    if isinstance(layer, Activation):
        return _activation_gradient(layer.function, left, flow)
    return flow


def _activation_gradient(function: str, left: Array, flow: Array) -> Array:
    if function == "relu":
        return flow * (left > 0)
    if function == "tanh":
        return flow * (1 - left * left)
    if function == "sigmoid":
        return flow * left * (1 - left)
    if function == "softmax":
        return left * (flow - (flow * left).sum(axis=-1, keepdims=True))
    return flow


def _dropout_mask(layer: Layer, value: Array, rng: np.random.Generator | None) -> Array | None:
    if not isinstance(layer, Dropout) or rng is None or layer.rate == 0:
        return None
    kept = rng.random(value.shape) >= layer.rate
    return kept.astype(value.dtype) / value.dtype.type(1 - layer.rate)
