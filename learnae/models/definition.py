"""A model is a Keras ``Sequential`` configuration, checked against a whitelist of layers.

JSON can be checked where a received executable graph cannot; every learner (NumPy, TFLite, JAX)
builds its own computation from this one definition. Weights are one float32 vector: the arrays of
Keras' ``get_weights()``, in its order and layout, one after another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.ipld.fields import Fields
from learnae.models.keras_config import read_layer
from learnae.models.layers import ACTIVATIONS, MAX_UNITS, Activation, Dense, Dropout, Flatten, Layer, Shape
from learnae.models.outline import MAX_PARAMETERS, check_count
from learnae.weights.codecs import Vector

__all__ = [
    "ACTIVATIONS",
    "MAX_LAYERS",
    "MAX_PARAMETERS",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "ModelDefinition",
    "Shape",
]

MAX_LAYERS = 256


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
        """Name the activation that the model ends with."""
        last = self.layers[-1] if self.layers else None
        return last.function if isinstance(last, Activation) else "linear"

    def split(self, vector: NDArray[Any]) -> list[list[NDArray[Any]]]:
        """Return views into ``vector`` (count,): for each layer, its arrays."""
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
        """Draw the weights (count,) that all peers of a swarm start from."""
        rng = np.random.Generator(np.random.PCG64(seed))
        vector = np.zeros(self.count, np.float32)
        for layer, arrays in zip(self.layers, self.split(vector), strict=True):
            layer.initialise(arrays, rng)
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
        check_count(count)
        return ModelDefinition(self._input, self._shape, tuple(self._layers), count)

    def _add(self, kind: str, config: Fields) -> None:
        self._find_input_shape(config)
        if kind == "InputLayer":
            return
        if self._shape is None:
            raise ModelError("the model's input shape is unknown", "begin with keras.Input(shape=...)")
        layers, self._shape = read_layer(kind, config, self._shape)
        self._layers.extend(layers)

    def _find_input_shape(self, config: Fields) -> None:
        if self._shape is not None:
            return
        for source, name in ((config, "batch_shape"), (config, "batch_input_shape"),
                             (self._sequential, "build_input_shape")):  # fmt: skip
            shape = source.value(name, None)
            if shape is not None:
                self._shape = self._input = _example_shape(source, name, shape)
                return


def _example_shape(fields: Fields, name: str, shape: object) -> Shape:
    if not isinstance(shape, (list, tuple)) or not 2 <= len(shape) <= 5:
        raise fields.error(name, shape, "a list: null for the batch, then 1 to 4 sizes")
    sizes = tuple(shape[1:])
    if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MAX_UNITS for size in sizes):
        raise fields.error(name, shape, f"sizes from 1 to {MAX_UNITS} after the batch")
    return sizes
