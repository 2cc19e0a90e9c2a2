"""Losses, each fused with the activation that it belongs to, so that gradients stay exact.

The gradient before the final activation is ``(prediction - target)`` times a constant: softmax with
cross-entropy, sigmoid with binary cross-entropy, linear with squared error; Huber's loss (1964)
bounds that difference to one. Squared error and Huber serve regression, forecasting and the
autoencoder, whose target is its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError
from learnae.models.outline import Model

Array = NDArray[Any]
_EPSILON = 1e-7  # as Keras clips probabilities

FINAL_ACTIVATIONS = {
    "sparse_categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
    "mean_squared_error": "linear",
    "huber": "linear",
}
REGRESSIONS = ("mean_squared_error", "huber")
HUBER_DELTA = 1.0  # Keras' default: errors beyond it cost linearly
LOSSES = tuple(FINAL_ACTIVATIONS)


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss by its Keras name. Targets: (n,) class numbers, or (n, *outputs) values."""

    name: str

    @classmethod
    def for_model(cls, name: str, model: Model) -> Loss:
        """Return the loss if ``model`` ends with the activation that it needs; raises ModelError."""
        if name not in FINAL_ACTIVATIONS:
            raise ModelError(f"loss {name!r} is not supported", f"use {', '.join(LOSSES)}")
        if model.final_activation != FINAL_ACTIVATIONS[name]:
            raise ModelError(
                f"the model ends with {model.final_activation}",
                f"loss {name} needs {FINAL_ACTIVATIONS[name]} at the end",
            )
        if name == "sparse_categorical_crossentropy" and len(model.output_shape) != 1:
            raise ModelError(
                f"the model's output has the shape {model.output_shape}",
                f"loss {name} needs one value a class: put Flatten or GlobalAveragePooling1D before the last layer",
            )
        return cls(name)

    @property
    def is_classification(self) -> bool:
        """Return True if targets are classes: accuracy is defined."""
        return self.name not in REGRESSIONS

    def value(self, prediction: Array, target: Array) -> float:
        """Return the mean loss of ``prediction`` (n, *outputs)."""
        if self.name == "mean_squared_error":
            return float(np.mean((prediction - target) ** 2))
        if self.name == "huber":
            error = np.abs(prediction - target)
            near = np.minimum(error, HUBER_DELTA)
            return float(np.mean(near * near / 2 + HUBER_DELTA * (error - near)))
        if self.name == "binary_crossentropy":
            clipped = np.minimum(np.maximum(prediction, _EPSILON), 1 - _EPSILON)
            likely = target * np.log(clipped) + (1 - target) * np.log(1 - clipped)
            return -float(likely.sum() / likely.size)  # a third of the time of np.mean, which a step notices
        clipped = np.clip(prediction[np.arange(len(target)), target], _EPSILON, 1 - _EPSILON)
        return float(-np.mean(np.log(clipped)))

    def gradient(self, prediction: Array, target: Array) -> Array:
        """Return the gradient (n, *outputs) of the mean loss with respect to the final activation's input."""
        if self.name == "mean_squared_error":
            return (prediction - target) * prediction.dtype.type(2 / prediction.size)
        if self.name == "huber":
            error = np.clip(prediction - target, -HUBER_DELTA, HUBER_DELTA)
            return error / prediction.dtype.type(prediction.size)
        if self.name == "binary_crossentropy":
            return (prediction - target) / prediction.dtype.type(prediction.size)
        gradient = prediction.copy()
        gradient[np.arange(len(target)), target] -= 1
        gradient /= len(target)
        return gradient

    def accuracy(self, prediction: Array, target: Array) -> float:
        """Return the share of rows (or outputs) classified rightly."""
        if self.name == "binary_crossentropy":
            return float(np.mean((prediction > 0.5) == (target > 0.5)))
        return float(np.mean(prediction.argmax(axis=1) == target))


def explained(squared: float, targets: Array, batch: int) -> float | None:
    """Return R²: 1 - ``squared`` over the squares of ``targets`` (n, *outputs) about their mean.

    ``squared`` is the sum of squared errors; targets are taken ``batch`` at a time. None where they do not vary.
    """
    parts = [slice(start, start + batch) for start in range(0, len(targets), batch)]
    mean = sum(np.sum(targets[part], axis=0, dtype=np.float64) for part in parts) / len(targets)
    total = float(sum(np.sum(np.square(targets[part] - mean, dtype=np.float64)) for part in parts))
    return 1 - squared / total if total > 0 else None


def reconstruction_error(output: Array, rows: Array) -> Array:
    """Return the anomaly scores (n,): the mean squared difference of an autoencoder's ``output`` from its ``rows``."""
    difference = (output - rows).reshape(len(rows), -1)
    return np.asarray(np.mean(difference * difference, axis=1))
