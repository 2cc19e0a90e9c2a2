"""Stages as operators on float32, with kernels in float32 or int8."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.tflite import schema
from agent.tflite.graph import ANY, Scale, Shape, Tensor
from agent.tflite.inference.fused_layers import Stage, scale_and_shift
from agent.tflite.operations import Operations
from agent.tflite.training.gradients import Tape
from agent.tflite.training.layers import Pass, apply
from learnae.models.layers import Array, BatchNormalization, Conv1D, Dense, Layer, MaxPooling1D, Sliding

MAX_INT8 = 127  # of symmetric int8


@dataclass(frozen=True, slots=True)
class Floats:
    """Appends stages to a subgraph. With ``int8`` kernels are int8, and their inputs are quantised while it runs."""

    ops: Operations
    int8: bool = False

    def add(self, stage: Stage, value: Tensor) -> Tensor:
        """Append ``stage`` and return its output; raises ModelError for what has no program."""
        special: dict[type[Layer], Callable[[Any, Tensor], Tensor]] = {
            Dense: self._dense,
            Conv1D: self._convolution,
            MaxPooling1D: self.pooling,
            BatchNormalization: self._normalisation,
        }
        if type(stage.layer) in special:
            return special[type(stage.layer)](stage, value)
        arrays = [self._constant(array) for array in stage.arrays]
        return apply([stage.layer], [arrays], value, Pass(Tape(self.ops)))

    def _dense(self, stage: Stage, value: Tensor) -> Tensor:
        kernel = self._kernel(matrix(stage), None)
        bias = self._constant(stage.arrays[1]) if len(stage.arrays) > 1 else None
        return self.ops.fully_connected(value, kernel, bias, stage.relu)

    def _convolution(self, stage: Stage, value: Tensor) -> Tensor:
        kernel, bias = self._kernel(matrix(stage), 0), self._constant(bias_of(stage))
        return self.convolve(stage, value, (kernel, bias), schema.FLOAT32, None)

    def convolve(
        self, stage: Stage, value: Tensor, arrays: tuple[Tensor, Tensor], kind: int, scale: Scale | None
    ) -> Tensor:
        """Append a Conv1D with this kernel and bias; its output is of ``kind``, with ``scale``."""
        layer = stage.layer
        assert isinstance(layer, Conv1D)
        activation = schema.FUSED_RELU if stage.relu else schema.NO_ACTIVATION
        options = schema.convolution(_padding(layer.sliding), layer.sliding.stride, activation)

        def run(image: Tensor, shape: Shape) -> Tensor:
            return self.ops.graph.run(schema.CONV_2D, (image, *arrays), shape, options, kind, scale)

        return self._over_time(layer.sliding, layer.filters, value, run)

    def pooling(self, stage: Stage, value: Tensor) -> Tensor:
        """Append a MaxPooling1D of floats or int8, which have the same scale before and after."""
        assert isinstance(stage.layer, MaxPooling1D)
        sliding = stage.layer.sliding
        options = schema.pooling(_padding(sliding), sliding.stride, sliding.size)

        def run(image: Tensor, shape: Shape) -> Tensor:
            return self.ops.graph.run(schema.MAX_POOL_2D, (image,), shape, options, value.type, value.scale)

        return self._over_time(sliding, value.shape[2], value, run)

    def _over_time(
        self, sliding: Sliding, channels: int, value: Tensor, run: Callable[[Tensor, Shape], Tensor]
    ) -> Tensor:
        """Append an operator on images, of which a sequence is one row."""
        image = self.ops.reshape(value, (ANY, 1, *value.shape[1:]))
        return self.ops.reshape(run(image, (ANY, 1, sliding.count, channels)), (ANY, sliding.count, channels))

    def _normalisation(self, stage: Stage, value: Tensor) -> Tensor:
        assert isinstance(stage.layer, BatchNormalization)
        scale, shift = scale_and_shift(stage.layer, stage.arrays)
        return self.ops.add(self.ops.multiply(value, self._constant(scale)), self._constant(shift))

    def _kernel(self, kernel: Array, axis: int | None) -> Tensor:
        """Add a constant, in int8 with a scale for each slice along ``axis``, or one for all, if asked for."""
        if not self.int8:
            return self._constant(kernel)
        steps = greatest(kernel, axis) / MAX_INT8
        return self.quantised_kernel(kernel, np.where(steps > 0, steps, 1.0), axis)

    def quantised_kernel(self, kernel: Array, steps: Array, axis: int | None) -> Tensor:
        """Add a constant in symmetric int8; ``steps``, one or one a slice along ``axis``, broadcast with ``kernel``."""
        values = np.rint(kernel / steps).clip(-MAX_INT8, MAX_INT8)
        scale = Scale(tuple(steps.reshape(-1).tolist()), (0,) * math.prod(steps.shape), axis or 0)
        return self.ops.graph.constant(values, np.int8, scale)

    def _constant(self, values: Array) -> Tensor:
        return self.ops.graph.constant(values)


def matrix(stage: Stage) -> Array:
    """Return the kernel as operators take it: (units, inputs), or (filters, 1, size, channels)."""
    kernel = stage.arrays[0]
    return kernel.transpose(2, 0, 1)[:, None] if isinstance(stage.layer, Conv1D) else kernel.T


def bias_of(stage: Stage) -> Array:
    """Return the bias, one a unit or filter; 0 without."""
    return stage.arrays[1] if len(stage.arrays) > 1 else np.zeros(stage.arrays[0].shape[-1], np.float32)


def greatest(kernel: Array, axis: int | None) -> Array:
    """Return the greatest amount in each slice along ``axis``, or of all, with as many axes as ``kernel``."""
    axes = tuple(index for index in range(kernel.ndim) if index != axis)
    return np.asarray(np.abs(kernel).max(axis=axes, keepdims=True))


def _padding(sliding: Sliding) -> int:
    return schema.SAME if sliding.padding == "same" else schema.VALID
