"""Metrics of a model on rows with known targets, and an autoencoder's anomaly score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.models.losses import Loss
from learnae.protocol.bodies import Metrics

Array = NDArray[Any]


def measure(loss: Loss, predict: Callable[[Array], Array], rows: Array, targets: Array, batch: int) -> Metrics | None:
    """Return mean loss and accuracy of ``predict`` over ``rows`` (n, *input_shape), ``batch`` at a time.

    None without rows.
    """
    if not len(rows):
        return None
    total, right = 0.0, 0.0
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        output = predict(rows[part])
        share = len(output) / len(rows)
        total += share * loss.value(output, targets[part])
        right += share * loss.accuracy(output, targets[part]) if loss.is_classification else 0.0
    return Metrics(total, min(right, 1.0) if loss.is_classification else None, len(rows))


def reconstruction_error(output: Array, rows: Array) -> Array:
    """Return the anomaly scores (n,): the mean squared difference of an autoencoder's ``output`` from its ``rows``."""
    difference = (output - rows).reshape(len(rows), -1)
    return np.asarray(np.mean(difference * difference, axis=1))
