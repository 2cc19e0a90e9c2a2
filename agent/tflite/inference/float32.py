"""A model's layers as stages, some part of the one before, and these as operators on float32."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.tflite import schema
from agent.tflite.graph import ANY, Scale, Shape, Tensor
from agent.tflite.operations import Operations
from agent.tflite.training.gradients import Tape
from agent.tflite.training.layers import Pass, apply
from learnae.models import layers as kinds
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Array, BatchNormalization, Conv1D, Dense, Layer, MaxPooling1D, Sliding
from learnae.weights.codecs import Vector

MAX_INT8 = 127  # of symmetric int8


@dataclass(frozen=True, slots=True)
class Stage:
    """A layer with its arrays in Keras' layout, and whether its operator takes the maximum with 0 at the end."""

    layer: Layer
    arrays: list[Array]
    relu: bool = False

    def forward(self, rows: Array) -> Array:
        """Compute (n, *shape) -> (n, *shape of the output), in NumPy."""
        value, _ = self.layer.forward(self.arrays, rows, False, None)
        return np.maximum(value, 0) if self.relu else value


def stages(model: ModelDefinition, weights: Vector) -> list[Stage]:
    """Return the model's stages: without Dropout; ReLU and BatchNormalization join a Dense or Conv1D before them."""
    result: list[Stage] = []
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        last = result[-1] if result else None
        if isinstance(layer, kinds.Dropout):
            continue
        if last is None or not isinstance(last.layer, (Dense, Conv1D)) or last.relu:
            result.append(Stage(layer, arrays))
        elif layer == kinds.Activation("relu"):
            result[-1] = replace(last, relu=True)
        elif isinstance(layer, BatchNormalization):
            result[-1] = _folded(last.layer, last.arrays, layer, arrays)
        else:
            result.append(Stage(layer, arrays))
    return result


def scale_and_shift(layer: BatchNormalization, arrays: list[Array]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what BatchNormalization multiplies with and adds, each (size,): its moving statistics stand still."""
    scale = 1 / np.sqrt(np.maximum(arrays[-1].astype(np.float64), 0) + layer.epsilon)
    scale = scale * arrays[0] if layer.scale else scale
    return scale, (arrays[layer.scale] if layer.centre else 0) - arrays[-2] * scale


def _folded(layer: Dense | Conv1D, arrays: list[Array], normalisation: BatchNormalization, own: list[Array]) -> Stage:
    scale, shift = scale_and_shift(normalisation, own)
    bias = shift + (arrays[1] * scale if layer.bias else 0)
    return Stage(replace(layer, bias=True), [(arrays[0] * scale).astype(np.float32), bias.astype(np.float32)])


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
