"""Normalisation (Ioffe & Szegedy 2015; Ba, Kiros & Hinton 2016), with Keras' formulas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer, Shape
from learnae.overriding import override


@dataclass(frozen=True, slots=True)
class _Affine(Layer):
    """``normalised * gamma + beta``, with the layers' common options."""

    size: int
    epsilon: float
    scale: bool
    centre: bool

    @property
    def trained_names(self) -> tuple[str, ...]:
        """Name the arrays that a gradient trains: the layer's first ones."""
        return ("gamma",) * self.scale + ("beta",) * self.centre

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self.trained_names

    @property
    @override
    def shapes(self) -> tuple[Shape, ...]:
        return ((self.size,),) * len(self.names)

    @override
    def initialise(self, arrays: Arrays, rng: Generator) -> None:
        for name, array in zip(self.names, arrays, strict=True):
            array[:] = 1 if name in {"gamma", "moving_variance"} else 0

    def _affine(self, arrays: Arrays, normalised: Array) -> Array:
        result = normalised * arrays[0] if self.scale else normalised
        return result + arrays[self.scale] if self.centre else result

    def _affine_gradient(self, arrays: Arrays, slots: Arrays, normalised: Array, flow: Array) -> Array:
        """Write the gradients of gamma and beta; return that of ``normalised``."""
        axes = tuple(range(flow.ndim - 1))
        if self.centre:
            slots[self.scale][:] = flow.sum(axis=axes)
        if self.scale:
            slots[0][:] = (flow * normalised).sum(axis=axes)
        return flow * arrays[0] if self.scale else flow

    def _normalise(self, value: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
        """Return normalised values, and the inverse deviation, mean and variance over ``axes``."""
        mean = value.mean(axis=axes, keepdims=True)
        variance = value.var(axis=axes, keepdims=True)
        inverse = 1 / np.sqrt(variance + value.dtype.type(self.epsilon))
        return (value - mean) * inverse, inverse, mean, variance

    @staticmethod
    def _normalise_gradient(normalised: Array, inverse: Array, flow: Array, axes: tuple[int, ...]) -> Array:
        along = normalised * (flow * normalised).mean(axis=axes, keepdims=True)
        return inverse * (flow - flow.mean(axis=axes, keepdims=True) - along)


@dataclass(frozen=True, slots=True)
class LayerNormalization(_Affine):
    """Each example's last axis gets mean 0 and deviation 1; then gamma and beta (size,)."""

    @override
    def forward(
        self, arrays: Arrays, value: Array, training: bool, rng: Generator | None
    ) -> tuple[Array, tuple[Array, Array]]:
        normalised, inverse, _, _ = self._normalise(value, (-1,))
        return self._affine(arrays, normalised), (normalised, inverse)

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: tuple[Array, Array], flow: Array, further: bool) -> Array:
        normalised, inverse = memory
        flow = self._affine_gradient(arrays, slots, normalised, flow)
        return self._normalise_gradient(normalised, inverse, flow, (-1,))


@dataclass(frozen=True, slots=True)
class BatchNormalization(_Affine):
    """Each channel gets mean 0 and deviation 1; arrays gamma, beta, moving_mean, moving_variance (size,).

    In training the statistics are those of the batch, and the moving ones follow them by
    ``1 - momentum`` a step; in inference they are the moving ones. A moving variance below 0, which
    only averaging and compression of weights can make, counts as 0.
    """

    momentum: float

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return (*self.trained_names, "moving_mean", "moving_variance")

    @override
    def forward(
        self, arrays: Arrays, value: Array, training: bool, rng: Generator | None
    ) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        if training:
            memory = self._normalise(value, tuple(range(value.ndim - 1)))
        else:
            mean, variance = arrays[-2], np.maximum(arrays[-1], 0)
            inverse = 1 / np.sqrt(variance + value.dtype.type(self.epsilon))
            memory = (value - mean) * inverse, inverse, mean, variance
        return self._affine(arrays, memory[0]), memory

    @override
    def backward(
        self, arrays: Arrays, slots: Arrays, memory: tuple[Array, Array, Array, Array], flow: Array, further: bool
    ) -> Array:
        normalised, inverse, _, _ = memory
        flow = self._affine_gradient(arrays, slots, normalised, flow)
        return self._normalise_gradient(normalised, inverse, flow, tuple(range(flow.ndim - 1)))

    @override
    def moved(self, arrays: Arrays, slots: Arrays, memory: tuple[Array, ...]) -> bool:
        for index, statistic in ((-2, memory[2]), (-1, memory[3])):
            slots[index][:] = (statistic.reshape(-1) - arrays[index]) * statistic.dtype.type(1 - self.momentum)
        return True
