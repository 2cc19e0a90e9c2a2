"""Rows that an audit tries attacks on: the user's own, or those of the demo; they go nowhere."""

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.columns import USUAL_COLUMNS
from learnae.samples.files.examples import add_recording, open_examples
from learnae.samples.recordings import Recording, shipped_recording
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data

Array = NDArray[Any]
DRAWN, DEMO = "drawn at random", "of the demo"
_MOST = 4096  # rows: an audit takes seconds
_DRAWN_ROWS = 400
_HOLDOUT = 0.3  # of each label's samples, in time: as peers hold out by default
_STRANGERS = 8  # people of the demo


@dataclass(frozen=True, slots=True)
class OwnRows:
    """Rows (n, *input), their targets, and ``origin``: a file's name, DEMO, or DRAWN.

    ``held_out`` (m, *input) are rows that peers do not train on; none where a table says no times.
    """

    rows: Array
    targets: Array
    origin: str
    held_out: Array

    def part(self, chosen: Array) -> "OwnRows":
        """Return some of them."""
        return replace(self, rows=self.rows[chosen], targets=self.targets[chosen])


def rows_of(
    manifest: Manifest, file: Path | None = None, label: str = USUAL_COLUMNS.label, most: int = _MOST
) -> OwnRows:
    """Return the rows of ``file``, or else the demo's where they fit, or else some at random; raises DataError.

    Of a file no more than the first ``most`` rows.
    """
    if file is not None:
        data = _of_file(manifest, file, label, most)
        if not len(data.train):
            raise DataError(f"{file} has no row to try attacks on", data.demand)
        return OwnRows(data.train.rows[:most], data.train.targets[:most], file.name, data.holdout.rows[:most])
    return demo_rows(manifest, 1) or _drawn(manifest)


def demo_rows(manifest: Manifest, person: int) -> OwnRows | None:
    """Return the windows of one person of the demo; None if the swarm's features are of other channels."""
    features = manifest.features
    if features is None or features.channels != ("ax", "ay", "az", "wx", "wy", "wz"):
        return None
    with resources.as_file(demo_data()) as path:
        recording = shipped_recording(path, person, features.rate)
    data = _dataset(manifest)
    add_recording(data, manifest, recording, _HOLDOUT)
    return OwnRows(data.train.rows, data.train.targets, DEMO, data.holdout.rows) if len(data.train) else None


def rows_like(manifest: Manifest, own: OwnRows) -> Array:
    """Return rows (n, *input) that an author may have in place of the ``own``: other people's, or of their spread."""
    if own.origin == DEMO:
        others = (demo_rows(manifest, person) for person in range(2, _STRANGERS + 1))
        return np.concatenate([found.rows for found in others if found])
    rng = np.random.default_rng(1)
    mean, spread = own.rows.mean(axis=0), own.rows.std(axis=0)
    return (mean + spread * rng.normal(size=(4 * len(own.rows), *own.rows.shape[1:]))).astype(np.float32)


def _of_file(manifest: Manifest, path: Path, label: str, most: int) -> Dataset:
    data, found = _dataset(manifest), open_examples(path, replace(USUAL_COLUMNS, label=label), manifest)
    if isinstance(found, Recording):
        add_recording(data, manifest, found, _HOLDOUT)
        return data
    for chunk in found.chunks():
        data.add(chunk.rows, chunk.targets, bool(chunk.held_out))
        if len(data.train) >= most:
            break
    return data


def _dataset(manifest: Manifest) -> Dataset:
    return Dataset(manifest.model, manifest.objective, autoencoder=manifest.is_autoencoder)


def _drawn(manifest: Manifest) -> OwnRows:
    rng, model = np.random.default_rng(7), manifest.model
    rows = rng.normal(size=(_DRAWN_ROWS, *model.input_shape)).astype(np.float32)
    targets: Array = rng.normal(size=(_DRAWN_ROWS, *model.output_shape)).astype(np.float32)
    if manifest.loss == "sparse_categorical_crossentropy":
        targets = rng.integers(0, model.output_shape[-1], _DRAWN_ROWS)
    elif manifest.loss == "binary_crossentropy":
        targets = (targets > 0).astype(np.float32)
    return OwnRows(rows, rows if manifest.is_autoencoder else targets, DRAWN, rows[:0])
