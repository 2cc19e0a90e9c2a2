"""How well a network tells signal from background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.hepmass.collisions import MASSES
from bench.hepmass.files import Table
from learnae.models.reference.numpy_model import predict
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

_AT_ONCE = 4096  # rows: what is between two layers stays in the cache


@dataclass(frozen=True, slots=True)
class Scores:
    """The area under the ROC curve of all rows, that of the rows of each mass, and the accuracy; shares of 1."""

    auc: float
    by_mass: tuple[float, ...]
    accuracy: float


def auc(outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share of pairs of a signal and a background that ``outputs`` (n,) order right; half of those alike.

    NaN where there are not both.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 1, 0, 1]))
    0.875
    """
    _, index, counts = np.unique(outputs, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]
    signal = int(np.count_nonzero(labels))
    pairs = signal * (len(labels) - signal)
    return float((ranks[labels != 0].sum() - signal * (signal + 1) / 2) / pairs) if pairs else float("nan")


def outputs_of(manifest: Manifest, weights: Vector, table: Table) -> NDArray[np.float32]:
    """Return what the network says of each row (n,): of so many columns as it takes, with the mass or without."""
    columns = manifest.model.input_shape[0]
    parts = []
    for start in range(0, len(table.rows), _AT_ONCE):
        rows = np.ascontiguousarray(table.rows[start : start + _AT_ONCE, :columns])
        parts.append(predict(manifest.definition, weights, rows)[:, 0])
    return np.concatenate(parts)


def score(manifest: Manifest, weights: Vector, table: Table) -> Scores:
    """Return how good the network of these weights (count,) is on the rows of ``table``."""
    outputs = outputs_of(manifest, weights, table)
    by_mass = [auc(outputs[chosen], table.labels[chosen]) for chosen in (table.masses == mass for mass in MASSES)]
    return Scores(auc(outputs, table.labels), tuple(by_mass), float(np.mean((outputs > 0.5) == (table.labels != 0))))
