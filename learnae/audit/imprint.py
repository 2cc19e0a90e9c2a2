"""Weights that let rows pass one by one: units in a row, each with a higher threshold on one direction. Pure.

(Fowl et al. 2022.) The difference of two neighbours' changes is what lies between their thresholds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.weights.codecs import Vector

Array = NDArray[Any]
_FAINT = 1e-3  # of the first layer: what float32 rounds of it is less than what a row changes


def imprint(model: ModelDefinition, like: Array, rng: np.random.Generator) -> Vector:
    """Return weights (count,) that separate rows as ``like`` (n, ...) by their quantiles on a direction at random.

    Where the model begins with a convolution, ``like`` are its patches. All later layers pass on what comes in alike
    from all units. Raises ModelError for a model without two kernels.
    """
    vector = np.zeros(model.count, np.float32)
    kernels = [
        (layer, arrays)
        for layer, arrays in zip(model.layers, model.split(vector), strict=True)
        if isinstance(layer, KernelLayer)
    ]
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
