"""A file of examples: rows as they stand, or a raw recording, which becomes windows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.ports import Samples
from learnae.samples.columns import Columns
from learnae.samples.files.array_source import ArraySource
from learnae.samples.files.source import CHUNK_BYTES, USUAL_LIMITS, ReadingLimits, Source
from learnae.samples.files.table_source import TableSource
from learnae.samples.recordings import Recording, label_kind, recording_of_arrays, recording_of_table
from learnae.samples.windows import Windower, add_windows
from learnae.swarm.features import Features
from learnae.swarm.manifest import FORECAST, REGRESSION, Manifest
from learnae.tables.arrays import Arrays
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.table import Table
from learnae.text import shown


def open_examples(
    path: Path, columns: Columns, manifest: Manifest, limits: ReadingLimits = USUAL_LIMITS
) -> Source | Recording:
    """Open the rows in ``path`` that fit the swarm's model, or read the recording that they are made of.

    Where the swarm defines features, a table that has their channels as columns, or an .npz file with ``signal``, is a
    recording, which is held in memory. Raises DataError.
    """
    if is_called_arrays(path):
        return _arrays(path, columns, manifest, limits)
    return _table(path, columns, manifest, limits)


def add_recording(
    dataset: Dataset, manifest: Manifest, recording: Recording, holdout: float, chunk_bytes: int = CHUNK_BYTES
) -> tuple[int, int]:
    """Window a raw recording and add its features; where labels are needed, windows without are left out.

    A regression's windows go on over changes of what they learn: its value at the last sample that the model sees.
    Returns how many windows there are, and how many of them are left out.
    """
    features = manifest.features
    assert features is not None
    is_regression = manifest.task == REGRESSION
    windower, found, left_out = Windower(features), 0, 0
    series = replace(recording, label=np.zeros_like(recording.label)) if is_regression else recording
    for samples in _pieces(series.split_by_time(holdout), features, chunk_bytes):
        windows = windower.push(samples)
        quantity = recording.quantity_at(windows.time) if is_regression else None
        left_out += add_windows(dataset, manifest, features.extract(windows.values), windows, quantity)
        found += len(windows.time)
    return found, left_out


def _arrays(path: Path, columns: Columns, manifest: Manifest, limits: ReadingLimits) -> Source | Recording:
    features = manifest.features
    needs_rows = features is None or (manifest.is_autoencoder and len(manifest.model.input_shape) == 1)
    arrays = Arrays(path, "x" if needs_rows else "signal")
    if "signal" in arrays.headers:
        if features is None:
            raise DataError(f"{path} is a raw recording", f"swarm {manifest.name!r} defines no features: give x, y")
        return recording_of_arrays(arrays, len(features.channels), features.rate, columns, label_kind(manifest))
    source = ArraySource(arrays, label_kind(manifest), manifest.is_autoencoder, limits)
    shape, wanted = arrays.headers["x"].shape[1:], manifest.model.input_shape
    if shape != wanted:
        other = "; or give a recording: signal, label, time" if features else ""
        raise DataError(f"{path}: a row of x has shape {shape}", f"the swarm's model takes {wanted}{other}")
    return source


def _table(path: Path, columns: Columns, manifest: Manifest, limits: ReadingLimits) -> Source | Recording:
    table, features = open_table(path, limits.text_bytes), manifest.features
    if features is not None and set(features.channels) <= set(table.names):
        if manifest.needs_labels and columns.label not in table.names:
            raise DataError(
                f"{path} has no column {columns.label!r}; it has {shown(table.names)}",
                "set data.label (or --label) to the column of the target",
            )
        return recording_of_table(table, features.channels, features.rate, columns, label_kind(manifest))
    if features is not None and _is_meant_as_recording(table, manifest):
        absent = [name for name in features.channels if name not in table.names]
        raise DataError(
            f"{path} has no column {', '.join(absent)}",
            f"the swarm's channels are {', '.join(features.channels)}, and it has {shown(table.names)}",
        )
    return TableSource(table, columns, manifest)


def _is_meant_as_recording(table: Table, manifest: Manifest) -> bool:
    """Return True if the swarm takes nothing but recordings, or if the table has a part of the channels."""
    assert manifest.features is not None
    only = manifest.task == FORECAST or len(manifest.model.input_shape) > 1
    return only or not set(manifest.features.channels).isdisjoint(table.names)


def _pieces(samples: Samples, features: Features, chunk_bytes: int) -> Iterator[Samples]:
    """Yield the samples in parts whose windows, which overlap, take about ``chunk_bytes``."""
    window_bytes = features.span * len(features.channels) * np.dtype(np.float32).itemsize
    size = max(chunk_bytes // window_bytes, 1) * features.hop
    for start in range(0, len(samples.time), size):
        part = slice(start, start + size)
        yield Samples(samples.time[part], samples.values[part], samples.label[part], samples.holdout[part])
