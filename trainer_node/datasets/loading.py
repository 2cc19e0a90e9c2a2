"""What trainers learn from: tables, arrays, and raw recordings where the swarm defines features."""

import logging
from pathlib import Path

import numpy as np

from learnae.errors import DataError
from learnae.models.dataset import Dataset, one_line_each
from learnae.models.graph import normalises_rows, token_count
from learnae.samples.files.examples import add_recording, open_examples
from learnae.samples.files.source import USUAL_LIMITS, ReadingLimits, Source
from learnae.samples.recordings import Recording
from learnae.swarm.manifest import REGRESSION, Manifest
from learnae.text import counted
from trainer_node.config import DataSection
from trainer_node.datasets.cache import fill
from trainer_node.datasets.split import Split

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


class _Loader:
    """Loads one file into one dataset."""

    def __init__(self, data: DataSection, manifest: Manifest, limits: ReadingLimits) -> None:
        self._path = Path(data.file)
        self._data = data
        self._manifest = manifest
        self._limits = limits
        self._tokens = token_count(manifest.config)
        self._dataset = Dataset(
            manifest.model, manifest.objective, limits.windows, manifest.is_autoencoder, self._tokens
        )

    def load(self) -> Dataset:
        found = open_examples(self._path, self._data.columns, self._manifest, self._limits)
        self._add(found) if isinstance(found, Recording) else self._fill(found)
        self._warn_of_one_class()
        if self._tokens is None and not normalises_rows(self._manifest.config):
            self._warn_of_scale()
        return self._dataset

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
