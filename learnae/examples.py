"""From windows to examples: rows, and the targets that the swarm's task gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learnae.manifest import AUTOENCODER, FORECAST, Manifest
from learnae.models.dataset import Array, Dataset
from learnae.windows import Windows


def add_windows(dataset: Dataset, manifest: Manifest, rows: NDArray[np.float32], windows: Windows) -> None:
    """Add those of the ``windows``, whose features are ``rows`` (n, *input), that the swarm can learn from.

    Only a classification or a regression needs labels: windows without are then left out.
    """
    targets = targets_of(manifest, rows, windows)
    usable = windows.label >= 0 if manifest.needs_labels else np.ones(len(rows), np.bool_)
    for holdout in (False, True):
        chosen = usable & (windows.holdout == holdout)
        if chosen.any():
            dataset.add(rows[chosen], targets[chosen], holdout)


def targets_of(manifest: Manifest, rows: NDArray[np.float32], windows: Windows) -> Array:
    """The targets (n, ...) of these rows: their labels, themselves, or what follows them."""
    if manifest.task == AUTOENCODER:
        return rows
    if manifest.task == FORECAST:
        assert manifest.features is not None
        return manifest.features.targets(windows.values).reshape(len(rows), *manifest.model.output_shape)
    return windows.label
