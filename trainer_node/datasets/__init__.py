"""What trainers learn from: tables, arrays, and raw recordings where the swarm defines features."""

from __future__ import annotations

import logging
from pathlib import Path

from learnae.errors import DataError
from learnae.manifest import Manifest
from learnae.models.dataset import Dataset, one_line_each
from learnae.recordings import Recording, check_recording, read_arrays
from learnae.windows import Windower
from trainer_node.config import DataSection
from trainer_node.datasets.arrays import ArraySource, read_headers
from trainer_node.datasets.cache import fill
from trainer_node.datasets.chunks import Source
from trainer_node.datasets.parquet import ParquetSource
from trainer_node.datasets.split import MAX_HOLDOUT, Split
from trainer_node.datasets.tables import CsvSource

log = logging.getLogger("learnae")


def load_dataset(data: DataSection, manifest: Manifest) -> Dataset:
    """Read ``data.file`` into rows that fit the swarm's model.

    .csv, .csv.gz, .parquet: one row an example, the column ``data.label`` is the target, all others
    are features, in their order (HEPMASS: see tables.Columns). .npz: ``x`` (n, *input) and ``y``
    (n,), perhaps ``x_holdout`` and ``y_holdout``; or a raw recording (learnae.recordings), which is
    held in memory. All else is streamed to disk and mapped: never more than 1.2 times the rows in
    memory, mapped pages included, beside some 20 MB.

    Rows with NaN or impossible targets are skipped, counted and logged. Raises DataError.
    """
    path = Path(data.file)
    dataset = Dataset(manifest.model, manifest.objective)
    headers = read_headers(path) if path.suffix == ".npz" else {}
    if "signal" in headers:
        _add_recording_file(dataset, path, manifest, data.holdout)
    elif path.suffix == ".npz":
        _fill(dataset, ArraySource(path, headers), data, manifest)
    else:
        _fill(dataset, _table(path, data.label, manifest.model.input_shape), data, manifest)
    _warn_of_one_class(dataset, path, manifest)
    return dataset


def add_recording(dataset: Dataset, manifest: Manifest, recording: Recording, holdout: float) -> None:
    """Window a raw recording and add its features; unlabelled windows are left out."""
    assert manifest.features is not None
    windows = Windower(manifest.features).push(recording.split_by_time(holdout))
    for held_out in (False, True):
        chosen = (windows.label >= 0) & (windows.holdout == held_out)
        if chosen.any():
            dataset.add(manifest.features.extract(windows.values[chosen]), windows.label[chosen], held_out)


def _add_recording_file(dataset: Dataset, path: Path, manifest: Manifest, holdout: float) -> None:
    features = manifest.features
    if features is None:
        raise DataError(f"{path} is a raw recording", f"swarm {manifest.name!r} defines no features: give x, y")
    recording = check_recording(read_arrays(path), len(features.channels), features.rate, str(path))
    add_recording(dataset, manifest, recording, holdout)
    if not len(dataset.train):
        raise DataError(f"{path} has no row to train on", f"{dataset.skipped} windows were skipped")


def _table(path: Path, label: str, inputs: tuple[int, ...]) -> Source:
    if path.name.endswith((".csv", ".csv.gz")):
        return CsvSource(path, label, inputs)
    if path.suffix in (".parquet", ".pq"):
        return ParquetSource(path, label, inputs)
    raise DataError(f"cannot read {path}", "give a .npz or .csv file, .csv.gz or .parquet")


def _fill(dataset: Dataset, source: Source, data: DataSection, manifest: Manifest) -> None:
    options = {
        "label": data.label,
        "holdout": data.holdout,
        "largest": MAX_HOLDOUT,
        "inputs": manifest.model.input_shape,
        "outputs": manifest.model.output_shape,
        "loss": manifest.loss,
    }
    counts = fill(dataset, source, options, Split(data.holdout, manifest.objective.is_classification))
    rows = counts.train + counts.holdout
    why = f"most often column {counts.worst!r}" if counts.worst else "no such class"
    if not counts.train:
        raise DataError(f"{source.path} has no row to train on", f"{counts.skipped} rows were skipped: NaN or {why}")
    log.info("%s: %d rows to train on, %d held out", source.path.name, counts.train, counts.holdout)
    if counts.skipped:
        log.warning(
            "%s: %d of %d rows skipped: NaN or impossible values, %s",
            source.path.name, counts.skipped, rows + counts.skipped, why,
        )  # fmt: skip


def _warn_of_one_class(dataset: Dataset, path: Path, manifest: Manifest) -> None:
    """A peer may well have seen one class only, and the others teach it the rest; or the label is wrong."""
    targets = dataset.train.targets
    one_value = one_line_each(targets).shape[1] == 1 and targets.min() == targets.max()
    if manifest.objective.is_classification and one_value:
        log.warning(
            "%s: all %d rows are of class %g; if others should be there, check the label: accuracy here tells nothing",
            path.name, len(targets), targets.flat[0],
        )  # fmt: skip
