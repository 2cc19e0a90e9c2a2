"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learnae.models.layers.base import Array, Layer, Shape
from learnae.overriding import override

# fan-dependent uniform initialisers of Keras: (numerator, uses fan_out)
INITIALISERS = {"GlorotUniform": (6.0, True), "HeUniform": (6.0, False), "LecunUniform": (3.0, False)}


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """``x @ kernel + bias``; kernel (inputs, units), bias (units,)."""

    inputs: int
    units: int
    bias: bool
    initialiser: str

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return ("kernel", "bias") if self.bias else ("kernel",)

    @property
    @override
    def shapes(self) -> tuple[Shape, ...]:
        kernel = (self.inputs, self.units)
        return (kernel, (self.units,)) if self.bias else (kernel,)

    @override
    def initialise(self, arrays: Sequence[Array], rng: np.random.Generator) -> None:
        fill_uniform(arrays[0], self.initialiser, self.inputs, self.units, rng)

    @override
    def forward(
        self, arrays: Sequence[Array], value: Array, training: bool, rng: np.random.Generator | None
    ) -> tuple[Array, Array]:
        result = value @ arrays[0]
        if self.bias:
            result += arrays[1]
        return result, value

    @override
    def backward(
        self, arrays: Sequence[Array], slots: Sequence[Array], memory: Array, flow: Array, further: bool
    ) -> Array:
        np.matmul(memory.T, flow, out=slots[0])
        if self.bias:
            flow.sum(axis=0, out=slots[1])
        return flow @ arrays[0].T if further else flow


def fill_uniform(kernel: Array, initialiser: str, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
    """Draw ``kernel`` from one of INITIALISERS."""
    numerator, both = INITIALISERS[initialiser]
    bound = math.sqrt(numerator / (fan_in + (fan_out if both else 0)))
    kernel[:] = rng.uniform(-bound, bound, kernel.shape).astype(kernel.dtype)
