"""Stages as operators on int8: post-training full-integer quantisation.

Activations have one scale and zero a tensor, from the ranges that some rows gave; what lies outside is taken to
the range's end. Kernels are symmetric, with one scale a filter for Conv1D and one a tensor for Dense; biases are int32
in steps of input times kernel (Jacob et al. 2018, section 2; https://ai.google.dev/edge/litert/models/quantization_spec).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.tflite import schema
from agent.tflite.graph import ANY, Scale, Shape, Tensor
from agent.tflite.inference.float32 import MAX_INT8, Floats, Stage, bias_of, greatest, matrix
from agent.tflite.operations import Operations
from agent.tflite.schema import NO_OPTIONS, Options
from learnae.errors import ModelError
from learnae.models import layers as kinds
from learnae.models.layers import Activation, Array, Conv1D, Dense

_MIN_INT8, _STEPS = -128, 255
_MIN_STEP = 1e-9  # of activations: far below what any sensor tells apart, far above float32's denormal numbers
_BATCH = 16  # rows at once: windows of long sequences take memory
_MAX_VALUES = 8192  # values of each stage and batch: 1 MB a stage for 500 rows
# On wrist data these halve the mean error of the outputs against the full range; less for one channel cuts off
# nothing that matters, and keeps a channel that is one of thousands.
_QUANTILE, _CHANNEL_QUANTILE = 0.999, 0.99
_UNIT = Scale((1 / 256,), (-128,))  # what LOGISTIC's int8 kernels give, by the specification
_TWO_UNITS = Scale((1 / 128,), (0,))  # and TANH's
_SAME_SCALE = (kinds.MaxPooling1D, kinds.Flatten, kinds.Reshape)  # their outputs are some of their inputs
# A kernel's step times the input's is at least this share of the output's: runtimes refuse less than 2^-32.
_MIN_FACTOR = 2.0**-24
_MAX_FACTOR = 128.0  # and XNNPACK refuses 256
_MAX_BIAS = 2.0**28  # a bias in its steps: fits int32 with room for the sum
Range = tuple[float, float]


def add_stages(ops: Operations, parts: Sequence[Stage], value: Tensor, rows: Array) -> Tensor:
    """Append ``parts``: float32 -> float32, int8 between, calibrated with ``rows`` (n, *shape), n > 0."""
    run, spans = _Integers(ops), ranges(parts, rows)
    for index, stage in enumerate(parts):
        value = run.add_calibrated(stage, value, spans[index], spans[index + 1], index == len(parts) - 1)
    return run.floats(value)


def ranges(parts: Sequence[Stage], rows: Array) -> list[Range]:
    """Return the range of values before the first stage and after each; raises ModelError if they are not finite.

    Rare values are cut off, as they would make every step coarse for all others: the inputs' above all.
    """
    seen: list[list[Array]] = [[] for _ in range(len(parts) + 1)]
    for start in range(0, len(rows), _BATCH):
        value = rows[start : start + _BATCH]
        seen[0].append(_thinned(value))
        for stage, own in zip(parts, seen[1:], strict=True):
            with np.errstate(all="ignore"):  # what is not finite is found below
                value = stage.forward(value)
            own.append(_thinned(value))
    values = [np.concatenate(own) for own in seen]
    if not all(np.isfinite(array).all() for array in values):
        raise ModelError("the model's weights or outputs are not finite", "wait until it has trained well")
    return [_usual(array) for array in values]


def _thinned(value: Array) -> Array:
    """Return at most about _MAX_VALUES values (n, channels), evenly out of ``value``, of all channels."""
    vectors = value.reshape(-1, value.shape[-1])
    return vectors[:: max(1, vectors.size // _MAX_VALUES)]


def _usual(values: Array) -> Range:
    """Return the range of _QUANTILE of all ``values`` (n, channels), _CHANNEL_QUANTILE of each channel's, and 0."""
    low, high = np.quantile(values, [1 - _QUANTILE, _QUANTILE]).tolist()
    lows, highs = np.quantile(values, [1 - _CHANNEL_QUANTILE, _CHANNEL_QUANTILE], axis=0)
    return min(0.0, low, *lows.tolist()), max(0.0, high, *highs.tolist())


