"""Clipped sums the slow way: one row after another, in float64. The oracle of every learner's own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.batch_learner import ClippedSum
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.reference.numpy_model import differentiate
from learnae.privacy.clipping import WITHIN


def row_gradients(
    model: ModelDefinition, loss: Loss, weights: NDArray[Any], rows: NDArray[Any], targets: NDArray[Any]
) -> tuple[NDArray[np.float64], list[float]]:
    """Gradients (n, count) of each row's own loss, and the losses."""
    wide = weights.astype(np.float64), rows.astype(np.float64)
    found = [
        differentiate(model, loss, wide[0], wide[1][one : one + 1], targets[one : one + 1]) for one in range(len(rows))
    ]
    return np.array([each.gradient for each in found]).reshape(len(rows), model.count), [each.loss for each in found]


def sum_by_rows(
    model: ModelDefinition, loss: Loss, weights: NDArray[Any], rows: NDArray[Any], targets: NDArray[Any], bound: float
) -> ClippedSum:
    """What ``clipped_sum`` gives."""
    gradients, losses = row_gradients(model, loss, weights, rows, targets)
    norms = np.linalg.norm(gradients, axis=1)
    clipped = gradients * np.minimum(1, WITHIN * bound / np.maximum(norms, 1e-30))[:, None]
    return ClippedSum(clipped.sum(axis=0), norms, float(np.mean(losses)) if losses else 0.0)
