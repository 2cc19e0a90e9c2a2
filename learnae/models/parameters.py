"""A model that its members' own programs train: nothing is known of it but its parameters, by name and shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from learnae.errors import ModelError
from learnae.ipld.fields import Fields
from learnae.models.layers import Shape
from learnae.models.outline import MAX_PARAMETERS, check_count
from learnae.weights.codecs import Vector

KIND = "Parameters"  # where a Keras configuration has its class_name
MAX_ARRAYS = 4096
MAX_NAME_BYTES = 256
_MAX_RANK = 8


@dataclass(frozen=True, slots=True)
class ParameterList:
    """The float arrays of a model in their order, each with its name and shape; ``count`` values in all.

    >>> ParameterList.from_config(config_of({"weight": (3, 2), "bias": (2,)})).count
    8
    """

    places: tuple[tuple[str, Shape], ...]
    count: int

    @classmethod
    def from_config(cls, config: object) -> ParameterList:
        """Check what a manifest has in place of a Keras configuration; raises ModelError."""
        fields = Fields(config, "model", ModelError)
        inner = fields.fields("config")
        given = inner.value("parameters")
        if not isinstance(given, (list, tuple)) or not 1 <= len(given) <= MAX_ARRAYS:
            raise ModelError("model.config.parameters", f"it must be a list of 1 to {MAX_ARRAYS} arrays")
        places = tuple(_place(index, item) for index, item in enumerate(given))
        names = {name for name, _ in places}
        if len(names) < len(places):
            raise ModelError("two parameters of the model have one name", "give each a name of its own")
        if config_of(dict(places)) != _plain(config):
            raise ModelError("the model's parameters say more than names and shapes", "leave that out")
        count = sum(math.prod(shape) for _, shape in places)
        check_count(count)
        return cls(places, count)

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Return the arrays by name, copies of what is in ``vector`` (count,)."""
        ends = list(accumulate(math.prod(shape) for _, shape in self.places))
        parts = np.split(vector, ends[:-1])
        return {name: part.reshape(shape).copy() for (name, shape), part in zip(self.places, parts, strict=True)}

    @property
    def input_shape(self) -> Shape:
        """Return (): rows are known to the members' programs alone."""
        return ()

    @property
    def output_shape(self) -> Shape:
        """Return (), as ``input_shape``."""
        return ()

    @property
    def final_activation(self) -> str:
        """Return "": it is known to the members' programs alone."""
        return ""

    @property
    def has_row_gradients(self) -> bool:
        """Return False: gradients stay in the members' programs."""
        return False


def is_parameters(config: object) -> bool:
    """Return True if ``config`` defines a model by its parameters alone."""
    return isinstance(config, Mapping) and config.get("class_name") == KIND


def config_of(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Return what a manifest has in place of a Keras configuration."""
    places = [{"name": name, "shape": list(shape)} for name, shape in shapes.items()]
    return {"class_name": KIND, "config": {"parameters": places}}


def _place(index: int, item: object) -> tuple[str, Shape]:
    fields = Fields(item, f"parameter {index}", ModelError)
    name, sizes = fields.text("name", MAX_NAME_BYTES), fields.value("shape")
    if not name or name != name.strip() or len(name.encode()) > MAX_NAME_BYTES:
        raise ModelError(f"parameter {index} has the name {name[:40]!r}", f"use 1 to {MAX_NAME_BYTES} bytes of text")
    if not isinstance(sizes, (list, tuple)) or len(sizes) > _MAX_RANK:
        raise fields.error("shape", sizes, f"a list of at most {_MAX_RANK} sizes")
    return name, fields.integers("shape", len(sizes), 1, MAX_PARAMETERS)


def _plain(value: Any) -> Any:
    """Return ``value`` with lists for tuples, and dicts for other maps."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
