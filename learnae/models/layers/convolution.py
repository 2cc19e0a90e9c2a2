"""Convolution over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learnae.models.layers.base import Array, Layer, Shape
from learnae.models.layers.dense import fill_uniform
from learnae.models.layers.sliding import Sliding
from learnae.overriding import override


@dataclass(frozen=True, slots=True)
class Conv1D(Layer):
    """(length, channels) -> (windows, filters); kernel (size, channels, filters), bias (filters,)."""

    sliding: Sliding
    channels: int
    filters: int
    bias: bool
    initialiser: str

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return ("kernel", "bias") if self.bias else ("kernel",)

    @property
    @override
    def shapes(self) -> tuple[Shape, ...]:
        kernel = (self.sliding.size, self.channels, self.filters)
        return (kernel, (self.filters,)) if self.bias else (kernel,)

    @override
    def initialise(self, arrays: Sequence[Array], rng: np.random.Generator) -> None:
        size = self.sliding.size  # a kernel's fans count its whole receptive field, as in Keras
        fill_uniform(arrays[0], self.initialiser, size * self.channels, size * self.filters, rng)

    @override
    def forward(
        self, arrays: Sequence[Array], value: Array, training: bool, rng: np.random.Generator | None
    ) -> tuple[Array, Array]:
        width = self.sliding.size * self.channels  # windows become rows: the convolution is one product of matrices
        rows = self.sliding.cut(value, 0.0).reshape(-1, width)
        result = rows @ arrays[0].reshape(width, self.filters)
        if self.bias:
            result += arrays[1]
        return result.reshape(len(value), self.sliding.count, self.filters), rows

    @override
    def backward(
        self, arrays: Sequence[Array], slots: Sequence[Array], memory: Array, flow: Array, further: bool
    ) -> Array:
        rows = flow.reshape(-1, self.filters)
        slots[0][:] = (memory.T @ rows).reshape(slots[0].shape)
        if self.bias:
            slots[1][:] = rows.sum(axis=0)
        if not further:
            return flow
        entered = rows @ arrays[0].reshape(-1, self.filters).T
        return self.sliding.join(entered.reshape(len(flow), self.sliding.count, self.sliding.size, self.channels))
