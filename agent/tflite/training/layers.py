"""Each layer of the definition as differentiable operations."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.tflite import schema
from agent.tflite.graph import ANY, Tensor
from agent.tflite.training import gradients as differentiable
from agent.tflite.training.gradients import Tape
from learnae.errors import ModelError
from learnae.models import layers as kinds
from learnae.models.layers import BatchNormalization, Conv1D, Dense, Layer, LayerNormalization
from learnae.models.layers.normalisation import MAX_SHIFT, MAX_STRETCH

Arrays = Sequence[Tensor]  # a layer's weights: matrices for kernels, vectors otherwise


@dataclass(slots=True)
class Pass:
    """One pass through the layers.

    ``row_weights`` (rows, 1) sum to 1 and mean training; None means inference. ``moves`` collects by
    how much a step moves weights that no gradient trains.
    """

    tape: Tape
    row_weights: Tensor | None = None
    moves: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def apply(layers: Sequence[Layer], arrays: Sequence[Arrays], value: Tensor, run: Pass) -> Tensor:
    """Return the output of ``layers`` for ``value`` (rows, *shape); raises ModelError for what has no program."""
    index = 0
    while index < len(layers):
        layer, following = layers[index], layers[index + 1 : index + 2]
        if isinstance(layer, (Dense, Conv1D)):
            relu = following == (kinds.Activation("relu"),)  # one operator does both
            value = _linear(layer, arrays[index], value, run.tape, relu)
            index += relu
        else:
            if type(layer) not in _APPLY:
                raise ModelError(f"layer {type(layer).__name__} has no TFLite program", "train with NumPy")
            value = _APPLY[type(layer)](layer, arrays[index], value, run)
        index += 1
    return value


def matrix_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an array's shape as it is used: kernels of convolutions are matrices (size * channels, filters)."""
    return (math.prod(shape[:-1]), shape[-1]) if isinstance(layer, Conv1D) and len(shape) > 1 else shape


def _linear(layer: Dense | Conv1D, arrays: Arrays, value: Tensor, tape: Tape, relu: bool) -> Tensor:
    bias = arrays[1] if layer.bias else None
    if isinstance(layer, Dense):
        return differentiable.linear(tape, value, arrays[0], bias, relu)
    sliding = layer.sliding
    windows = differentiable.windows(tape, value, sliding, zeros=True)
    rows = differentiable.reshape(tape, windows, (ANY, sliding.size * layer.channels))
    result = differentiable.linear(tape, rows, arrays[0], bias, relu, sliding.count)
    return differentiable.reshape(tape, result, (ANY, sliding.count, layer.filters))


def _activation(layer: kinds.Activation, _: Arrays, value: Tensor, run: Pass) -> Tensor:
    if layer.function == "softmax":
        rows = differentiable.reshape(run.tape, value, (ANY, value.shape[-1]))
        return differentiable.reshape(run.tape, differentiable.softmax(run.tape, rows), value.shape)
    return differentiable.activation(run.tape, layer.function, value)


def _max_pooling(layer: kinds.MaxPooling1D, _: Arrays, value: Tensor, run: Pass) -> Tensor:
    sliding = layer.sliding
    windows = differentiable.windows(run.tape, value, sliding, zeros=False)
    shaped = differentiable.reshape(run.tape, windows, (ANY, sliding.count, sliding.size, value.shape[2]))
    return differentiable.greatest(run.tape, shaped)


def _layer_normalization(layer: LayerNormalization, arrays: Arrays, value: Tensor, run: Pass) -> Tensor:
    tape = run.tape
    rows = differentiable.reshape(tape, value, (ANY, value.shape[-1]))
    result, _, _ = differentiable.normalise(tape, rows, (1,), 1 / layer.size, layer.epsilon)
    vectors = math.prod(value.shape[1:-1])
    return differentiable.reshape(tape, _affine(layer, arrays, result, tape, vectors), value.shape)


def _batch_normalization(layer: BatchNormalization, arrays: Arrays, value: Tensor, run: Pass) -> Tensor:
    tape, ops = run.tape, run.tape.operations
    moving_mean, moving_variance = arrays[-2:]
    if run.row_weights is None:
        steady = ops.add(ops.maximum(moving_variance, 0.0), layer.epsilon)
        result = ops.multiply(ops.subtract(value, moving_mean), ops.unary(schema.RSQRT, steady))
        return _affine(layer, arrays, result, tape)
    vectors = math.prod(value.shape[1:-1])
    weights = ops.reshape(ops.multiply(run.row_weights, 1 / vectors), (ANY, 1, 1))
    shaped = differentiable.reshape(tape, value, (ANY, vectors, layer.size))
    result, mean, variance = differentiable.normalise(tape, shaped, (0, 1), weights, layer.epsilon)
    mean, variance = (ops.reshape(statistic, (layer.size,)) for statistic in (mean, variance))
    pace, away = 1 - layer.momentum, ops.subtract(mean, moving_mean)
    beyond = ops.multiply(ops.unary(schema.SQUARE, away), 1 - pace)
    by_mean = ops.multiply(away, pace)
    by_variance = ops.multiply(ops.add(ops.subtract(variance, moving_variance), beyond), pace)
    run.moves += [(moving_mean, by_mean), (moving_variance, by_variance)]
    steady = ops.add(ops.maximum(ops.add(moving_variance, by_variance), 0.0), layer.epsilon)
    inverse = ops.unary(schema.RSQRT, steady)
    deviation = ops.unary(schema.SQRT, ops.add(variance, layer.epsilon))
    stretch = ops.minimum(ops.multiply(deviation, inverse), MAX_STRETCH)
    distance = ops.multiply(ops.subtract(mean, ops.add(moving_mean, by_mean)), inverse)
    shift = ops.maximum(ops.minimum(distance, MAX_SHIFT), -MAX_SHIFT)
    result = differentiable.shift(tape, differentiable.scale(tape, result, stretch), shift)
    return differentiable.reshape(tape, _affine(layer, arrays, result, tape), value.shape)


def _affine(
    layer: BatchNormalization | LayerNormalization, arrays: Arrays, value: Tensor, tape: Tape, vectors: int = 1
) -> Tensor:
    if layer.scale:
        value = differentiable.scale(tape, value, arrays[0], vectors)
    return differentiable.shift(tape, value, arrays[layer.scale], vectors) if layer.centre else value


_APPLY: dict[type[Layer], Callable[[Any, Arrays, Tensor, Pass], Tensor]] = {
    kinds.Activation: _activation,
    kinds.Flatten: lambda _, __, value, run: differentiable.reshape(run.tape, value, (ANY, math.prod(value.shape[1:]))),
    kinds.Reshape: lambda layer, _, value, run: differentiable.reshape(run.tape, value, (ANY, *layer.target)),
    kinds.Dropout: lambda _, __, value, ___: value,  # inactive, see learnae.models.layers.Dropout
    kinds.MaxPooling1D: _max_pooling,
    kinds.GlobalAveragePooling1D: lambda _, __, value, run: differentiable.mean_over_time(run.tape, value),
    LayerNormalization: _layer_normalization,
    BatchNormalization: _batch_normalization,
}
