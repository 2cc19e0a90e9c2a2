"""Activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer
from learnae.overriding import override

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
    def backward(self, arrays: Arrays, slots: Arrays, memory: Array, flow: Array, further: bool) -> Array:
        if self.function == "relu":
            return flow * (memory > 0)
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
        return np.maximum(value, 0)
    if function == "tanh":
        return np.tanh(value)
    if function == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(value, -60, 60)))  # e^60 is finite in float32
    if function == "softmax":
        powers = np.exp(value - value.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return value
