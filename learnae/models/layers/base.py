"""The base class of layers."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Sequence[Array]
Shape = tuple[int, ...]
MAX_UNITS = 1 << 20  # of one axis
_BLOCK = 120  # rows: with the sums of five blocks, fewer roundings than learnae.privacy.noise.grid.ADDITIONS


class Cost(NamedTuple):
    """What a layer makes of one row: its ``shape`` behind it, the ``values`` that a training step holds of it.

    ``products`` are multiplications on the way forward; a training step has three times as many.
    """

    shape: Shape
    values: int
    products: int


class Layer:
    """A layer without arrays of its own; a layer that has some overrides more."""

    __slots__ = ()

    mixes_rows: ClassVar[bool] = False  # in training: then a row has no gradient of its own

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

    def cost(self, shape: Shape) -> Cost:
        """Return what a row of this ``shape`` costs here: as many values again, unless a layer knows better."""
        return Cost(shape, math.prod(shape), math.prod(shape))

    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Any]:
        """Return the output for ``value`` (n, *shape), and what the passes back need as ``memory``."""
        raise NotImplementedError

    def backward(self, arrays: Arrays, memory: Any, flow: Array) -> Array:
        """Return the gradient of ``value``; ``flow`` is that of the output."""
        raise NotImplementedError

    def gradients(self, slots: Arrays, memory: Any, flow: Array) -> None:
        """Write the gradients of the layer's arrays to ``slots``, which are zero."""

    def squared_norms(self, memory: Any, flow: Array) -> Array:
        """Return (n,): for each row, the squares of its own gradient of the layer's arrays, summed."""
        return np.zeros(len(flow), flow.dtype)

    def moved(self, arrays: Arrays, slots: Arrays, memory: Any) -> bool:
        """Write to ``slots`` by how much a training step moves arrays that no gradient trains.

        Returns False, and writes nothing, for layers that have none.
        """
        return False


def squares_of(value: Array) -> Array:
    """Return (n,): the squares of each row's values (n, ...), summed."""
    flat = value if value.ndim == 2 else value.reshape(len(value), -1)
    return np.asarray(np.einsum("ni,ni->n", flat, flat))


def sum_of_blocks(of: Callable[..., Array], *rows: Array, out: Array | None = None) -> Array:
    """Return ``of(*rows)``, a sum over rows (n, ...), as the sum of what it is for blocks of them: few roundings each.

    It is written to ``out``, if that is given.

    >>> sum_of_blocks(lambda rows: rows.sum(axis=0), np.ones((1000, 2), np.float32)).tolist()
    [1000.0, 1000.0]
    """
    first = [each[:_BLOCK] for each in rows]
    total = of(*first) if out is None else of(*first, out=out)
    for start in range(_BLOCK, len(rows[0]), _BLOCK):
        total += of(*(each[start : start + _BLOCK] for each in rows))
    return total


def parts_of(vector: Array, shapes: Iterable[Shape]) -> Iterator[Array]:
    """Yield views into ``vector`` (count,), one of each shape, one after another."""
    position = 0
    for shape in shapes:
        begun, position = position, position + math.prod(shape)
        yield vector[begun:position].reshape(shape)
