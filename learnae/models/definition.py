"""A model is a Keras ``Sequential`` configuration, checked against a whitelist of layers.

JSON can be checked where a received executable graph cannot; every learner (NumPy, TFLite, JAX)
builds its own computation from this one definition. Weights are one float32 vector: the arrays of
Keras' ``get_weights()``, in its order and layout, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.codecs import Vector
from learnae.errors import ModelError
from learnae.fields import Fields

ACTIVATIONS = ("linear", "relu", "sigmoid", "tanh", "softmax")
MAX_LAYERS = 256
MAX_PARAMETERS = 1 << 28  # one gibibyte of float32
_MAX_UNITS = 1 << 20

# fan-dependent uniform initialisers of Keras: (numerator, uses fan_out)
_INITIALISERS = {"GlorotUniform": (6.0, True), "HeUniform": (6.0, False), "LecunUniform": (3.0, False)}
_NOT_SUPPORTED = ("kernel_regularizer", "bias_regularizer", "activity_regularizer", "kernel_constraint",
                  "bias_constraint", "lora_rank")  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dense:
    """``activation(x @ kernel + bias)``; kernel (inputs, units), bias (units,)."""

    inputs: int
    units: int
    bias: bool
    initialiser: str

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of the layer's arrays."""
        kernel = (self.inputs, self.units)
        return (kernel, (self.units,)) if self.bias else (kernel,)


@dataclass(frozen=True, slots=True)
class Activation:
    """One of ACTIVATIONS, element by element; softmax over the last axis."""

    function: str
    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class Flatten:
    """All axes but the batch become one."""

    shapes: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropout:
    """While training, each value is zero with probability ``rate``, the rest scaled up."""

    rate: float
    shapes: tuple[Shape, ...] = ()


Layer = Dense | Activation | Flatten | Dropout


@dataclass(frozen=True, slots=True)
class ModelDefinition:
    """A checked model: ``input_shape`` and ``output_shape`` without the batch axis."""

    input_shape: Shape
    output_shape: Shape
    layers: tuple[Layer, ...]
    count: int

    @classmethod
    def from_config(cls, config: object) -> ModelDefinition:
        """Check a Keras Sequential configuration (``json.loads(model.to_json())``); raises ModelError."""
        fields = Fields(config, "model", ModelError)
        if fields.text("class_name") != "Sequential":
            raise ModelError(f"model class {fields.text('class_name')!r}", "only Sequential models are trained")
        layers = fields.fields("config").value("layers")
        if not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= MAX_LAYERS:
            raise ModelError("model.config.layers", f"it must be a list of 1 to {MAX_LAYERS} layers")
        return _Builder(fields.fields("config")).build(layers)

    @property
    def final_activation(self) -> str:
        """The activation that the model ends with."""
        last = self.layers[-1] if self.layers else None
        return last.function if isinstance(last, Activation) else "linear"

    def split(self, vector: NDArray[Any]) -> list[list[NDArray[Any]]]:
        """Views into ``vector`` (count,): for each layer, its arrays."""
        position, result = 0, []
        for layer in self.layers:
            arrays = []
            for shape in layer.shapes:
                size = math.prod(shape)
                arrays.append(vector[position : position + size].reshape(shape))
                position += size
            result.append(arrays)
        return result

    def initial(self, seed: int) -> Vector:
        """The weights (count,) that all peers of a swarm start from: uniform kernels, zero biases."""
        rng = np.random.Generator(np.random.PCG64(seed))
        vector = np.zeros(self.count, np.float32)
        for layer, arrays in zip(self.layers, self.split(vector), strict=True):
            if isinstance(layer, Dense):
                numerator, both = _INITIALISERS[layer.initialiser]
                bound = math.sqrt(numerator / (layer.inputs + (layer.units if both else 0)))
                arrays[0][:] = rng.uniform(-bound, bound, layer.shapes[0]).astype(np.float32)
        return vector


