"""A model's layers as an inference program runs them: some are part of the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, Array, BatchNormalization, Conv1D, Dense, Dropout, Layer
from learnae.weights.codecs import Vector


@dataclass(frozen=True, slots=True)
class Stage:
    """A layer with its arrays in Keras' layout, and whether its operator takes the maximum with 0 at the end."""

    layer: Layer
    arrays: list[Array]
    relu: bool = False

    def forward(self, rows: Array) -> Array:
        """Compute (n, *shape) -> (n, *shape of the output), in NumPy."""
        value, _ = self.layer.forward(self.arrays, rows, False, None)
        return np.maximum(value, 0) if self.relu else value


def stages(model: ModelDefinition, weights: Vector) -> list[Stage]:
    """Return the model's stages: without Dropout; ReLU and BatchNormalization join a Dense or Conv1D before them."""
    result: list[Stage] = []
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        last = result[-1] if result else None
        if isinstance(layer, Dropout):
            continue
        if last is None or not isinstance(last.layer, (Dense, Conv1D)) or last.relu:
            result.append(Stage(layer, arrays))
        elif layer == Activation("relu"):
            result[-1] = replace(last, relu=True)
        elif isinstance(layer, BatchNormalization):
            result[-1] = _folded(last.layer, last.arrays, layer, arrays)
        else:
            result.append(Stage(layer, arrays))
    return result


def scale_and_shift(layer: BatchNormalization, arrays: list[Array]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what BatchNormalization multiplies with and adds, each (size,): its moving statistics stand still."""
    scale = 1 / np.sqrt(np.maximum(arrays[-1].astype(np.float64), 0) + layer.epsilon)
    scale = scale * arrays[0] if layer.scale else scale
    return scale, (arrays[layer.scale] if layer.centre else 0) - arrays[-2] * scale


def _folded(layer: Dense | Conv1D, arrays: list[Array], normalisation: BatchNormalization, own: list[Array]) -> Stage:
    scale, shift = scale_and_shift(normalisation, own)
    bias = shift + (arrays[1] * scale if layer.bias else 0)
    return Stage(replace(layer, bias=True), [(arrays[0] * scale).astype(np.float32), bias.astype(np.float32)])
