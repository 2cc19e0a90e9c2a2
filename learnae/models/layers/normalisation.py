"""Normalisation (Ioffe & Szegedy 2015; Ba, Kiros & Hinton 2016), for inference with Keras' formulas.

BatchNormalization trains by batch renormalisation (Ioffe 2017): peers see different rows, and what each of them
normalised by its own batches would be another function than the one that all of them merge, show and export.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator

from learnae.basics.overriding import override
from learnae.models.layers.base import Array, Arrays, Cost, Layer, Shape, squares_of, sum_of_blocks
from learnae.weights.merge import NO_MOMENTS, Moments

MOVING_MEAN, MOVING_VARIANCE = "moving_mean", "moving_variance"  # as in Keras
# Of Ioffe 2017, section 4: how far a batch may be stretched, and shifted (in deviations), to where the moving
# statistics have it. They are far off while they have not found the scale of the rows yet.
MAX_STRETCH, MAX_SHIFT = 3.0, 5.0


class Memory(NamedTuple):
    """What the backward pass needs: ``seen`` is what gamma multiplied, ``normalised`` times ``stretch`` and shifted.

    ``moves`` are what a step adds to the moving statistics.
    """

    normalised: Array
    inverse: Array  # of the deviation
    seen: Array
    stretch: Array | float = 1.0
    moves: tuple[Array, ...] = ()


def moments_among(weights: Iterable[tuple[str, int]]) -> Moments:
    """Return where moving statistics are among ``weights``, of which each has Keras' name and its size, in order."""
    means, variances, position, before = [NO_MOMENTS.means], [NO_MOMENTS.variances], 0, ("", 0)
    for name, size in weights:
        if name == MOVING_VARIANCE and before == (MOVING_MEAN, size):
            means.append(np.arange(position - size, position))
            variances.append(np.arange(position, position + size))
        position, before = position + size, (name, size)
    return Moments(np.concatenate(means), np.concatenate(variances))


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
    def cost(self, shape: Shape) -> Cost:
        return Cost(shape, 3 * math.prod(shape), 3 * math.prod(shape))

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Memory]:
        axes = self._axes(value)
        memory = self._normalised(value, value.mean(axis=axes, keepdims=True), value.var(axis=axes, keepdims=True))
        return self._affine(arrays, memory.seen), memory

    @override
    def backward(self, arrays: Arrays, memory: Memory, flow: Array) -> Array:
        normalised = memory.normalised
        if self.scale:
            flow = flow * arrays[0]
        axes = self._axes(flow)
        along = normalised * (flow * normalised).mean(axis=axes, keepdims=True)
        return memory.inverse * memory.stretch * (flow - flow.mean(axis=axes, keepdims=True) - along)

    @override
    def gradients(self, slots: Arrays, memory: Memory, flow: Array) -> None:
        before = tuple(range(flow.ndim - 1))
        if self.centre:
            slots[self.scale][:] = sum_of_blocks(lambda back: back.sum(axis=before), flow)
        if self.scale:
            slots[0][:] = sum_of_blocks(lambda each: each.sum(axis=before), flow * memory.seen)

    @override
    def squared_norms(self, memory: Memory, flow: Array) -> Array:
        over_time, squares = tuple(range(1, flow.ndim - 1)), np.zeros(len(flow), flow.dtype)
        if self.centre:
            squares += squares_of(flow.sum(axis=over_time))
        if self.scale:
            squares += squares_of((flow * memory.seen).sum(axis=over_time))
        return squares

    def _normalised(self, value: Array, mean: Array, variance: Array) -> Memory:
        inverse = 1 / np.sqrt(variance + value.dtype.type(self.epsilon))
        normalised = (value - mean) * inverse
        return Memory(normalised, inverse, normalised)

    def _affine(self, arrays: Arrays, normalised: Array) -> Array:
        result = normalised * arrays[0] if self.scale else normalised
        return result + arrays[self.scale] if self.centre else result


@dataclass(frozen=True, slots=True)
class LayerNormalization(_Affine):
    """Each example's last axis gets mean 0 and deviation 1; then gamma and beta (size,)."""


@dataclass(frozen=True, slots=True)
class BatchNormalization(_Affine):
    """Each channel gets mean 0 and deviation 1; arrays gamma, beta, moving_mean, moving_variance (size,).

    In inference the statistics are the moving ones, which in training follow the batch's by ``1 - momentum`` a step:
    as the moments of a mixture of both, so that the variance has the distance of the means in it. Training gives what
    inference would with the statistics that this step leaves, as far as MAX_STRETCH and MAX_SHIFT allow; its
    gradient takes stretch and shift as constants. With a momentum of 0 it is plain batch normalisation. A moving
    variance below 0, which only compression of weights can make, counts as 0.
    """

    moving = (MOVING_MEAN, MOVING_VARIANCE)
    mixes_rows = True

    momentum: float

    @override
    def _axes(self, value: Array) -> tuple[int, ...]:
        return tuple(range(value.ndim - 1))

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Memory]:
        if training:
            memory = self._of_batch(arrays, value)
        else:
            memory = self._normalised(value, arrays[-2], as_used(MOVING_VARIANCE, arrays[-1]))
        return self._affine(arrays, memory.seen), memory

    def _of_batch(self, arrays: Arrays, value: Array) -> Memory:
        axes, pace = self._axes(value), value.dtype.type(1 - self.momentum)
        mean, variance = value.mean(axis=axes), value.var(axis=axes)
        away = mean - arrays[-2]
        moves = pace * away, pace * (variance - arrays[-1] + (1 - pace) * away * away)
        to_mean, to_variance = arrays[-2] + moves[0], as_used(MOVING_VARIANCE, arrays[-1] + moves[1])
        normalised, inverse, *_ = self._normalised(value, mean, variance)
        to_inverse = 1 / np.sqrt(to_variance + value.dtype.type(self.epsilon))
        stretch = np.minimum(to_inverse / inverse, value.dtype.type(MAX_STRETCH))
        shift = np.clip((mean - to_mean) * to_inverse, -MAX_SHIFT, MAX_SHIFT)
        return Memory(normalised, inverse, normalised * stretch + shift, stretch, moves)

    @override
    def moved(self, arrays: Arrays, slots: Arrays, memory: Memory) -> None:
        slots[-2][:], slots[-1][:] = memory.moves
