"""Rows out of weights: what the first layer's change between two updates says of the rows that made it. Pure.

For a row x the gradient of a unit's weights is x times the gradient of its bias: their quotient is the row. Of several
rows the changes are sums of such products, and span the same space as the rows do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.weights.codecs import Vector

Array = NDArray[Any]
MOST_DIRECTIONS = 20  # of the rows' space: beyond so many, what is left is noise of the codec
_AT_ONCE = 64  # rows
_LOUD = 0.3  # of the greatest change of a bias: what is less is noise of the codec


@dataclass(frozen=True, slots=True)
class FirstLayer:
    """The first layer with weights: ``kernel`` (width, units), ``bias`` (units,), None without."""

    kernel: Array
    bias: Array | None


def first_layer(model: ModelDefinition, vector: Array) -> FirstLayer | None:
    """Return views into the weights, or a difference of weights, ``vector`` (count,); None without a kernel."""
    for layer, arrays in zip(model.layers, model.split(vector), strict=True):
        if isinstance(layer, KernelLayer):
            kernel = arrays[0].reshape(-1, arrays[0].shape[-1])
            return FirstLayer(kernel, arrays[1] if layer.bias else None)
    return None


def changes(model: ModelDefinition, replicas: Sequence[Vector]) -> list[FirstLayer]:
    """Return how the first layer changes from one of ``replicas`` (count,) to the next; empty without a kernel."""
    found = (first_layer(model, (after - before).astype(np.float64)) for before, after in pairwise(replicas))
    return [each for each in found if each is not None]


def only_row(change: FirstLayer) -> Array | None:
    """Return the row (width,) that alone has made this change, as far as one has; None where no bias tells."""
    if change.bias is None:
        return None
    size = np.abs(change.bias)
    loud = size > _LOUD * size.max(initial=0.0)
    if not loud.any():
        return None
    return np.asarray(np.median(change.kernel[:, loud] / change.bias[loud], axis=1))


def row_space(found: Sequence[FirstLayer], count: int) -> Array:
    """Return orthonormal directions (width, at most ``count``) that the rows behind these changes span."""
    kernels = [change.kernel for change in found]
    sizes = [float(np.linalg.norm(kernel)) for kernel in kernels]
    scaled = [kernel / size for kernel, size in zip(kernels, sizes, strict=True) if size > 0]
    if not scaled:
        return np.zeros((len(kernels[0]) if kernels else 0, 0))
    left, _, _ = np.linalg.svd(np.concatenate(scaled, axis=1), full_matrices=False)
    return np.asarray(left[:, :count])


def shares(space: Array, rows: Array) -> Array:
    """Return for each of ``rows`` (n, ...) how much of its length lies in ``space`` (width, k): 0 to 1."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    return np.linalg.norm(flat @ space, axis=1) / np.maximum(np.linalg.norm(flat, axis=1), 1e-30)


def quotients(found: Sequence[FirstLayer]) -> Array:
    """Return all that may be a row: the quotient of each unit, and of each two neighbours' difference (n, width).

    Where units fire on the rows beyond one threshold each, in order, the difference of two is what lies between them.
    """
    guesses = [np.zeros((0, 0))]
    for change in found:
        if change.bias is None:
            continue
        guesses = guesses if guesses[0].shape[1] else [np.zeros((0, len(change.kernel)))]
        for kernel, bias in (
            (change.kernel, change.bias),
            (np.diff(change.kernel, axis=1), np.diff(change.bias)),
        ):
            told = bias != 0
            guesses.append((kernel[:, told] / bias[told]).T)
    return np.concatenate(guesses)


def errors(guesses: Array, rows: Array) -> Array:
    """Return for each of ``rows`` (n, ...) the relative error of the nearest of ``guesses`` (m, width): inf if none."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    usable = guesses[np.isfinite(guesses).all(axis=1)]
    result = np.full(len(flat), np.inf)
    if not len(usable):
        return result
    squares = np.einsum("ij,ij->i", usable, usable)
    for begin in range(0, len(flat), _AT_ONCE):
        part = flat[begin : begin + _AT_ONCE]
        nearest = usable[np.argmin(squares - 2 * (part @ usable.T), axis=1)]
        lengths = np.maximum(np.linalg.norm(part, axis=1), 1e-30)
        result[begin : begin + _AT_ONCE] = np.linalg.norm(nearest - part, axis=1) / lengths
    return result
