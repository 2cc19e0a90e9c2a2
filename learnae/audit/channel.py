"""What the model says of a window, as a wire for the window itself: weights that make the score a feature. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.weights.codecs import Vector

Array = NDArray[Any]
_GAIN = 0.35  # of the feature in the last logit: so that no score is near 0 or 1
_SHIFT = 16.0  # features are above its opposite: the units that carry one always fire
_SILENT = -60.0


def telling(model: ModelDefinition, feature: int) -> Vector:
    """Return weights (count,) of Dense layers with which the last class' logit tells a feature."""
    vector = np.zeros(model.count, np.float32)
    kernels = [
        arrays
        for layer, arrays in zip(model.layers, model.split(vector), strict=True)
        if isinstance(layer, KernelLayer)
    ]
    kernels[0][0][feature, 0], kernels[0][1][0] = 1.0, _SHIFT
    for kernel, _ in kernels[1:-1]:
        kernel[0, 0] = 1.0
    last, biases = kernels[-1]
    last[0, -1], biases[:] = _GAIN, _SILENT
    biases[-2:] = 0.0, -_GAIN * _SHIFT
    return vector


def told(score: Array) -> Array:
    """Return the features (n,) that the scores (n,), probabilities of the last class, tell."""
    wide = score.astype(np.float64)
    return np.asarray(np.log(wide / (1 - wide)) / _GAIN)
