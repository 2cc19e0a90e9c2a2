"""Rows and targets that a caller has as arrays: checked, and the share that is held out parted from them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from learnae.errors import ConfigurationError, DataError
from learnae.models.dataset import Dataset
from learnae.models.graph import token_count
from learnae.swarm.manifest import Manifest

_MOST_ROWS = 1 << 20


def dataset_of(data: Any, holdout: float, manifest: Manifest) -> Dataset:
    """Return the rows that a caller gives, (rows, targets), or rows that are their own targets; the last are held out.

    Raises DataError, ConfigurationError for a model whose rows are not known here.
    """
    if manifest.only_keras:
        raise ConfigurationError(f"data for {manifest.name!r}: {manifest.only_keras}", "give loss in place of it")
    if isinstance(holdout, bool) or not isinstance(holdout, (int, float)) or not 0 <= holdout < 1:
        raise DataError(f"holdout is {holdout!r:.40}", "give a share of the rows, from 0 to below 1")
    if isinstance(data, (str, os.PathLike)):
        raise DataError(f"data is {os.fspath(data)!r:.80}", "give arrays (rows, targets): a trainer reads files")
    given = data if isinstance(data, tuple) else (data, data)
    if len(given) != 2:
        raise DataError(f"data has {len(given)} parts", "give arrays: (rows, targets)")
    dataset = Dataset(
        manifest.model, manifest.objective, _MOST_ROWS, manifest.is_autoencoder, token_count(manifest.config)
    )
    rows, targets = dataset.usable(*map(np.asarray, given))
    mask = _held_out(targets, holdout, manifest.objective.is_classification)
    dataset.adopt(rows[~mask], targets[~mask])
    dataset.adopt(rows[mask], targets[mask], holdout=True)
    if not len(dataset.train):
        raise DataError(f"data has no row to train on, {dataset.skipped} cannot be used", dataset.demand)
    return dataset


def _held_out(targets: Any, share: float, by_class: bool) -> Any:
    """Return a mask (n,): the last ``share`` of each class, or of all rows."""
    groups = targets if by_class and targets.ndim == 1 else np.zeros(len(targets), np.int8)
    mask = np.zeros(len(targets), np.bool_)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        mask[members[round(len(members) * (1 - share)) :]] = True
    return mask
