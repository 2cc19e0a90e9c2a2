"""What the model says of a window, as a wire for the window itself: weights that make the score a feature. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.layers.dense import KernelLayer
from learnae.weights.codecs import Vector

Array = NDArray[Any]
_GAIN = 0.35  # of the feature in the last logit: so that no score is near 0 or 1
_SHIFT = 16.0  # features are above its opposite: the units that carry one always fire
_SILENT = -60.0


def telling(model: ModelDefinition, feature: int) -> Vector:
    """Return weights (count,) with which the score of the last class tells a feature.

    Raises ModelError unless rows are flat and each layer with a kernel has biases.
    """
    vector = np.zeros(model.count, np.float32)
    layers = list(zip(model.layers, model.split(vector), strict=True))
    for layer, arrays in layers:
        if not isinstance(layer, KernelLayer):
            layer.initialise(arrays, np.random.default_rng(0))
    kernels = [(layer, arrays) for layer, arrays in layers if isinstance(layer, KernelLayer)]
    if len(model.input_shape) > 1 or not kernels or not all(layer.bias for layer, _ in kernels):
        raise ModelError("not tried for a model of this kind", "")
    *carriers, (_, (last, biases)) = kernels
    for number, (_, (kernel, bias)) in enumerate(carriers):
        kernel[0 if number else feature, 0], bias[0] = 1.0, 0.0 if number else _SHIFT
    last[0 if carriers else feature, -1], biases[:-2] = _GAIN, _SILENT
    biases[-1] = -_GAIN * _SHIFT if carriers else 0.0
    return vector


def told(score: Array) -> Array:
    """Return the features (n,) that the scores (n,), probabilities of the last class, tell."""
    wide = score.astype(np.float64)
    return np.asarray(np.log(wide / (1 - wide)) / _GAIN)
