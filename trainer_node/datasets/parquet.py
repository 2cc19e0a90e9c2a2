"""Parquet files, streamed by pyarrow (extra ``parquet``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from learnae.errors import DataError
from trainer_node.datasets.chunks import Chunk
from trainer_node.datasets.tables import Columns

_BATCH_BYTES = 1 << 20  # a batch is there several times: as pages, as Arrow's columns, as ours


class ParquetSource:
    """One row an example; columns must be numbers, and nulls become NaN. Raises DataError."""

    def __init__(self, path: Path, label: str, inputs: tuple[int, ...]) -> None:
        self.path = path
        try:
            self._arrow: Any = importlib.import_module("pyarrow")
            self._parquet: Any = importlib.import_module("pyarrow.parquet")
        except ImportError as error:
            raise DataError(f"{path}: reading Parquet needs pyarrow", "pip install 'learnae[parquet]'") from error
        with self._open() as file:
            schema = file.schema_arrow
        self._columns = Columns(path, schema.names, label, inputs)
        self.names = self._columns.names
        self._wanted = [*self.names, label]
        for name in self._wanted:
            self._check_type(name, schema.field(name).type)

    def chunks(self) -> Iterator[Chunk]:
        """All rows, with float64 columns where the file has integers, as float32 would round large ones."""
        rows = max(_BATCH_BYTES // (8 * len(self._wanted)), 1)
        read = 0
        with self._open() as file:
            total = max(file.metadata.num_rows, 1)
            try:
                for batch in file.iter_batches(rows, columns=self._wanted):
                    columns = [
                        batch.column(name).cast(self._arrow.float64()).to_numpy(zero_copy_only=False)
                        for name in self._wanted
                    ]
                    read += batch.num_rows
                    yield Chunk(np.stack(columns[:-1], axis=1), columns[-1], None, read / total)
                self._arrow.default_memory_pool().release_unused()
            except (OSError, self._arrow.ArrowException) as error:
                raise self._unreadable(error) from error

    def _open(self) -> Any:
        try:
            # a buffer of its own for each column, instead of a whole row group at once
            return self._parquet.ParquetFile(self.path, buffer_size=1 << 16, pre_buffer=False)
        except (OSError, self._arrow.ArrowException) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"cannot read {self.path}: {error}", "give a Parquet file")

    def _check_type(self, name: str, kind: Any) -> None:
        types = self._arrow.types
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            raise DataError(f"{self.path}: column {name!r} is of type {kind}", "give numbers, or leave it out")
