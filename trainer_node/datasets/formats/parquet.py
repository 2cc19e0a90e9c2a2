"""Parquet files, streamed by pyarrow (extra ``parquet``)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from learnae.errors import DataError
from learnae.overriding import override
from learnae.samples.recordings import class_number, numbers_of
from learnae.samples.table_headers import parquet_names, pyarrow
from trainer_node.datasets.formats.tables import Piece, Table
from trainer_node.datasets.source import Array

_BATCH_BYTES = 1 << 20  # memory holds a batch several times: as pages, as Arrow's columns, as NumPy's


class ParquetTable(Table):
    """A table of numbers, perhaps with a label in words; nulls become NaN. Raises DataError."""

    def __init__(self, path: Path, label: str = "", classes: Sequence[str] = ()) -> None:
        self.path = path
        self._label = label
        self._classes = numbers_of(classes)
        self._arrow, self._parquet = pyarrow(path)
        with self._open() as file:
            self._schema = file.schema_arrow
        self.names = parquet_names(path, self._schema.names)

    @override
    def pieces(self, wanted: Sequence[str]) -> Iterator[Piece]:
        types = self._arrow.types
        for name, kind in ((name, self._schema.field(name).type) for name in wanted):
            is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
            if not is_number and not self._holds_names(name, kind):
                raise DataError(f"{self.path}: column {name!r} is of type {kind}", "give numbers, or leave it out")
        size = max(_BATCH_BYTES // (8 * len(wanted)), 1)
        read = 0
        with self._open() as file:
            total = max(file.metadata.num_rows, 1)
            try:
                for batch in file.iter_batches(size, columns=list(wanted)):
                    columns = [self._numbers(name, batch.column(name)) for name in wanted]
                    read += batch.num_rows
                    yield Piece(np.stack(columns, axis=1), read / total)
                self._arrow.default_memory_pool().release_unused()
            except (OSError, self._arrow.ArrowException) as error:
                raise self._unreadable(error) from error

    def _numbers(self, name: str, column: Any) -> Array:
        if self._holds_names(name, column.type):
            texts = column.to_pylist()
            return np.array([np.nan if text is None else class_number(text, self._classes) for text in texts])
        try:
            return np.asarray(column.cast(self._arrow.float64()).to_numpy(zero_copy_only=False))
        except self._arrow.ArrowInvalid as error:  # whole numbers beyond 2^53
            raise DataError(f"{self.path}: column {name!r}: {error}", "leave it out, or write it as float") from error

    def _holds_names(self, name: str, kind: Any) -> bool:
        """Return True if the column is the label, and text: plain, or as pandas writes categories."""
        types = self._arrow.types
        text = kind.value_type if types.is_dictionary(kind) else kind
        return bool(self._classes and name == self._label and (types.is_string(text) or types.is_large_string(text)))

    def _open(self) -> Any:
        try:
            # a buffer for each column, instead of a whole row group at once
            return self._parquet.ParquetFile(
                self.path, buffer_size=1 << 16, pre_buffer=False, page_checksum_verification=True
            )
        except (OSError, self._arrow.ArrowException) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"cannot read {self.path}: {error}", "give a Parquet file")
