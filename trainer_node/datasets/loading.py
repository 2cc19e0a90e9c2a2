"""What trainers learn from: tables, arrays, and raw recordings where the swarm defines features."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.models.dataset import Dataset, one_line_each
from learnae.models.input_normalisation import normalises_rows
from learnae.samples.examples import add_windows
from learnae.samples.recordings import Recording, check_readable, check_recording, read_arrays
from learnae.samples.windows import Windower
from learnae.swarm.manifest import FORECAST, REGRESSION, Manifest
from learnae.text import counted
from trainer_node.config import DataSection
from trainer_node.datasets.cache import fill
from trainer_node.datasets.formats.arrays import ArraySource, read_headers
from trainer_node.datasets.formats.series import holds_recording, open_table, pieces, recording_of
from trainer_node.datasets.formats.tables import Table, TableSource
from trainer_node.datasets.source import Source
from trainer_node.datasets.split import MAX_HOLDOUT, Split

log = logging.getLogger("learnae")

_FAR = 10.0  # a row's values at which training with usual learning rates begins to diverge
_LOOKED_AT = 1000  # rows

CAPACITY = 1 << 20  # windows of a recording: those are in memory


def load_dataset(data: DataSection, manifest: Manifest) -> Dataset:
    """Read ``data.file`` into rows that fit the swarm's model.

    .csv, .csv.gz, .parquet: one row an example, the column ``data.label`` is the target, the features are those
    that the manifest names, or else all others, in their order (see tables). .npz: ``x`` (n, *input) and ``y``
    (n,), perhaps ``x_holdout`` and ``y_holdout``. An autoencoder needs no target. All this is
    streamed to disk and mapped: never more than 1.2 times the rows in memory, mapped pages included,
    beside some 20 MB. Where the swarm defines features, a table that has their channels as columns,
    or an .npz file with ``signal``, is a raw recording (learnae.samples.recordings), which is held in memory.

    Rows with NaN or impossible targets are skipped, counted and logged. Raises DataError.
    """
    path = Path(data.file)
    check_readable(path)
    dataset = Dataset(manifest.model, manifest.objective, CAPACITY, manifest.is_autoencoder)
    if path.suffix == ".npz":
        _load_archive(dataset, path, data, manifest)
    else:
        _load_table(dataset, path, data, manifest)
    _warn_of_one_class(dataset, path)
    if not normalises_rows(manifest.config):
        _warn_of_scale(dataset, path)
    return dataset


def add_recording(dataset: Dataset, manifest: Manifest, recording: Recording, holdout: float) -> tuple[int, int]:
    """Window a raw recording and add its features; where labels are needed, windows without are left out.

    A regression's windows go on over changes of what they learn: its value at the last sample that the model sees.
    Returns how many windows there are, and how many of them are left out.
    """
    features = manifest.features
    assert features is not None
    is_regression = manifest.task == REGRESSION
    windower, found, left_out = Windower(features), 0, 0
    series = replace(recording, label=np.zeros_like(recording.label)) if is_regression else recording
    for samples in pieces(series.split_by_time(holdout), features):
        windows = windower.push(samples)
        quantity = recording.quantity_at(windows.time) if is_regression else None
        left_out += add_windows(dataset, manifest, features.extract(windows.values), windows, quantity)
        found += len(windows.time)
    return found, left_out


def _load_archive(dataset: Dataset, path: Path, data: DataSection, manifest: Manifest) -> None:
    headers, features = read_headers(path), manifest.features
    if "signal" not in headers:
        source = ArraySource(path, headers, manifest.is_autoencoder)
        shape, wanted = headers["x"].shape[1:], manifest.model.input_shape
        if shape != wanted:
            other = "; or give a recording: signal, label, time" if features else ""
            raise DataError(f"{path}: a row of x has shape {shape}", f"the swarm's model takes {wanted}{other}")
        _fill(dataset, source, data, manifest)
    elif features is None:
        raise DataError(f"{path} is a raw recording", f"swarm {manifest.name!r} defines no features: give x, y")
    else:
        recording = check_recording(read_arrays(path), len(features.channels), features.rate, str(path))
        _add_whole(dataset, path, manifest, recording, data.holdout)


def _load_table(dataset: Dataset, path: Path, data: DataSection, manifest: Manifest) -> None:
    table, features = open_table(path, data.label, manifest.classes), manifest.features
    if table is None:
        raise DataError(f"cannot read {path}", "give a .npz or .csv file, .csv.gz or .parquet")
    if features is not None and holds_recording(table, features):
        _add_whole(dataset, path, manifest, recording_of(table, features, data.label), data.holdout)
    elif features is not None and _is_meant_as_recording(table, manifest):
        absent = [name for name in features.channels if name not in table.names]
        raise DataError(
            f"{path} has no column {', '.join(absent)}", f"the swarm's channels are {', '.join(features.channels)}"
        )
    else:
        _fill(dataset, TableSource(table, data.label, manifest), data, manifest)


def _is_meant_as_recording(table: Table, manifest: Manifest) -> bool:
    """Whether nothing but a recording would do, or a part of the channels is there."""
    assert manifest.features is not None
    only = manifest.task == FORECAST or len(manifest.model.input_shape) > 1
    return only or not set(manifest.features.channels).isdisjoint(table.names)


def _add_whole(dataset: Dataset, path: Path, manifest: Manifest, recording: Recording, holdout: float) -> None:
    features = manifest.features
    assert features is not None
    found, unlabelled = add_recording(dataset, manifest, recording, holdout)
    cut = (
        f"{counted(found, 'window')} of {counted(features.span, 'sample')} at {features.rate:g} Hz without a gap, "
        f"{unlabelled} of them without a label, {dataset.skipped} skipped"
    )
    if not len(dataset.train):
        raise DataError(f"{path} has no row to train on: {cut}", dataset.demand)
    rows, held_out = counted(len(dataset.train), "row"), len(dataset.holdout)
    log.info("%s: %s to train on, %d held out", path.name, rows, held_out)
    if unlabelled or dataset.skipped:
        log.warning("%s: %s: %s", path.name, cut, dataset.demand)
    lost = dataset.train.written - len(dataset.train)
    if lost:
        kept = len(dataset.train)
        log.warning("%s: %s left out, the oldest; %d kept", path.name, counted(lost, "window"), kept)


def _fill(dataset: Dataset, source: Source, data: DataSection, manifest: Manifest) -> None:
    options = {
        "columns": source.names,
        "holdout": data.holdout,
        "largest": MAX_HOLDOUT,
        "inputs": manifest.model.input_shape,
        "outputs": manifest.model.output_shape,
        "loss": manifest.loss,
        "classes": list(manifest.classes),
    }
    counts = fill(dataset, source, options, Split(data.holdout, manifest.objective.is_classification))
    rows = counts.train + counts.holdout
    why = dataset.demand + (f" ({', '.join(manifest.classes)})" if manifest.classes else "")
    why += f"; most often {counts.worst} is not" if counts.worst else ""
    if not counts.train:
        raise DataError(f"{source.path} has no row to train on, {counts.skipped} were skipped", why)
    log.info("%s: %s to train on, %d held out", source.path.name, counted(counts.train, "row"), counts.holdout)
    if data.holdout and not counts.holdout:
        log.warning("%s: no row is held out: how good the model is will not be known here", source.path.name)
    if counts.rounded:
        log.warning(
            "%s: %s has numbers beyond 2^24, which float32 rounds, such as seconds since 1970: subtract an offset",
            source.path.name, counts.rounded,
        )  # fmt: skip
    if counts.skipped:
        log.warning(
            "%s: %d of %s skipped: %s",
            source.path.name, counts.skipped, counted(rows + counts.skipped, "row"), why,
        )  # fmt: skip


def _warn_of_one_class(dataset: Dataset, path: Path) -> None:
    """A peer may well have seen one class only, and the others teach it the rest; or the label is wrong."""
    if dataset.only_class is not None:
        log.warning(
            "%s: only class %g in %s; if others should be there, check the label: accuracy here tells nothing",
            path.name, dataset.only_class, counted(len(dataset.train), "row"),
        )  # fmt: skip


def _warn_of_scale(dataset: Dataset, path: Path) -> None:
    """A network learns from values of about one; from pressures in pascal it diverges, and nobody sees why."""
    rows = one_line_each(dataset.train.rows[:_LOOKED_AT])
    size = np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=0))
    if size.max() > _FAR:
        log.warning(
            "%s: values of about %.3g: training may diverge; scale them in the same way at every peer, or begin the "
            "model with BatchNormalization: docs/tasks.md",
            path.name, size.max(),
        )  # fmt: skip
