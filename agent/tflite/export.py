"""A trained model as a .tflite file for inference, in float32 or with int8 weights.

The weights are constants, so that runtimes can prepare them; BatchNormalization becomes one scale
and one shift. int8 is post-training dynamic-range quantisation: kernels in int8, symmetric, with one
scale a tensor for Dense and one a filter for Conv1D; activations are quantised while it runs
(https://ai.google.dev/edge/litert/models/post_training_quant). No data are needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.tflite import schema
from agent.tflite.graph import ANY, Graph, Scale, Tensor
from agent.tflite.layers import Pass, apply
from agent.tflite.operations import Operations
from agent.tflite.tape import Tape
from agent.tflite.writer import write
from learnae.codecs import Vector
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, BatchNormalization, Conv1D, Dense, Layer, MaxPooling1D, Sliding

SIGNATURE = "serving_default"  # where programs look for inference
_GREATEST = 127  # of symmetric int8
Array = NDArray[Any]


def inference_program(model: ModelDefinition, weights: Vector, int8: bool = False) -> bytes:
    """A .tflite file: rows (n, *input) -> output (n, *output); raises ModelError."""
    graph = Graph(SIGNATURE)
    run = _Export(Operations(graph), int8)
    value = graph.input("rows", (ANY, *model.input_shape))
    index, layers, arrays = 0, model.layers, model.split(weights)
    while index < len(layers):
        relu = layers[index + 1 : index + 2] == (Activation("relu"),) and isinstance(layers[index], (Dense, Conv1D))
        value = run.layer(layers[index], arrays[index], value, relu)
        index += 1 + relu
    graph.output("output", value)
    return write([graph])


@dataclass(frozen=True, slots=True)
class _Export:
    ops: Operations
    int8: bool

    def layer(self, layer: Layer, arrays: list[Array], value: Tensor, relu: bool) -> Tensor:
        """One layer with constant weights; ``relu`` is fused into it."""
        if isinstance(layer, Dense):
            return self._dense(layer, arrays, value, relu)
        if isinstance(layer, Conv1D):
            return self._convolution(layer, arrays, value, relu)
        special: dict[type[Layer], Callable[[Any, list[Array], Tensor], Tensor]] = {
            MaxPooling1D: self._pooling,
            BatchNormalization: self._normalisation,
        }
        if type(layer) in special:
            return special[type(layer)](layer, arrays, value)
        return apply([layer], [[self._constant(array) for array in arrays]], value, Pass(Tape(self.ops)))

    def _dense(self, layer: Dense, arrays: list[Array], value: Tensor, relu: bool) -> Tensor:
        kernel = self._kernel(arrays[0].T, None)
        bias = self._constant(arrays[1]) if layer.bias else None
        return self.ops.fully_connected(value, kernel, bias, relu)

    def _convolution(self, layer: Conv1D, arrays: list[Array], value: Tensor, relu: bool) -> Tensor:
        sliding = layer.sliding
        kernel = self._kernel(arrays[0].transpose(2, 0, 1)[:, None], 0)  # (filters, 1, size, channels)
        bias = self._constant(arrays[1] if layer.bias else np.zeros(layer.filters))
        activation = schema.FUSED_RELU if relu else schema.NO_ACTIVATION
        options = schema.convolution(_padding(sliding), sliding.stride, activation)
        return self._over_time(schema.CONV_2D, (kernel, bias), sliding, layer.filters, value, options)

    def _pooling(self, layer: MaxPooling1D, _: list[Array], value: Tensor) -> Tensor:
        sliding = layer.sliding
        options = schema.pooling(_padding(sliding), sliding.stride, sliding.size)
        return self._over_time(schema.MAX_POOL_2D, (), sliding, value.shape[2], value, options)

    def _over_time(
        self,
        code: int,
        more: tuple[Tensor, ...],
        sliding: Sliding,
        channels: int,
        value: Tensor,
        options: schema.Options,
    ) -> Tensor:
        """An operator on images, of which a sequence is one row."""
        image = self.ops.reshape(value, (ANY, 1, *value.shape[1:]))
        result = self.ops.graph.run(code, (image, *more), (ANY, 1, sliding.count, channels), options)
        return self.ops.reshape(result, (ANY, sliding.count, channels))

    def _normalisation(self, layer: BatchNormalization, arrays: list[Array], value: Tensor) -> Tensor:
        scale = 1 / np.sqrt(np.maximum(arrays[-1].astype(np.float64), 0) + layer.epsilon)
        scale = scale * arrays[0] if layer.scale else scale
        shift = (arrays[layer.scale] if layer.centre else 0) - arrays[-2] * scale
        return self.ops.add(self.ops.multiply(value, self._constant(scale)), self._constant(shift))

    def _kernel(self, kernel: Array, axis: int | None) -> Tensor:
        """A constant, in int8 with a scale for each slice along ``axis``, or one for all, if asked for."""
        if not self.int8:
            return self._constant(kernel)
        axes = tuple(index for index in range(kernel.ndim) if index != axis)
        greatest = np.abs(kernel).max(axis=axes, keepdims=True)
        steps = np.where(greatest > 0, greatest / _GREATEST, 1.0)
        values = np.rint(kernel / steps).clip(-_GREATEST, _GREATEST)
        count = math.prod(steps.shape)
        scale = Scale(tuple(steps.reshape(-1).tolist()), (0,) * count, axis or 0)
        return self.ops.graph.constant(values, np.int8, scale)

    def _constant(self, values: Array) -> Tensor:
        return self.ops.graph.constant(values)


def _padding(sliding: Sliding) -> int:
    return schema.SAME if sliding.padding == "same" else schema.VALID
