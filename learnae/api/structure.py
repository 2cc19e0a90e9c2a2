"""Weights as a caller has them: one vector, arrays in order, or arrays by name; and back, alike in shape and type.

Arrays are NumPy's, or torch tensors: these are known by their module, and torch is not imported.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Shape
from learnae.models.outline import Model
from learnae.models.parameters import ParameterList
from learnae.text import counted
from learnae.weights.codecs import Vector
from learnae.weights.frames import MAX_MAGNITUDE

Array = NDArray[Any]
Rebuild = Callable[[Vector], Any]
_FORMS = "give a vector, a list of arrays, or a dict of arrays by name"
_FLOATS = (np.float16, np.float32, np.float64)


class Structure:
    """The arrays of one model, in their order: ``read`` takes a caller's weights apart, ``natural`` is without any.

    All peers exchange float32: of float64 the rest is lost, float16 and bfloat16 are rounded back. Integers, booleans
    and arrays of a dict that the model does not name stay as they are, on this machine.

    >>> from learnae.swarm.presets import dense_config
    >>> structure = Structure(ModelDefinition.from_config(dense_config(2, (), 1, "linear")))
    >>> vector, rebuild = structure.read([np.ones((2, 1)), np.zeros(1)])
    >>> vector
    array([1., 1., 0.], dtype=float32)
    >>> rebuild(vector + 1)
    [array([[2.],
           [2.]]), array([1.])]
    """

    def __init__(self, model: Model) -> None:
        self._count = model.count
        self._is_named = isinstance(model, ParameterList)
        self.places: tuple[tuple[str, Shape], ...] | None = _places(model)  # None where only Keras knows them

    def natural(self, vector: Vector) -> Any:
        """Return weights (count,) as a list of arrays in the model's order; as the vector where shapes are not known.

        Of a model that is defined by its parameters alone, a dict of arrays by name.
        """
        if self.places is None:
            return vector.copy()
        if self._is_named:
            return self._named(vector)
        return [part.reshape(shape).copy() for (_, shape), part in zip(self.places, self._parts(vector), strict=True)]

    def read(self, weights: object) -> tuple[Vector, Rebuild]:
        """Return weights as one float32 vector (count,), and what makes another such one alike to them.

        Raises ModelError for what does not fit the model, or is not finite.
        """
        if isinstance(weights, Mapping):
            return self._read_map(weights)
        if isinstance(weights, (list, tuple)):
            return self._read_sequence(weights)
        return self._read_one(weights)

    def _read_one(self, given: object) -> tuple[Vector, Rebuild]:
        array = _array_of(given, "the weights")
        if array.dtype.kind != "f" or array.ndim != 1 or len(array) != self._count:
            raise ModelError(
                f"weights of shape {array.shape}, {array.dtype}",
                f"the model has {self._count} parameters: {_FORMS}, of floats",
            )
        return _float32(array, "the weights"), lambda vector: _like(given, vector)

    def _read_sequence(self, given: Sequence[object]) -> tuple[Vector, Rebuild]:
        arrays = [_array_of(item, f"array {index} of the weights") for index, item in enumerate(given)]
        mine = [index for index, array in enumerate(arrays) if array.dtype.kind == "f" and array.size]
        self._check_sequence([arrays[index] for index in mine])

        def rebuild(vector: Vector) -> Any:
            result, position = list(given), 0
            for index in mine:
                result[index] = _like(given[index], vector[position : position + arrays[index].size])
                position += arrays[index].size
            return result if isinstance(given, list) else _tuple_like(given, result)

        return _joined([_float32(arrays[index], f"array {index} of the weights") for index in mine]), rebuild

    def _check_sequence(self, arrays: Sequence[Array]) -> None:
        found = [array.shape for array in arrays]
        if self.places is None:
            if sum(map(math.prod, found)) != self._count:
                raise ModelError(
                    f"weights of {sum(map(math.prod, found))} values", f"the model has {self._count} parameters"
                )
            return
        wanted = [shape for _, shape in self.places]
        if len(found) != len(wanted):
            raise ModelError(
                f"{counted(len(found), 'array')} of floats", f"the model has {len(wanted)}: {_shown(self.places)}"
            )
        for index, (shape, (name, want)) in enumerate(zip(found, self.places, strict=True)):
            if shape != want:
                raise ModelError(f"array {index} of the weights has shape {shape}", f"{name} of the model has {want}")

    def _read_map(self, given: Mapping[Any, object]) -> tuple[Vector, Rebuild]:
        if self.places is None:
            raise ModelError("a dict of weights of a model that only Keras knows", "give a list, as get_weights() does")
        arrays = []
        for name, shape in self.places:
            if name not in given:
                raise ModelError(
                    f"the weights have no array {name!r} ({', '.join(map(str, list(given)[:5]))})",
                    f"the model has {_shown(self.places)}",
                )
            array = _array_of(given[name], f"{name!r} of the weights")
            if array.shape != shape or array.dtype.kind != "f":
                raise ModelError(
                    f"{name!r} of the weights has shape {array.shape}, {array.dtype}",
                    f"the model has {shape}, of floats",
                )
            arrays.append(_float32(array, f"{name!r} of the weights"))

        def rebuild(vector: Vector) -> Any:
            result: Any = copy.copy(given) if isinstance(given, MutableMapping) else dict(given)
            for (name, shape), part in zip(self.places or (), self._parts(vector), strict=True):
                result[name] = _like(given[name], part.reshape(shape))
            return result

        return _joined(arrays), rebuild

    def _named(self, vector: Vector) -> dict[str, Array]:
        places = self.places or ()
        return {
            name: part.reshape(shape).copy() for (name, shape), part in zip(places, self._parts(vector), strict=True)
        }

    def _parts(self, vector: Vector) -> list[Vector]:
        ends = np.cumsum([math.prod(shape) for _, shape in self.places or ()])
        return np.split(vector, ends[:-1])


def arrays_by_name(parameters: object) -> dict[str, Array]:
    """Return a caller's ``state_dict``, or any other map of arrays, with NumPy's arrays; raises ModelError."""
    if not isinstance(parameters, Mapping):
        raise ModelError(f"parameters is a {type(parameters).__name__}", "give a dict of arrays by name")
    for name in parameters:
        if not isinstance(name, str):
            raise ModelError(f"parameters holds the name {name!r:.40}", "names are texts")
    return {name: _array_of(value, f"{name!r} of the parameters") for name, value in parameters.items()}


def _places(model: Model) -> tuple[tuple[str, Shape], ...] | None:
    if isinstance(model, ParameterList):
        return model.places
    if isinstance(model, ModelDefinition):
        return tuple(
            (f"layer.{index}.{name}", shape)
            for index, layer in enumerate(model.layers)
            for name, shape in zip(layer.names, layer.shapes, strict=True)
        )
    return None


def _array_of(value: object, what: str) -> Array:
    """Return what ``value`` holds, as NumPy has it; raises ModelError for what is no array of numbers."""
    if type(value).__module__.partition(".")[0] == "torch":
        tensor: Any = value
        if not hasattr(tensor, "detach"):
            raise ModelError(f"{what}: a {type(value).__name__}", _FORMS)
        tensor = tensor.detach().cpu()
        try:
            return np.asarray((tensor.float() if tensor.dtype.is_floating_point else tensor).numpy())
        except (TypeError, RuntimeError) as error:  # a sparse one, such as no array is
            raise ModelError(f"{what}: {error}", "give dense tensors") from error
    is_array = isinstance(value, (np.ndarray, np.generic, float, int)) or hasattr(value, "__array__")
    if not is_array or isinstance(value, np.ma.MaskedArray):
        raise ModelError(f"{what}: a {type(value).__name__}", _FORMS)
    array = np.asarray(value)
    if array.dtype.kind == "V" and array.dtype.name == "bfloat16":  # of ml_dtypes, as JAX has it
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and array.dtype.type not in _FLOATS):
        raise ModelError(
            f"{what}: {array.dtype}", "float16, float32 and float64 are exchanged, integers are left alone"
        )
    return array


def _float32(array: Array, what: str) -> Vector:
    with np.errstate(over="ignore"):
        result: Vector = array.astype(np.float32, copy=True).ravel()
    if not (np.abs(result) <= MAX_MAGNITUDE).all():
        raise ModelError(
            f"{what}: not all of it are numbers up to {MAX_MAGNITUDE:g}",
            "training has diverged: scale rows, or take smaller steps",
        )
    return result


def _joined(parts: Sequence[Vector]) -> Vector:
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _like(given: Any, values: Vector) -> Any:
    """Return ``values`` in the shape and type of ``given``, on its device."""
    if type(given).__module__.partition(".")[0] == "torch":
        torch, result = sys.modules["torch"], given.detach().clone()
        result.copy_(torch.from_numpy(_within(values, torch.finfo(given.dtype).max).reshape(tuple(given.shape))))
        return result
    shape, kind = np.shape(given), np.asarray(given).dtype
    if kind.kind == "f":
        values = _within(values, float(np.finfo(kind).max))
    result = np.array(values, kind).reshape(shape)
    if isinstance(given, float) and not isinstance(given, np.generic):
        return float(result)
    return result[()] if isinstance(given, np.generic) else result


def _within(values: Vector, most: float) -> Vector:
    """Return a copy of ``values`` that a type can hold: what was merged may be a little beyond what each has."""
    bound = min(most, float(np.finfo(np.float32).max))
    return np.asarray(np.clip(values, np.float32(-bound), np.float32(bound)))  # of a single one it is a scalar


def _tuple_like(given: Any, items: list[Any]) -> Any:
    return type(given)._make(items) if hasattr(given, "_make") else tuple(items)


def _shown(places: Sequence[tuple[str, Shape]]) -> str:
    most = 8
    told = ", ".join(f"{name} {shape}" for name, shape in places[:most])
    return told + (f" and {len(places) - most} more" if len(places) > most else "")
