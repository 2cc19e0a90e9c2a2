"""Weights that let rows pass one by one: units in a row, each with a higher threshold on one direction. Pure.

(Fowl et al. 2022.) The difference of two neighbours' changes is what lies between their thresholds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.models.layers.over_time import Conv1D
from learnae.weights.codecs import Vector

Array = NDArray[Any]
_FAINT = 1e-3  # of the first layer: what float32 rounds of it is less than what a row changes


def imprint(model: ModelDefinition, like: Array, rng: np.random.Generator) -> Vector:
    """Return weights (count,) that separate rows by the quantiles of ``like`` (n, width) on a direction at random.

    ``like`` are rows, or patches, as the first kernel takes them in (``inputs_of``). All later layers pass on what
    comes in alike from all units. Raises ModelError for a model without two kernels, or biases.
    """
    vector = np.zeros(model.count, np.float32)
    kernels = []
    for layer, arrays in zip(model.layers, model.split(vector), strict=True):
        if isinstance(layer, KernelLayer):
            kernels.append((layer, arrays))
        else:
            layer.initialise(arrays, rng)
    if len(kernels) < 2 or not kernels[0][0].bias:
        raise ModelError("the first layer has no thresholds to part rows by", "")
    flat = like.reshape(len(like), -1)
    (_, first), *later = kernels
    units = first[0].shape[-1]
    direction = rng.normal(size=flat.shape[1])
    direction *= _FAINT / np.linalg.norm(direction)
    first[0][:] = np.repeat(direction[:, None], units, axis=1).reshape(first[0].shape)
    first[1][:] = -np.quantile(flat @ direction, np.arange(units) / units)
    for _, arrays in later:
        outputs = arrays[0].shape[-1]
        inputs = arrays[0].size // outputs
        arrays[0][:] = (rng.normal(size=outputs) / np.sqrt(inputs)).astype(np.float32)
    return vector


def inputs_of(model: ModelDefinition, rows: Array) -> Array:
    """Return what the first kernel takes in of ``rows`` (n, *input): them (n, width), or all their patches."""
    value = rows
    for layer, arrays in zip(model.layers, model.split(np.zeros(model.count, np.float32)), strict=True):
        if isinstance(layer, Conv1D):
            patches = layer.sliding.cut(value, 0.0)
            return np.asarray(patches.reshape(-1, patches.shape[-2] * patches.shape[-1]))
        if isinstance(layer, KernelLayer):
            return np.asarray(value.reshape(-1, value.shape[-1]))
        if layer.shapes:  # it normalises: rows as they are stand for what comes out
            continue
        value, _ = layer.forward(arrays, value, False, None)
    return value
