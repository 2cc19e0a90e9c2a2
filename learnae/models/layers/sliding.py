"""The positions of a window that slides over a sequence: the geometry of convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.models.layers.base import Array

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
