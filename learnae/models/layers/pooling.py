"""Pooling over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer, Shape
from learnae.models.layers.sliding import Sliding
from learnae.overriding import override


@dataclass(frozen=True, slots=True)
class MaxPooling1D(Layer):
    """(length, channels) -> (windows, channels): the greatest of each window; the first of equals trains."""

    sliding: Sliding

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        windows = self.sliding.cut(value, -np.inf)
        greatest = windows.argmax(axis=2)[:, :, None]
        return np.take_along_axis(windows, greatest, axis=2)[:, :, 0], greatest

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Array, flow: Array, further: bool) -> Array:
        windows = np.zeros((*flow.shape[:2], self.sliding.size, flow.shape[2]), flow.dtype)
        np.put_along_axis(windows, memory, flow[:, :, None], axis=2)
        return self.sliding.join(windows)


@dataclass(frozen=True, slots=True)
class GlobalAveragePooling1D(Layer):
    """(length, channels) -> (channels,): the mean over time."""

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.mean(axis=1), value.shape

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Shape, flow: Array, further: bool) -> Array:
        share = flow / flow.dtype.type(memory[1])
        return np.broadcast_to(share[:, None], memory)
