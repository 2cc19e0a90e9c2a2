"""A swarm's model with weights, as a function of rows: whatever builds it, NumPy or Keras."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ConfigurationError
from learnae.models.batch_learner import Predictor
from learnae.models.keras_model import absent_of_keras, build_model, set_flat
from learnae.models.reference.numpy_model import predict
from learnae.swarm.manifest import Manifest
from learnae.system.installation import how_to_install
from learnae.weights.codecs import Vector

_BATCH, _BATCH_VALUES = 256, 1 << 22  # rows, and values of them, that Keras gets at once: always as many, compiled once


def predictor(manifest: Manifest, weights: Vector) -> Predictor:
    """Return the model of ``weights`` (count,) as a function of any number of rows.

    Raises ConfigurationError for one that only Keras builds, where that is not installed.
    """
    if not manifest.only_keras:
        return partial(predict, manifest.definition, weights)
    model = keras_model(manifest, weights)
    size = max(1, min(_BATCH, _BATCH_VALUES // math.prod(manifest.model.input_shape)))

    def said(rows: NDArray[Any]) -> NDArray[Any]:
        outputs = [np.empty((0, *manifest.model.output_shape), np.float32)]
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            filled = np.resize(part, (size, *part.shape[1:]))
            outputs.append(np.asarray(model.predict_on_batch(filled), np.float32)[: len(part)])
        return np.concatenate(outputs)

    return said


def keras_model(manifest: Manifest, weights: Vector, otherwise: str = "") -> Any:
    """Build the Keras model with ``weights``; raises ConfigurationError, whose remedy also names what ``otherwise``."""
    if absent := absent_of_keras():
        raise ConfigurationError(f"{absent[0]} is not installed", how_to_install("trainer") + otherwise)
    model = build_model(manifest.config)
    set_flat(model, weights)
    return model
