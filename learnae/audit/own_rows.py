"""Rows that an audit tries attacks on: the user's own, or those of the demo; they go nowhere."""

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.samples.recordings import (
    Recording,
    label_kind,
    recording_of_arrays,
    recording_of_table,
    shipped_recording,
)
from learnae.samples.time_column import USUAL_COLUMNS
from learnae.samples.windows import Windower, add_windows
from learnae.swarm.manifest import REGRESSION, Manifest
from learnae.swarm.presets import demo_data
from learnae.tables.arrays import Arrays, without_axis
from learnae.tables.numbers import Numbers
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.table import Kind, Where
from learnae.text import shown

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
        data = _of_arrays(manifest, file, most) if is_called_arrays(file) else _of_table(manifest, file, label, most)
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
    data = _windows(manifest, recording)
    return OwnRows(data.train.rows, data.train.targets, DEMO, data.holdout.rows) if len(data.train) else None


def rows_like(manifest: Manifest, own: OwnRows) -> Array:
    """Return rows (n, *input) that an author may have in place of the ``own``: other people's, or of their spread."""
    if own.origin == DEMO:
        others = (demo_rows(manifest, person) for person in range(2, _STRANGERS + 1))
        return np.concatenate([found.rows for found in others if found])
    rng = np.random.default_rng(1)
    mean, spread = own.rows.mean(axis=0), own.rows.std(axis=0)
    return (mean + spread * rng.normal(size=(4 * len(own.rows), *own.rows.shape[1:]))).astype(np.float32)


def _windows(manifest: Manifest, recording: Recording) -> Dataset:
    features, data = manifest.features, _dataset(manifest)
    assert features is not None
    is_regression = manifest.task == REGRESSION
    series = replace(recording, label=np.zeros_like(recording.label)) if is_regression else recording
    windows = Windower(features).push(series.split_by_time(_HOLDOUT))
    quantity = recording.quantity_at(windows.time) if is_regression else None
    add_windows(data, manifest, features.extract(windows.values), windows, quantity)
    return data


def _of_arrays(manifest: Manifest, path: Path, most: int) -> Dataset:
    arrays = Arrays(path)
    if "signal" in arrays.headers and manifest.features is not None:
        features = manifest.features
        recording = recording_of_arrays(
            arrays, len(features.channels), features.rate, USUAL_COLUMNS, label_kind(manifest)
        )
        return _windows(manifest, recording)
    if "x" not in arrays.headers:
        raise DataError(f"{path} has no array 'x'", f"it has {shown(list(arrays.headers)) or 'nothing'}")
    data, rows = _dataset(manifest), arrays.read("x")[:most]
    targets: Array = rows
    if not manifest.is_autoencoder:
        if "y" not in arrays.headers:
            raise DataError(f"{path} has no array 'y'", f"it has {shown(list(arrays.headers))}")
        given = without_axis(arrays.read("y"))[:most]
        where = Where(path, "row", range(1, len(given) + 1), "y")
        targets = label_kind(manifest).of_array(given, where) if given.ndim == 1 else given
    data.add(rows, targets)
    return data


def _of_table(manifest: Manifest, path: Path, label: str, most: int) -> Dataset:
    table, features = open_table(path), manifest.features
    if features is not None and set(features.channels) <= set(table.names):
        columns = replace(USUAL_COLUMNS, label=label)
        return _windows(
            manifest, recording_of_table(table, features.channels, features.rate, columns, label_kind(manifest))
        )
    names = list(manifest.columns) or [name for name in table.names if name != label]
    targets = [] if manifest.is_autoencoder else [label]
    if absent := [name for name in (*names, *targets) if name not in table.names]:
        raise DataError(f"{path} has no column {shown(absent)}", f"it has {shown(table.names)}")
    wanted: list[tuple[str, Kind]] = [(name, Numbers()) for name in names]
    wanted += [(name, label_kind(manifest)) for name in targets]
    data = _dataset(manifest)
    for piece in table.pieces(wanted):
        rows = piece.values[:, : len(names)]
        if rows.shape[1] != np.prod(manifest.model.input_shape):
            raise DataError(
                f"{path} has {rows.shape[1]} feature columns", f"the model takes {manifest.model.input_shape}"
            )
        rows = rows.reshape(len(rows), *manifest.model.input_shape)
        data.add(rows, piece.values[:, -1] if targets else rows)
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
