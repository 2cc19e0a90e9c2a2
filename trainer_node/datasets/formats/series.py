"""Tables of any format, and the raw recordings in them that a swarm with features cuts its windows from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from learnae.ports import Samples
from learnae.samples.recordings import Recording, check_recording
from learnae.samples.table_headers import CSV, PARQUET
from learnae.swarm.features import Features
from trainer_node.datasets.formats.csv_table import CsvTable
from trainer_node.datasets.formats.parquet import ParquetTable
from trainer_node.datasets.formats.tables import Table
from trainer_node.datasets.source import CHUNK_BYTES, USUAL_LIMITS


def open_table(
    path: Path, label: str = "", classes: Sequence[str] = (), text_bytes: int = USUAL_LIMITS.text_bytes
) -> Table | None:
    """Open the table in a file, whose column ``label`` may name ``classes``; None if its format is not known.

    Raises DataError.
    """
    if path.name.endswith(CSV):
        return CsvTable(path, label, classes, text_bytes)
    return ParquetTable(path, label, classes) if path.suffix in PARQUET else None


def holds_recording(table: Table, features: Features | None) -> bool:
    """Return True if the columns are channels: raw samples, and no rows for a model."""
    return features is not None and set(features.channels) <= set(table.names)


def recording_of(table: Table, features: Features, label: str) -> Recording:
    """Read the recording in a table for which ``holds_recording`` is true; raises DataError."""
    others = [name for name in ("time", label) if name in table.names]
    wanted = [*features.channels, *others]
    parts = [values for values, _ in table.pieces(wanted)]
    whole = np.concatenate([np.empty((0, len(wanted))), *parts])
    channels = len(features.channels)
    columns = {"label" if name == label else name: whole[:, channels + i] for i, name in enumerate(others)}
    return check_recording({**columns, "signal": whole[:, :channels]}, channels, features.rate, str(table.path))


def pieces(samples: Samples, features: Features, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Samples]:
    """Yield the samples in parts whose windows, which overlap, take about ``chunk_bytes``."""
    window_bytes = features.span * len(features.channels) * np.dtype(np.float32).itemsize
    size = max(chunk_bytes // window_bytes, 1) * features.hop
    for start in range(0, len(samples.time), size):
        part = slice(start, start + size)
        yield Samples(samples.time[part], samples.values[part], samples.label[part], samples.holdout[part])
