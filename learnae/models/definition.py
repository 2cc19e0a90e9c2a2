"""A model is a Keras ``Sequential`` configuration, checked against a whitelist of layers.

JSON can be checked where a received executable graph cannot; every learner (NumPy, TFLite, JAX)
builds its own computation from this one definition. Weights are one float32 vector: the arrays of
Keras' ``get_weights()``, in its order and layout, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.ipld.fields import Fields
from learnae.models.keras_config import check_own, read_layer
from learnae.models.layers import MAX_UNITS, Activation, Layer, Shape
from learnae.models.layers.dense import ZEROS, KernelLayer
from learnae.models.layers.normalisation import moments_among
from learnae.models.outline import check_count
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments

MAX_LAYERS = 256
_MOST_VALUES = 1 << 24  # of all rows that are computed together without need: 64 MiB of float32


@dataclass(frozen=True, slots=True)
class ModelDefinition:
    """A checked model: ``input_shape`` and ``output_shape`` without the batch axis.

    A training step holds ``row_values`` of each of its rows, whose way forward takes ``row_products`` multiplications.
    ``has_row_gradients`` is true unless a layer mixes a batch's rows in training, so that no row has a gradient of its
    own.
    """

    input_shape: Shape
    output_shape: Shape
    layers: tuple[Layer, ...]
    count: int
    row_values: int = field(init=False)
    row_products: int = field(init=False)
    has_row_gradients: bool = field(init=False)
    _places: tuple[tuple[tuple[int, int, Shape], ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape, values, products = self.input_shape, math.prod(self.input_shape), 0
        for layer in self.layers:
            cost = layer.cost(shape)
            shape, values, products = cost.shape, values + cost.values, products + cost.products
        object.__setattr__(self, "row_values", values)
        object.__setattr__(self, "row_products", products)
        object.__setattr__(self, "has_row_gradients", not any(layer.mixes_rows for layer in self.layers))
        object.__setattr__(self, "_places", tuple(_places(self.layers)))

    @classmethod
    def from_config(cls, config: object) -> ModelDefinition:
        """Check a Keras Sequential configuration (``json.loads(model.to_json())``); raises ModelError."""
        fields = Fields(config, "model", ModelError)
        if fields.text("class_name") != "Sequential":
            raise ModelError(f"model class {fields.text('class_name')!r}", "only Sequential models are trained")
        check_own(config, "the model")
        layers = fields.fields("config").value("layers")
        if not isinstance(layers, (list, tuple)) or not 1 <= len(layers) <= MAX_LAYERS:
            raise ModelError("model.config.layers", f"it must be a list of 1 to {MAX_LAYERS} layers")
        return cls._of_layers(fields.fields("config"), layers)

    @classmethod
    def _of_layers(cls, sequential: Fields, configs: Sequence[object]) -> ModelDefinition:
        """Follow the shape of one example through the layers."""
        shape: Shape | None = None
        given: Shape | None = None
        layers: list[Layer] = []
        for index, item in enumerate(configs):
            layer = Fields(item, f"layer {index}", ModelError)
            kind, config = layer.text("class_name"), layer.fields("config")
            check_own(item, f"layer {index}")
            if shape is None:
                shape = given = _input_shape(config, sequential)
            if kind == "InputLayer":
                continue
            if shape is None:
                raise ModelError("the model's input shape is unknown", "begin with keras.Input(shape=...)")
            read, shape = read_layer(kind, config, shape)
            layers.extend(read)
        if shape is None or given is None:
            raise ModelError("the model has no layer that computes", "add a Dense layer")
        kernels = [layer for layer in layers if isinstance(layer, KernelLayer)]
        if any(layer.initialiser == ZEROS for layer in kernels[:-1]):
            raise ModelError("a kernel before the last one is 0 at first, so that nothing learns", "use GlorotUniform")
        count = sum(math.prod(shape) for layer in layers for shape in layer.shapes)
        check_count(count)
        return cls(given, shape, tuple(layers), count)

    @property
    def final_activation(self) -> str:
        """Name the activation that the model ends with."""
        last = self.layers[-1] if self.layers else None
        return last.function if isinstance(last, Activation) else "linear"

    @property
    def moments(self) -> Moments:
        """Return which weights are moving statistics."""
        named = (pair for layer in self.layers for pair in zip(layer.names, layer.shapes, strict=True))
        return moments_among((name, math.prod(shape)) for name, shape in named)

    def rows_at_once(self, most: int) -> int:
        """Return how many rows, at most ``most``, pass through the layers together: what they hold is bounded."""
        return max(1, min(most, _MOST_VALUES // self.row_values))

    def check_row_gradients(self) -> None:
        """Raise ModelError unless ``has_row_gradients``."""
        if self.has_row_gradients:
            return
        mixing = ", ".join(sorted({type(layer).__name__ for layer in self.layers if layer.mixes_rows}))
        what = f"{mixing} mixes the rows of a batch, so that none has a gradient of its own"
        raise ModelError(what, "use LayerNormalization")

    def split(self, vector: NDArray[Any]) -> list[list[NDArray[Any]]]:
        """Return views into ``vector`` (count,): for each layer, its arrays."""
        return [[vector[begun:end].reshape(shape) for begun, end, shape in places] for places in self._places]

    def initial(self, seed: int) -> Vector:
        """Draw the weights (count,) that all peers of a swarm start from."""
        rng = np.random.Generator(np.random.PCG64(seed))
        vector = np.zeros(self.count, np.float32)
        for layer, arrays in zip(self.layers, self.split(vector), strict=True):
            layer.initialise(arrays, rng)
        return vector

    def untaught(self) -> Vector:
        """Return weights (count,) that have learnt nothing, the same in all swarms of this model."""
        return self.initial(0)


def _places(layers: Sequence[Layer]) -> Iterator[tuple[tuple[int, int, Shape], ...]]:
    """Yield for each layer where its arrays begin and end in the weights, and their shapes."""
    position = 0
    for layer in layers:
        begins = list(accumulate((math.prod(shape) for shape in layer.shapes), initial=position))
        yield tuple(zip(begins, begins[1:], layer.shapes, strict=False))
        position = begins[-1]


def _input_shape(config: Fields, sequential: Fields) -> Shape | None:
    """Return the shape of one example, where the first layer or the model says it."""
    places = ((config, "batch_shape"), (config, "batch_input_shape"), (sequential, "build_input_shape"))
    given = ((fields, name, fields.value(name, None)) for fields, name in places)
    return next((_example_shape(fields, name, shape) for fields, name, shape in given if shape is not None), None)


def _example_shape(fields: Fields, name: str, shape: object) -> Shape:
    if not isinstance(shape, (list, tuple)) or not 2 <= len(shape) <= 5:
        raise fields.error(name, shape, "a list: null for the batch, then 1 to 4 sizes")
    sizes = tuple(shape[1:])
    if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MAX_UNITS for size in sizes):
        raise fields.error(name, shape, f"sizes from 1 to {MAX_UNITS} after the batch")
    return sizes
