"""What trainers learn from: tables, arrays, and raw recordings where the swarm defines features."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.models.dataset import Dataset, one_line_each
from learnae.models.graph import normalises_rows, token_count
from learnae.ports import Samples
from learnae.samples.recordings import Recording, label_kind, recording_of_arrays, recording_of_table
from learnae.samples.windows import Windower, add_windows
from learnae.swarm.features import Features
from learnae.swarm.manifest import FORECAST, REGRESSION, Manifest
from learnae.tables.arrays import Arrays
from learnae.tables.opening import is_called_arrays, open_table
from learnae.tables.table import Table
from learnae.text import counted, shown
from trainer_node.config import DataSection
from trainer_node.datasets.array_source import ArraySource
from trainer_node.datasets.cache import fill
from trainer_node.datasets.source import CHUNK_BYTES, USUAL_LIMITS, ReadingLimits, Source
from trainer_node.datasets.split import Split
from trainer_node.datasets.table_source import TableSource

_log = logging.getLogger(__name__)

_LARGE = 10.0  # a row's values at which training with usual learning rates begins to diverge
_SCALE_ROWS = 1000  # that their scale is estimated from


def load_dataset(data: DataSection, manifest: Manifest, limits: ReadingLimits = USUAL_LIMITS) -> Dataset:
    """Read ``data.file`` into rows that fit the swarm's model.

    Tables (learnae.tables): one row an example, the column ``data.label`` is the target, the features are those
    that the manifest names, or else all others, in their order (see table_source). .npz: ``x`` (n, *input) and ``y``
    (n,), perhaps ``x_holdout`` and ``y_holdout``. An autoencoder needs no target. All this is
    streamed to disk and mapped: never more than 1.2 times the rows in memory, mapped pages included,
    beside some 20 MB. Where the swarm defines features, a table that has their channels as columns,
    or an .npz file with ``signal``, is a raw recording (learnae.samples.recordings), which is held in memory.

    Rows with NaN or impossible targets are skipped, counted and logged. Raises DataError.
    """
    return _Loader(data, manifest, limits).load()


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


class _Loader:
    """Loads one file into one dataset."""

    def __init__(self, data: DataSection, manifest: Manifest, limits: ReadingLimits) -> None:
        self._path = Path(data.file)
        self._data = data
        self._columns = data.columns
        self._manifest = manifest
        self._limits = limits
        self._tokens = token_count(manifest.config)
        self._dataset = Dataset(
            manifest.model, manifest.objective, limits.windows, manifest.is_autoencoder, self._tokens
        )

    def load(self) -> Dataset:
        self._load_arrays() if is_called_arrays(self._path) else self._load_table()
        self._warn_of_one_class()
        if self._tokens is None and not normalises_rows(self._manifest.config):
            self._warn_of_scale()
        return self._dataset

    def _load_arrays(self) -> None:
        path, manifest, features = self._path, self._manifest, self._manifest.features
        needs_rows = features is None or (manifest.is_autoencoder and len(manifest.model.input_shape) == 1)
        arrays = Arrays(path, "x" if needs_rows else "signal")
        if "signal" not in arrays.headers:
            source = ArraySource(arrays, label_kind(manifest), manifest.is_autoencoder, self._limits)
            shape, wanted = arrays.headers["x"].shape[1:], manifest.model.input_shape
            if shape != wanted:
                other = "; or give a recording: signal, label, time" if features else ""
                raise DataError(f"{path}: a row of x has shape {shape}", f"the swarm's model takes {wanted}{other}")
            self._fill(source)
        elif features is None:
            raise DataError(f"{path} is a raw recording", f"swarm {manifest.name!r} defines no features: give x, y")
        else:
            kind, channels = label_kind(manifest), len(features.channels)
            self._add(recording_of_arrays(arrays, channels, features.rate, self._columns, kind))

    def _load_table(self) -> None:
        path, manifest, features = self._path, self._manifest, self._manifest.features
        table = open_table(path, self._limits.text_bytes)
        if features is not None and set(features.channels) <= set(table.names):
            kind = label_kind(manifest)
            if manifest.needs_labels and self._columns.label not in table.names:
                raise DataError(
                    f"{path} has no column {self._columns.label!r}; it has {shown(table.names)}",
                    "set data.label to the column of the target",
                )
            self._add(recording_of_table(table, features.channels, features.rate, self._columns, kind))
        elif features is not None and _is_meant_as_recording(table, manifest):
            absent = [name for name in features.channels if name not in table.names]
            raise DataError(
                f"{path} has no column {', '.join(absent)}",
                f"the swarm's channels are {', '.join(features.channels)}, and it has {shown(table.names)}",
            )
        else:
            self._fill(TableSource(table, self._columns, manifest))

    def _add(self, recording: Recording) -> None:
        dataset, features, name = self._dataset, self._manifest.features, self._path.name
        assert features is not None
        holdout, chunk_bytes = self._data.holdout, self._limits.chunk_bytes
        found, unlabelled = add_recording(dataset, self._manifest, recording, holdout, chunk_bytes)
        cut = (
            f"{counted(found, 'window')} of {counted(features.span, 'sample')} at {features.rate:g} Hz without a gap, "
            f"{unlabelled} of them without a label, {dataset.skipped} skipped"
        )
        kept = len(dataset.train)
        if not kept:
            cause = recording.why_no_window(features, self._manifest.task != REGRESSION) or dataset.demand
            raise DataError(f"{self._path} has no row to train on: {cut}", cause)
        _log.info("%s: %s to train on, %d held out", name, counted(kept, "row"), len(dataset.holdout))
        if unlabelled or dataset.skipped:
            _log.warning("%s: %s: %s", name, cut, dataset.demand)
        if lost := dataset.train.written - kept:
            _log.warning("%s: %s left out, the oldest; %d kept", name, counted(lost, "window"), kept)

    def _fill(self, source: Source) -> None:
        data, manifest, limits, name = self._data, self._manifest, self._limits, self._path.name
        options = {
            "columns": source.names,
            "holdout": data.holdout,
            "largest": limits.holdout_rows,
            "inputs": manifest.model.input_shape,
            "outputs": manifest.model.output_shape,
            "loss": manifest.loss,
            "tokens": self._tokens,
            "classes": list(manifest.classes),
        }
        split = Split(data.holdout, manifest.objective.is_classification, limits.holdout_rows)
        counts = fill(self._dataset, source, options, split, limits.file_bytes)
        rows = counts.train + counts.holdout
        why = self._dataset.demand + (f" ({', '.join(manifest.classes)})" if manifest.classes else "")
        why += f"; {counts.worst}" if counts.worst else ""
        if not counts.train:
            raise DataError(f"{self._path} has no row to train on, {counts.skipped} were skipped", why)
        _log.info("%s: %s to train on, %d held out", name, counted(counts.train, "row"), counts.holdout)
        if data.holdout and not counts.holdout:
            _log.warning("%s: no row is held out: how good the model is will not be known here", name)
        if counts.rounded:
            _log.warning(
                "%s: %s has numbers beyond 2^24, which float32 rounds, such as seconds since 1970: subtract an offset",
                name, counts.rounded,
            )  # fmt: skip
        if counts.skipped:
            _log.warning("%s: %d of %s skipped: %s", name, counts.skipped, counted(rows + counts.skipped, "row"), why)

    def _warn_of_one_class(self) -> None:
        """Warn of rows of one class: a wrong label, or all that this peer has seen, and others teach it the rest."""
        if self._dataset.only_class is not None:
            _log.warning(
                "%s: only class %g in %s; if others should be there, check the label: accuracy here tells nothing",
                self._path.name, self._dataset.only_class, counted(len(self._dataset.train), "row"),
            )  # fmt: skip

    def _warn_of_scale(self) -> None:
        """Warn of values far from one, such as pressures in pascal: a network diverges on them without any error."""
        rows = one_line_each(self._dataset.train.rows[:_SCALE_ROWS])
        size = np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=0))
        if size.max() > _LARGE:
            _log.warning(
                "%s: values of about %.3g: training may diverge; scale them in the same way at every peer, or begin "
                "the model with BatchNormalization: docs/tasks.md",
                self._path.name, size.max(),
            )  # fmt: skip


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
