"""Normalisation (Ioffe & Szegedy 2015; Ba, Kiros & Hinton 2016), with Keras' formulas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from learnae.models.layers.base import Array, Arrays, Layer, Shape
from learnae.overriding import override

Memory = tuple[Array, Array, Array, Array]  # normalised values, inverse deviation, mean, variance
MOVING_VARIANCE = "moving_variance"  # as in Keras
_NORMALISING = ("BatchNormalization", "Normalization")


def normalises_rows(config: Mapping[str, Any]) -> bool:
    """Return True if the first layer of a checked model (Keras' configuration) normalises."""
    kinds = [layer["class_name"] for layer in config["config"]["layers"]]
    return next((kind for kind in kinds if kind != "InputLayer"), None) in _NORMALISING


def as_used(name: str, array: Array) -> Array:
    """Return the weights ``name`` as every learner uses them: a variance below 0, which merging can give, is 0."""
    return np.maximum(array, 0) if name == MOVING_VARIANCE else array


@dataclass(frozen=True, slots=True)
class _Affine(Layer):
    """``normalised * gamma + beta``, with the layers' common options."""

    moving: ClassVar[tuple[str, ...]] = ()  # arrays that no gradient trains, the last ones

    size: int
    epsilon: float
    scale: bool
    centre: bool

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return ("gamma",) * self.scale + ("beta",) * self.centre + self.moving

    @property
    @override
    def shapes(self) -> tuple[Shape, ...]:
        return ((self.size,),) * len(self.names)

    @override
    def initialise(self, arrays: Arrays, rng: Generator) -> None:
        for name, array in zip(self.names, arrays, strict=True):
            array[:] = 1 if name in {"gamma", MOVING_VARIANCE} else 0

    def _axes(self, value: Array) -> tuple[int, ...]:
        """Name the axes of ``value`` that statistics are taken over."""
        return (-1,)

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Memory]:
        axes = self._axes(value)
        memory = self._normalised(value, value.mean(axis=axes, keepdims=True), value.var(axis=axes, keepdims=True))
        return self._affine(arrays, memory[0]), memory

    @override
    def backward(self, arrays: Arrays, slots: Arrays, memory: Memory, flow: Array, further: bool) -> Array:
        normalised, inverse, _, _ = memory
        before = tuple(range(flow.ndim - 1))
        if self.centre:
            slots[self.scale][:] = flow.sum(axis=before)
        if self.scale:
            slots[0][:] = (flow * normalised).sum(axis=before)
            flow = flow * arrays[0]
        axes = self._axes(flow)
        along = normalised * (flow * normalised).mean(axis=axes, keepdims=True)
        return inverse * (flow - flow.mean(axis=axes, keepdims=True) - along)

    def _normalised(self, value: Array, mean: Array, variance: Array) -> Memory:
        inverse = 1 / np.sqrt(variance + value.dtype.type(self.epsilon))
        return (value - mean) * inverse, inverse, mean, variance

    def _affine(self, arrays: Arrays, normalised: Array) -> Array:
        result = normalised * arrays[0] if self.scale else normalised
        return result + arrays[self.scale] if self.centre else result


@dataclass(frozen=True, slots=True)
class LayerNormalization(_Affine):
    """Each example's last axis gets mean 0 and deviation 1; then gamma and beta (size,)."""


@dataclass(frozen=True, slots=True)
class BatchNormalization(_Affine):
    """Each channel gets mean 0 and deviation 1; arrays gamma, beta, moving_mean, moving_variance (size,).

    In training the statistics are those of the batch, and the moving ones follow them by
    ``1 - momentum`` a step; in inference they are the moving ones. A moving variance below 0, which
    only averaging and compression of weights can make, counts as 0.
    """

    moving = ("moving_mean", MOVING_VARIANCE)

    momentum: float

    @override
    def _axes(self, value: Array) -> tuple[int, ...]:
        return tuple(range(value.ndim - 1))

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Memory]:
        if training:
            return _Affine.forward(self, arrays, value, training, rng)
        memory = self._normalised(value, arrays[-2], as_used(MOVING_VARIANCE, arrays[-1]))
        return self._affine(arrays, memory[0]), memory

    @override
    def moved(self, arrays: Arrays, slots: Arrays, memory: Memory) -> bool:
        for index, statistic in ((-2, memory[2]), (-1, memory[3])):
            slots[index][:] = (statistic.reshape(-1) - arrays[index]) * statistic.dtype.type(1 - self.momentum)
        return True
