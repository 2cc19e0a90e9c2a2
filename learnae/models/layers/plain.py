"""Layers without arrays of their own: activation, dropout, and what only gives an example another shape."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from learnae.basics.overriding import override
from learnae.models.layers.base import Array, Arrays, Cost, Layer, Shape

ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "softmax")


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """One of ACTIVATIONS, element by element; softmax over the last axis."""

    function: str

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        result = activate(self.function, value)
        return result, result

    @override
    def backward(self, arrays: Arrays, memory: Array, flow: Array) -> Array:
        if self.function == "relu":
            return flow * (memory > 0).astype(flow.dtype)  # two thirds of the time of a product of two types
        if self.function == "tanh":
            return flow * (1 - memory * memory)
        if self.function == "sigmoid":
            return flow * memory * (1 - memory)
        if self.function == "softmax":
            return memory * (flow - (flow * memory).sum(axis=-1, keepdims=True))
        return flow


def activate(function: str, value: Array) -> Array:
    """Apply one of ACTIVATIONS."""
    if function == "relu":
        return np.maximum(value, np.zeros(value.shape, value.dtype))  # a quarter of the time of one with a scalar
    if function == "tanh":
        return np.tanh(value)
    if function == "sigmoid":
        return 1 / (1 + np.exp(-np.minimum(np.maximum(value, -60), 60)))  # e^60 is finite in float32
    if function == "softmax":
        powers = np.exp(value - value.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return value


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """While training, each value is zero with probability ``rate``, the rest scaled up.

    The reference learner and trainers do this. The TFLite learner leaves dropout inactive: its
    runtimes have no random numbers that two of them agree on.
    """

    rate: float

    @override
    def forward(
        self, arrays: Arrays, value: Array, training: bool, rng: Generator | None
    ) -> tuple[Array, Array | None]:
        if not training or rng is None or self.rate == 0:
            return value, None
        kept = rng.random(value.shape) >= self.rate
        mask = kept.astype(value.dtype) / value.dtype.type(1 - self.rate)
        return value * mask, mask

    @override
    def backward(self, arrays: Arrays, memory: Array | None, flow: Array) -> Array:
        return flow if memory is None else flow * memory


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """All axes but the batch become one."""

    @override
    def cost(self, shape: Shape) -> Cost:
        return Cost((math.prod(shape),), 0, 0)

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.reshape(len(value), -1), value.shape

    @override
    def backward(self, arrays: Arrays, memory: Shape, flow: Array) -> Array:
        return flow.reshape(memory)


@dataclass(frozen=True, slots=True)
class Reshape(Layer):
    """One example takes the shape ``target``."""

    target: Shape

    @override
    def cost(self, shape: Shape) -> Cost:
        return Cost(self.target, 0, 0)

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.reshape(len(value), *self.target), value.shape

    @override
    def backward(self, arrays: Arrays, memory: Shape, flow: Array) -> Array:
        return flow.reshape(memory)
