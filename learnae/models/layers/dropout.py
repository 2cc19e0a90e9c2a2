"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer
from learnae.overriding import override


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
    def backward(self, arrays: Arrays, slots: Arrays, memory: Array | None, flow: Array, further: bool) -> Array:
        return flow if memory is None else flow * memory
