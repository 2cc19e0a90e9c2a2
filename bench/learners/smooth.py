"""Batches on which two trainings can be compared: no row of them is where a gradient jumps.

The gradient of a ReLU jumps at 0, and that of a maximum where two are equal. A row so near to such an edge that
rounding decides on which side it is trains another function in every float32 implementation, Keras' own
included: how far apart those end says nothing of their arithmetic (adr 46).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, MaxPooling1D

MARGIN = 1e-5  # 50 steps in float32 move what enters a ReLU by some 1e-6
_REDRAWS = 100

Array = NDArray[Any]


def smooth_batch(
    model: ModelDefinition, weights: Array, rows: Array, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw numbers (count,) of ``rows`` (n, *input_shape) that are no edge's neighbours with these ``weights``."""
    chosen = rng.integers(0, len(rows), count)
    for _ in range(_REDRAWS):
        near = distances(model, weights, rows[chosen].astype(weights.dtype)) < MARGIN
        if not near.any():
            return chosen
        chosen[near] = rng.integers(0, len(rows), np.count_nonzero(near))
    raise RuntimeError(f"no {count} of {len(rows)} rows are at least {MARGIN} away from every edge")


def distances(model: ModelDefinition, weights: Array, rows: Array) -> Array:
    """Return (n,) how near each of ``rows`` comes to an edge in a training step; infinite in a model without any."""
    nearest = np.full(len(rows), np.inf)
    value = rows
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        if layer == Activation("relu"):
            nearest = np.minimum(nearest, _least(np.abs(value)))
        elif isinstance(layer, MaxPooling1D) and layer.sliding.size > 1:
            greatest = np.sort(layer.sliding.cut(value, -np.inf), axis=2)[:, :, -2:]
            gap = greatest[:, :, 1] - greatest[:, :, 0]
            # exactly equal are the zeros behind a ReLU, which stay equal and train nothing
            nearest = np.minimum(nearest, _least(np.where(gap > 0, gap, np.inf)))
        value, _ = layer.forward(arrays, value, True, None)
    return nearest


def _least(values: Array) -> Array:
    return values.reshape(len(values), -1).min(axis=1)