@dataclass(frozen=True, slots=True)
class _Integers(Floats):
    def add_calibrated(self, stage: Stage, value: Tensor, before: Range, after: Range, final: bool) -> Tensor:
        """Append a stage in int8 where runtimes have a good kernel; else in float32, as is an activation at the end."""
        if isinstance(stage.layer, (Dense, Conv1D)):
            return self._linear(stage, self._integers(value, before), after)
        if value.type == schema.INT8:
            if isinstance(stage.layer, _SAME_SCALE):
                return self.add(stage, value)
            if isinstance(stage.layer, kinds.GlobalAveragePooling1D):
                inputs, shape = (value, self.ops.graph.constant([1], np.int32)), (ANY, value.shape[2])
                return self._run(schema.MEAN, inputs, shape, scale_of(after), schema.reducer(False))
            kernel = _activation(stage.layer, after) if isinstance(stage.layer, Activation) else None
            if kernel and not final:  # the caller gets floats: nothing is lost by that
                return self._run(kernel[0], (value,), value.shape, kernel[1])
        return self.add(stage, self.floats(value))

    def _linear(self, stage: Stage, value: Tensor, after: Range) -> Tensor:
        assert value.scale is not None
        axis = 0 if isinstance(stage.layer, Conv1D) else None
        kernel, bias, step = matrix(stage), bias_of(stage).astype(np.float64), value.scale.scales[0]
        steps = greatest(kernel.astype(np.float64), axis) / MAX_INT8
        output = scale_of(after, step * float(steps.max()) / _MAX_FACTOR)
        amount = np.abs(bias).reshape(steps.shape) if axis == 0 else np.abs(bias).max()
        steps = np.maximum(steps, np.maximum(amount / _MAX_BIAS, output.scales[0] * _MIN_FACTOR) / step)
        weights = self.quantised_kernel(kernel, steps, axis)
        units = np.broadcast_to(steps.reshape(-1) * step, bias.shape if axis == 0 else (1,))
        scale = Scale(tuple(units.tolist()), (0,) * len(units))
        offset = self.ops.graph.constant(np.rint(bias / units), np.int32, scale)
        if isinstance(stage.layer, Conv1D):
            return self.convolve(stage, value, (weights, offset), schema.INT8, output)
        options = schema.fully_connected(schema.FUSED_RELU if stage.relu else schema.NO_ACTIVATION)
        inputs, shape = (value, weights, offset), (value.shape[0], kernel.shape[0])
        return self._run(schema.FULLY_CONNECTED, inputs, shape, output, options)

    def _integers(self, value: Tensor, span: Range) -> Tensor:
        if value.type == schema.INT8:
            return value
        return self._run(schema.QUANTIZE, (value,), value.shape, scale_of(span))

    def floats(self, value: Tensor) -> Tensor:
        """Return ``value`` in float32."""
        if value.type == schema.FLOAT32:
            return value
        return self.ops.graph.run(schema.DEQUANTIZE, (value,), value.shape)

    def _run(
        self, code: int, inputs: Sequence[Tensor], shape: Shape, scale: Scale, options: Options = NO_OPTIONS
    ) -> Tensor:
        return self.ops.graph.run(code, inputs, shape, options, schema.INT8, scale)


def scale_of(span: Range, least: float = 0.0) -> Scale:
    """Return the steps of int8 over a range that holds 0; none smaller than ``least``."""
    step = max((span[1] - span[0]) / _STEPS, least, _MIN_STEP)
    return Scale((step,), (int(np.clip(np.rint(_MIN_INT8 - span[0] / step), _MIN_INT8, MAX_INT8)),))


def _activation(layer: Activation, after: Range) -> tuple[int, Scale] | None:
    """Return the operator and the scale of its output, if it has an int8 kernel for values of any shape."""
    kernels = {
        "relu": (schema.RELU, scale_of(after)),
        "sigmoid": (schema.LOGISTIC, _UNIT),
        "tanh": (schema.TANH, _TWO_UNITS),
    }
    return kernels.get(layer.function)