class _Builder:
    """Walks the layers' configurations and follows the shape of one example through them."""

    def __init__(self, sequential: Fields) -> None:
        self._sequential = sequential
        self._shape: Shape | None = None
        self._input: Shape | None = None
        self._layers: list[Layer] = []

    def build(self, layers: list[object] | tuple[object, ...]) -> ModelDefinition:
        for index, item in enumerate(layers):
            layer = Fields(item, f"layer {index}", ModelError)
            self._add(layer.text("class_name"), layer.fields("config"))
        if self._shape is None or self._input is None:
            raise ModelError("the model has no layer that computes", "add a Dense layer")
        count = sum(math.prod(shape) for layer in self._layers for shape in layer.shapes)
        if not 1 <= count <= MAX_PARAMETERS:
            raise ModelError(f"a model of {count} parameters", f"between 1 and {MAX_PARAMETERS} can be trained")
        return ModelDefinition(self._input, self._shape, tuple(self._layers), count)

    def _add(self, kind: str, config: Fields) -> None:
        self._find_input_shape(config)
        if kind == "InputLayer":
            return
        if self._shape is None:
            raise ModelError("the model's input shape is unknown", "begin with keras.Input(shape=...)")
        adders = {
            "Dense": self._add_dense,
            "Activation": self._add_activation,
            "ReLU": self._add_relu,
            "Flatten": self._add_flatten,
            "Dropout": self._add_dropout,
        }
        if kind not in adders:
            raise ModelError(f"layer {kind!r} is not supported", f"use {', '.join(adders)}")
        adders[kind](config)

    def _find_input_shape(self, config: Fields) -> None:
        if self._shape is not None:
            return
        for source, name in ((config, "batch_shape"), (config, "batch_input_shape"),
                             (self._sequential, "build_input_shape")):  # fmt: skip
            shape = source.value(name, None)
            if shape is not None:
                self._shape = self._input = _example_shape(source, name, shape)
                return

    @property
    def _current(self) -> Shape:
        assert self._shape is not None
        return self._shape

    def _add_dense(self, config: Fields) -> None:
        if len(self._current) != 1:
            raise ModelError(f"Dense on a shape of {self._current}", "put Flatten before it")
        for name in _NOT_SUPPORTED:
            if config.value(name, None) is not None:
                raise ModelError(f"{config.thing}.{name} is not supported", "remove it from the model")
        layer = Dense(
            inputs=self._current[0],
            units=config.integer("units", 1, _MAX_UNITS),
            bias=config.boolean("use_bias", True),
            initialiser=_initialiser(config),
        )
        self._layers.append(layer)
        self._shape = (layer.units,)
        self._append_activation(config.choice("activation", ACTIVATIONS, "linear"))

    def _add_activation(self, config: Fields) -> None:
        self._append_activation(config.choice("activation", ACTIVATIONS))

    def _append_activation(self, function: str) -> None:
        if function != "linear":
            self._layers.append(Activation(function))

    def _add_relu(self, config: Fields) -> None:
        for name, plain in (("max_value", None), ("negative_slope", 0.0), ("threshold", 0.0)):
            if config.value(name, plain) not in (plain, None):
                raise ModelError(f"{config.thing}.{name} is not supported", "use a plain ReLU")
        self._layers.append(Activation("relu"))

    def _add_flatten(self, _: Fields) -> None:
        self._layers.append(Flatten())
        self._shape = (math.prod(self._current),)

    def _add_dropout(self, config: Fields) -> None:
        rate = config.number("rate", 0, 1)
        if rate >= 1:
            raise config.error("rate", rate, "below 1")
        self._layers.append(Dropout(rate))


def _example_shape(fields: Fields, name: str, shape: object) -> Shape:
    if not isinstance(shape, (list, tuple)) or not 2 <= len(shape) <= 5:
        raise fields.error(name, shape, "a list: null for the batch, then 1 to 4 sizes")
    sizes = tuple(shape[1:])
    if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= _MAX_UNITS for size in sizes):
        raise fields.error(name, shape, f"sizes from 1 to {_MAX_UNITS} after the batch")
    return sizes


def _initialiser(config: Fields) -> str:
    value = config.value("kernel_initializer", "GlorotUniform")
    name = value.get("class_name") if isinstance(value, Mapping) else value
    if not isinstance(name, str) or name not in _INITIALISERS:
        raise ModelError(f"{config.thing}.kernel_initializer {str(name)[:60]!r}", f"use {', '.join(_INITIALISERS)}")
    return name
