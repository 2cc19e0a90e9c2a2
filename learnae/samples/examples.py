"""From windows to examples: rows, and the targets that the swarm's task gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Array, Dataset
from learnae.samples.windows import Windows
from learnae.swarm.manifest import AUTOENCODER, FORECAST, Manifest


def add_windows(
    dataset: Dataset,
    manifest: Manifest,
    rows: NDArray[np.float32],
    windows: Windows,
    quantity: NDArray[np.float64] | None = None,
) -> int:
    """Add those of the ``windows``, whose features are ``rows`` (n, *input), that the swarm can learn from.

    Only a classification or a regression needs labels: windows without are then left out; returns how many.
    A regression may be given its targets as any ``quantity`` (n,), NaN where unknown, in place of labels.
    """
    targets, usable = targets_of(manifest, rows, windows), np.ones(len(rows), np.bool_)
    if quantity is not None:
        targets, usable = quantity, ~np.isnan(quantity)
    elif manifest.needs_labels:
        usable = windows.label >= 0
    for holdout in (False, True):
        chosen = usable & (windows.holdout == holdout)
        if chosen.any():
            dataset.add(rows[chosen], targets[chosen], holdout)
    return int(np.count_nonzero(~usable))


def targets_of(manifest: Manifest, rows: NDArray[np.float32], windows: Windows) -> Array:
    """Return the targets (n, ...) of these rows: their labels, themselves, or what follows them."""
    if manifest.task == AUTOENCODER:
        return rows
    if manifest.task == FORECAST:
        assert manifest.features is not None
        return manifest.features.targets(windows.values).reshape(len(rows), *manifest.model.output_shape)
    return windows.label
