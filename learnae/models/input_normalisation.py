"""Models whose first layer normalises rows, and the weights of such layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMALISING = ("BatchNormalization", "Normalization")
MOVING_VARIANCE = "moving_variance"  # as in Keras, and in layers.normalisation


def normalises_rows(config: Mapping[str, Any]) -> bool:
    """Return True if the first layer of a checked model (Keras' configuration) normalises."""
    kinds = [layer["class_name"] for layer in config["config"]["layers"]]
    return next((kind for kind in kinds if kind != "InputLayer"), None) in NORMALISING


def as_used(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the weights ``name`` as every learner uses them: a variance below 0, which merging can give, is 0."""
    return np.maximum(array, 0) if name == MOVING_VARIANCE else array
