"""Layers that only give the values of one example another shape."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer, Shape
from learnae.overriding import override


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """All axes but the batch become one."""

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.reshape(len(value), -1), value.shape

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Shape, flow: Array, further: bool) -> Array:
        return flow.reshape(memory)


@dataclass(frozen=True, slots=True)
class Reshape(Layer):
    """One example takes the shape ``target``."""

    target: Shape

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.reshape(len(value), *self.target), value.shape

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Shape, flow: Array, further: bool) -> Array:
        return flow.reshape(memory)
