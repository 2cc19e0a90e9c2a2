"""The base class of layers."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Sequence[Array]
Shape = tuple[int, ...]
MAX_UNITS = 1 << 20  # of one axis


class Layer:
    """A layer without arrays of its own; a layer that has some overrides more."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name the layer's arrays, in the order of Keras' ``get_weights()``."""
        return ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of the layer's arrays, in the same order."""
        return ()

    def initialise(self, arrays: Arrays, rng: Generator) -> None:
        """Fill ``arrays``, which are zero, with their initial values."""

    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Any]:
        """Return the output for ``value`` (n, *shape), and what ``backward`` needs as ``memory``."""
        raise NotImplementedError

    def backward(self, arrays: Arrays, slots: Arrays, memory: Any, flow: Array, further: bool) -> Array:
        """Write the gradients of ``arrays`` to ``slots``, which are zero; return the gradient of ``value``.

        ``flow`` is the gradient of the output. The result does not matter unless ``further``.
        """
        raise NotImplementedError

    def moved(self, arrays: Arrays, slots: Arrays, memory: Any) -> bool:
        """Write to ``slots`` by how much a training step moves arrays that no gradient trains.

        Returns False, and writes nothing, for layers that have none.
        """
        return False


def parts_of(vector: Array, shapes: Iterable[Shape]) -> Iterator[Array]:
    """Yield views into ``vector`` (count,), one of each shape, one after another."""
    position = 0
    for shape in shapes:
        begun, position = position, position + math.prod(shape)
        yield vector[begun:position].reshape(shape)
