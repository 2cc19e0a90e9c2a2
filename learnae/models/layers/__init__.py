"""The layers that every learner knows. One file a family; each layer is a frozen dataclass whose
``forward`` and ``backward`` are functions of explicit arrays in any float type.
"""

from learnae.models.layers.base import MAX_UNITS, Array, Layer, Shape, parts_of
from learnae.models.layers.dense import Dense
from learnae.models.layers.normalisation import BatchNormalization, LayerNormalization
from learnae.models.layers.over_time import Conv1D, GlobalAveragePooling1D, MaxPooling1D, Sliding
from learnae.models.layers.plain import ACTIVATIONS, Activation, Dropout, Flatten, Reshape, activate

__all__ = [
    "ACTIVATIONS",
    "MAX_UNITS",
    "Activation",
    "Array",
    "BatchNormalization",
    "Conv1D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling1D",
    "Layer",
    "LayerNormalization",
    "MaxPooling1D",
    "Reshape",
    "Shape",
    "Sliding",
    "activate",
    "parts_of",
]
