"""One pass of the same rows through many weights of a model: less work than one pass after another."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, Array, Dense, Dropout, activate
from learnae.weights.codecs import Vector

_VALUES = 1 << 18  # of weights, and of what a pass makes of them, at once: a megabyte stays near the core


def is_stackable(model: ModelDefinition) -> bool:
    """Return True for layers that are Dense and an activation, in turn."""
    kinds = [type(layer) for layer in model.layers if not isinstance(layer, Dropout)]
    return len(kinds) % 2 == 0 and kinds == [Dense, Activation] * (len(kinds) // 2)


class Stacked:
    """Passes ``rows`` (n, inputs) through many weights of a model that ``is_stackable``.

    A bias is not added to all rows: as max(x + b, 0) = max(x, -b) + b, it is added once, to the next one.
    """

    def __init__(self, model: ModelDefinition, rows: Array) -> None:
        self._layers = [layer for layer in model.layers if isinstance(layer, Dense)]
        self._functions = [layer.function for layer in model.layers if isinstance(layer, Activation)]
        self._rows = rows
        widths = [layer.units for layer in self._layers]
        self._most = max(1, _VALUES // (model.count + len(rows) * sum(widths)))
        self._rooms = [np.empty((self._most, len(rows), width), np.float32) for width in widths]  # fresh memory is slow

    def final_sums(self, several: Iterable[Vector]) -> Iterator[Array]:
        """Yield (k, outputs, n): what enters the last activation, with each of the first k of ``several`` weights.

        Then the same for the next ones; what was yielded before is overwritten. Rows come last, so that what is made of
        the outputs of one is fast.
        """
        left = iter(several)
        while taken := list(islice(left, self._most)):
            stack, value, place = taken[0][None] if len(taken) == 1 else np.stack(taken), self._rows, 0
            lacking: Array = np.zeros((1, 1, value.shape[1]), np.float32)  # in ``value``: the same for all rows
            for layer, function, room in zip(self._layers, self._functions, self._rooms, strict=True):
                middle = place + layer.inputs * layer.units
                kernels = stack[:, place:middle].reshape(len(stack), layer.inputs, layer.units)
                place = middle + layer.units * layer.bias
                lacking = lacking @ kernels + (stack[:, None, middle:place] if layer.bias else 0)
                if layer is self._layers[-1]:
                    sums = room[: len(stack)].reshape(len(stack), layer.units, len(self._rows))
                    np.matmul(kernels.transpose(0, 2, 1), np.swapaxes(value, -1, -2), out=sums)
                    sums += lacking.transpose(0, 2, 1)
                    yield sums
                    continue
                value = np.matmul(value, kernels, out=room[: len(stack)])
                if function == "relu":
                    np.maximum(value, -lacking, out=value)
                else:
                    value += lacking
                    value, lacking = activate(function, value), np.zeros_like(lacking)
