"""Convolution over time."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Shape
from learnae.models.layers.dense import KernelLayer
from learnae.models.layers.sliding import Sliding
from learnae.overriding import override


@dataclass(frozen=True, slots=True)
class Conv1D(KernelLayer):
    """(length, channels) -> (windows, filters); kernel (size, channels, filters), bias (filters,)."""

    sliding: Sliding
    channels: int
    filters: int
    bias: bool
    initialiser: str

    @property
    @override
    def kernel(self) -> Shape:
        return self.sliding.size, self.channels, self.filters

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        width = self.sliding.size * self.channels  # windows become rows: the convolution is one product of matrices
        rows = self.sliding.cut(value, 0.0).reshape(-1, width)
        result = rows @ arrays[0].reshape(width, self.filters)
        if self.bias:
            result += arrays[1]
        return result.reshape(len(value), self.sliding.count, self.filters), rows

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Array, flow: Array, further: bool) -> Array:
        rows = flow.reshape(-1, self.filters)
        slots[0][:] = (memory.T @ rows).reshape(slots[0].shape)
        if self.bias:
            slots[1][:] = rows.sum(axis=0)
        if not further:
            return flow
        entered = rows @ arrays[0].reshape(-1, self.filters).T
        return self.sliding.join(entered.reshape(len(flow), self.sliding.count, self.sliding.size, self.channels))
