"""The layers that every learner knows. One file a family; each layer is a frozen dataclass whose
``forward`` and ``backward`` are functions of explicit arrays in any float type.
"""

from learnae.models.layers.activation import ACTIVATIONS, Activation, activate
from learnae.models.layers.base import MAX_UNITS, Array, Layer, Shape
from learnae.models.layers.convolution import Conv1D
from learnae.models.layers.dense import Dense
from learnae.models.layers.dropout import Dropout
from learnae.models.layers.normalisation import BatchNormalization, LayerNormalization
from learnae.models.layers.pooling import GlobalAveragePooling1D, MaxPooling1D
from learnae.models.layers.shaping import Flatten, Reshape
from learnae.models.layers.sliding import Sliding

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
]
