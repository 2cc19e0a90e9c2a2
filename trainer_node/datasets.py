"""What trainers learn from: .npz and CSV files, and raw recordings where the swarm defines features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DataError
from learnae.manifest import Manifest
from learnae.models.dataset import Dataset
from learnae.recordings import Recording, check_recording, read_arrays, read_table
from learnae.windows import Windower
from trainer_node.config import DataSection


def load_dataset(data: DataSection, manifest: Manifest) -> Dataset:
    """Read ``data.file`` into rows that fit the swarm's model.

    .npz: ``x`` (n, *input) and ``y`` (n,), perhaps ``x_holdout`` and ``y_holdout``; or a raw
    recording (learnae.recordings). CSV: one row an example, the column ``data.label`` is the target,
    all others are features, in their order. Raises DataError.
    """
    path = Path(data.file)
    dataset = Dataset(manifest.model, manifest.objective)
    if path.suffix == ".csv":
        _add_table(dataset, path, data)
    elif path.suffix == ".npz":
        arrays = read_arrays(path)
        if "signal" in arrays:
            features = manifest.features
            if features is None:
                raise DataError(f"{path} is a raw recording", f"swarm {manifest.name!r} defines no features: give x, y")
            recording = check_recording(arrays, len(features.channels), features.rate, str(path))
            add_recording(dataset, manifest, recording, data.holdout)
        else:
            _add_arrays(dataset, path, arrays, data.holdout)
    else:
        raise DataError(f"cannot read {path}", "give a .npz or .csv file")
    if not len(dataset.train):
        raise DataError(f"{path} has no row to train on", f"{dataset.skipped} rows were skipped: NaN or no such class")
    return dataset


def add_recording(dataset: Dataset, manifest: Manifest, recording: Recording, holdout: float) -> None:
    """Window a raw recording and add its features; unlabelled windows are left out."""
    assert manifest.features is not None
    windows = Windower(manifest.features).push(recording.split_by_time(holdout))
    for held_out in (False, True):
        chosen = (windows.label >= 0) & (windows.holdout == held_out)
        if chosen.any():
            dataset.add(manifest.features.extract(windows.values[chosen]), windows.label[chosen], held_out)


def _add_table(dataset: Dataset, path: Path, data: DataSection) -> None:
    columns = read_table(path)
    if data.label not in columns:
        raise DataError(f"{path} has no column {data.label!r}", "set data.label to the column of the target")
    target = columns.pop(data.label)
    if not columns:
        raise DataError(f"{path} has no column but {data.label!r}", "one column a feature is needed")
    _split(dataset, np.stack(list(columns.values()), axis=1), target, data.holdout)


def _add_arrays(dataset: Dataset, path: Path, arrays: Mapping[str, NDArray[Any]], holdout: float) -> None:
    absent = [name for name in ("x", "y") if name not in arrays]
    if absent:
        raise DataError(
            f"{path} has no array {', '.join(absent)}", "give x and y, or a recording with signal and label"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: {name} is of type {array.dtype}", "give numbers")
    _check_lengths(path, arrays["x"], arrays["y"])
    if ("x_holdout" in arrays) != ("y_holdout" in arrays):
        raise DataError(f"{path} has only one of x_holdout and y_holdout", "give both or neither")
    if "x_holdout" in arrays:
        _check_lengths(path, arrays["x_holdout"], arrays["y_holdout"])
        dataset.add(arrays["x"], arrays["y"])
        dataset.add(arrays["x_holdout"], arrays["y_holdout"], holdout=True)
    else:
        _split(dataset, arrays["x"], arrays["y"], holdout)


def _check_lengths(path: Path, rows: NDArray[Any], targets: NDArray[Any]) -> None:
    if rows.ndim < 2 or targets.ndim < 1 or len(rows) != len(targets):
        raise DataError(f"{path}: x is {rows.shape} and y is {targets.shape}", "both need one entry a row")


def _split(dataset: Dataset, rows: NDArray[Any], targets: NDArray[Any], holdout: float) -> None:
    """Hold out the last share: of each class, or of all rows where targets are no classes."""
    if not len(rows):
        return
    held_out = np.zeros(len(rows), np.bool_)
    flat = targets.reshape(len(targets), -1)
    classes = np.unique(flat[:, 0]) if flat.shape[1] == 1 else np.empty(0)
    groups = [flat[:, 0] == value for value in classes] if 0 < len(classes) <= 1024 else [np.full(len(rows), True)]
    for group in groups:
        members = np.flatnonzero(group)
        held_out[members[round(len(members) * (1 - holdout)) :]] = True
    dataset.add(rows[~held_out], targets[~held_out])
    dataset.add(rows[held_out], targets[held_out], holdout=True)
