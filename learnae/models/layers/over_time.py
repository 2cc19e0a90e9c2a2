"""Convolution and pooling over time, and their geometry: the positions of a window that slides over a sequence."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.layers.base import Array, Arrays, Cost, Layer, Shape, squares_of, sum_of_blocks
from learnae.models.layers.dense import KernelLayer

PADDINGS = ("valid", "same")


@dataclass(frozen=True, slots=True)
class Sliding:
    """Windows of ``size`` at every ``stride`` of ``length`` positions, padded as Keras does.

    'valid' pads nothing; 'same' gives ceil(length / stride) windows and pads both ends alike, the
    right one more where the padding is odd.
    """

    length: int
    size: int
    stride: int
    padding: str

    @property
    def count(self) -> int:
        """Count the windows; 0 or less if one is too long."""
        if self.padding == "same":
            return -(-self.length // self.stride)
        return (self.length - self.size) // self.stride + 1

    @property
    def left(self) -> int:
        """Count the padded positions before the first."""
        return self._missing // 2

    @property
    def right(self) -> int:
        """Count the padded positions after the last."""
        return self._missing - self._missing // 2

    @property
    def _missing(self) -> int:
        return max((self.count - 1) * self.stride + self.size - self.length, 0) if self.padding == "same" else 0

    @property
    def positions(self) -> NDArray[np.int64]:
        """Return (count, size): the position of each tap of each window; outside 0..length-1 is padding."""
        return np.arange(self.count)[:, None] * self.stride + np.arange(self.size)[None, :] - self.left

    def cut(self, value: Array, padding: float) -> Array:
        """Cut (n, length, channels) into (n, count, size, channels)."""
        if self._missing:
            value = np.pad(value, ((0, 0), (self.left, self.right), (0, 0)), constant_values=padding)
        return value[:, self.positions + self.left]

    def join(self, windows: Array) -> Array:
        """Sum (n, count, size, channels) where windows overlap: the adjoint of ``cut``."""
        length = self.length + self._missing
        result = np.zeros((len(windows), length, windows.shape[-1]), windows.dtype)
        for tap in range(self.size):
            result[:, tap : tap + (self.count - 1) * self.stride + 1 : self.stride] += windows[:, :, tap]
        return result[:, self.left : self.left + self.length]


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
    def cost(self, shape: Shape) -> Cost:
        windows = self.sliding.count * self.sliding.size * self.channels
        return Cost(
            (self.sliding.count, self.filters), windows + self.sliding.count * self.filters, windows * self.filters
        )

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        width = self.sliding.size * self.channels  # windows become rows: the convolution is one product of matrices
        rows = self.sliding.cut(value, 0.0).reshape(-1, width)
        result = rows @ arrays[0].reshape(width, self.filters)
        if self.bias:
            result += arrays[1]
        return result.reshape(len(value), self.sliding.count, self.filters), rows

    @override
    def backward(self, arrays: Arrays, memory: Array, flow: Array) -> Array:
        entered = flow.reshape(-1, self.filters) @ arrays[0].reshape(-1, self.filters).T
        return self.sliding.join(entered.reshape(len(flow), self.sliding.count, self.sliding.size, self.channels))

    @override
    def gradients(self, slots: Arrays, memory: Array, flow: Array) -> None:
        width = self.sliding.size * self.channels
        windows = memory.reshape(len(flow), -1, width)
        slots[0][:] = sum_of_blocks(
            lambda entered, back: entered.reshape(-1, width).T @ back.reshape(-1, self.filters), windows, flow
        ).reshape(slots[0].shape)
        if self.bias:
            slots[1][:] = sum_of_blocks(lambda back: back.sum(axis=(0, 1)), flow)

    @override
    def squared_norms(self, memory: Array, flow: Array) -> Array:
        windows = memory.reshape(len(flow), self.sliding.count, -1)
        squares = squares_of(windows.transpose(0, 2, 1) @ flow)
        return squares + squares_of(flow.sum(axis=1)) if self.bias else squares


@dataclass(frozen=True, slots=True)
class MaxPooling1D(Layer):
    """(length, channels) -> (windows, channels): the greatest of each window; the first of equals trains."""

    sliding: Sliding

    @override
    def cost(self, shape: Shape) -> Cost:
        windows = self.sliding.count * self.sliding.size * shape[1]
        return Cost((self.sliding.count, shape[1]), windows, windows)

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        windows = self.sliding.cut(value, -np.inf)
        greatest = windows.argmax(axis=2)[:, :, None]
        return np.take_along_axis(windows, greatest, axis=2)[:, :, 0], greatest

    @override
    def backward(self, arrays: Arrays, memory: Array, flow: Array) -> Array:
        windows = np.zeros((*flow.shape[:2], self.sliding.size, flow.shape[2]), flow.dtype)
        np.put_along_axis(windows, memory, flow[:, :, None], axis=2)
        return self.sliding.join(windows)


@dataclass(frozen=True, slots=True)
class GlobalAveragePooling1D(Layer):
    """(length, channels) -> (channels,): the mean over time."""

    @override
    def cost(self, shape: Shape) -> Cost:
        return Cost((shape[1],), shape[1], math.prod(shape))

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Shape]:
        return value.mean(axis=1), value.shape

    @override
    def backward(self, arrays: Arrays, memory: Shape, flow: Array) -> Array:
        share = flow / flow.dtype.type(memory[1])
        return np.broadcast_to(share[:, None], memory)
