"""Whether a model takes rows as they are: what depends on that their first layer normalises them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

NORMALISING = ("BatchNormalization", "Normalization")
MOVING_VARIANCE = "moving_variance"  # as Keras names it, and so do we


def normalises_rows(config: Mapping[str, Any]) -> bool:
    """Whether the first layer of a model that has been checked (Keras' configuration) normalises."""
    kinds = [layer["class_name"] for layer in config["config"]["layers"]]
    return next((kind for kind in kinds if kind != "InputLayer"), None) in NORMALISING


def as_used(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The weights of ``name`` as every learner computes with them: a variance below 0, which merging can give, is 0."""
    return np.maximum(array, 0) if name == MOVING_VARIANCE else array
