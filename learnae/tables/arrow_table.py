"""Parquet and Arrow files, streamed by pyarrow (extra ``parquet``)."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.system.installation import how_to_install
from learnae.tables.numbers import Numbers
from learnae.tables.table import HEAD_ROWS, Floats, Kind, Piece, Table, Where
from learnae.tables.times import Times

_BATCH_BYTES = 1 << 20  # memory holds a batch several times: as pages, as Arrow's columns, as NumPy's
_MOST_UNPACKED, _MOST_RATIO = 1 << 28, 1000  # bytes of a row group, and times the size of the file
# what pyarrow raises beside its own errors where names or offsets are damaged
_DAMAGE = (OSError, UnicodeDecodeError, SystemError, OverflowError, MemoryError)
_INDEX = "__index_level_"  # how pandas calls an index without a name


class ArrowTable(Table):
    """A table of typed columns; nulls are empty fields. Raises DataError."""

    unit = "row"

    def __init__(self, path: Path, is_parquet: bool) -> None:
        self.path = path
        self._is_parquet = is_parquet
        try:
            self._arrow: Any = importlib.import_module("pyarrow")
            self._library: Any = importlib.import_module("pyarrow.parquet" if self._is_parquet else "pyarrow.ipc")
        except ImportError as error:
            kind = "Parquet" if self._is_parquet else "Arrow files"
            raise DataError(f"{path}: reading {kind} needs pyarrow", how_to_install("parquet")) from error
        with self._errors(), self._opened() as file:
            self._schema = file.schema_arrow if self._is_parquet else file.schema
            names: list[str] = self._schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{path} has several columns of one name: {', '.join(twice)}", "name every column once")
        self.index_names = [name for name in names if name.startswith(_INDEX)]
        self.names = [name for name in names if not name.startswith(_INDEX)]

    @override
    def head(self) -> Mapping[str, Sequence[object]]:
        with self._errors():
            for batch, _ in self._batches([*self.names, *self.index_names], HEAD_ROWS):
                return {name: _shown(batch.column(name)) for name in batch.schema.names}
        return {name: [] for name in (*self.names, *self.index_names)}

    @override
    def pieces(self, wanted: Sequence[tuple[str, Kind]]) -> Iterator[Piece]:
        names = [name for name, _ in wanted]
        self._check_types(wanted)
        size, read = max(_BATCH_BYTES // (8 * max(len(wanted), 1)), 1), 0
        with self._errors():
            for batch, total in self._batches(names, size):
                numbers = read + 1 + np.arange(batch.num_rows)
                values = np.empty((batch.num_rows, len(wanted)))
                for column, (name, kind) in enumerate(wanted):
                    where = Where(self.path, "row", numbers, name)
                    values[:, column] = self._values(batch.column(name), kind, where)
                read += batch.num_rows
                yield Piece(values, numbers, read / max(total, 1))
            self._arrow.default_memory_pool().release_unused()

    def _check_types(self, wanted: Sequence[tuple[str, Kind]]) -> None:
        types = self._arrow.types
        for name, kind in wanted:
            given = self._schema.field(name).type
            plain = given.value_type if types.is_dictionary(given) else given
            is_number = types.is_integer(plain) or types.is_floating(plain) or types.is_decimal(plain)
            is_time = types.is_timestamp(plain) or types.is_date(plain) or types.is_duration(plain)
            if is_number or types.is_boolean(plain) or types.is_null(plain):
                continue
            if isinstance(kind, Numbers) or not (self._is_text(plain) or is_time):
                raise DataError(f"{self.path}: column {name!r} is of type {given}", kind.expected)

    def _is_text(self, given: Any) -> bool:
        types = self._arrow.types
        is_view = getattr(types, "is_string_view", lambda _: False)  # pyarrow 16
        return bool(types.is_string(given) or types.is_large_string(given) or is_view(given))

    def _values(self, column: Any, kind: Kind, where: Where) -> Floats:
        arrow, types = self._arrow, self._arrow.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self._is_text(column.type) or types.is_null(column.type):
            return kind.of_texts([text or "" for text in column.to_pylist()], where)
        if types.is_timestamp(column.type) or types.is_date(column.type) or types.is_duration(column.type):
            if types.is_date(column.type):
                column = column.cast(arrow.timestamp("s" if types.is_date32(column.type) else "ms"))
            return kind.of_array(column.to_numpy(zero_copy_only=False), where)
        if types.is_boolean(column.type) and not isinstance(kind, Numbers):
            return kind.of_texts([_text(value) for value in column.to_pylist()], where)
        try:
            if types.is_boolean(column.type):
                column = column.cast(arrow.int8())
            # float64 has nanoseconds since 1970 to a quarter of a microsecond
            floats = column.cast(arrow.float64(), safe=not isinstance(kind, Times))
            return kind.of_array(floats.to_numpy(zero_copy_only=False), where)
        except arrow.ArrowInvalid as error:  # whole numbers beyond 2^53
            raise DataError(
                f"{self.path}: column {where.column!r}: {error}", "leave it out, or write it as float"
            ) from error

    def _batches(self, names: list[str], size: int) -> Iterator[tuple[Any, int]]:
        """Yield batches of at most ``size`` rows, and how many rows there are."""
        with self._opened() as file:
            if self._is_parquet:
                self._check_packing(file.metadata)
                for batch in file.iter_batches(size, columns=names):
                    batch.validate(full=True)
                    yield batch, file.metadata.num_rows
                return
            for number in range(file.num_record_batches):
                batch = file.get_batch(number).select(names)
                batch.validate(full=True)  # else its offsets are used as they are, wherever they lead
                for start in range(0, batch.num_rows, size):
                    part = batch.slice(start, size)
                    # of batches before and after this one, only the number is known
                    yield part, (start + batch.num_rows) * file.num_record_batches

    def _check_packing(self, metadata: Any) -> None:
        """Raise DataError for a row group that unpacks to very many times as much as the file has bytes."""
        most = max(_MOST_UNPACKED, _MOST_RATIO * self.path.stat().st_size)
        for number in range(metadata.num_row_groups):
            if (size := metadata.row_group(number).total_byte_size) > most:
                raise DataError(
                    f"{self.path}: row group {number} unpacks to {size:,} bytes, and at most {most:,} are read",
                    "write it in smaller row groups",
                )

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if self._is_parquet:
            # a buffer for each column, instead of a whole row group at once
            options = {"buffer_size": 1 << 16, "pre_buffer": False, "page_checksum_verification": True}
            with self._library.ParquetFile(self.path, **options) as file:
                yield file
            return
        with self._arrow.memory_map(str(self.path)) as mapped:
            yield self._library.open_file(mapped)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, *_DAMAGE) as error:
            kind = "a Parquet file" if self._is_parquet else "an Arrow file (feather version 2, not a stream)"
            raise DataError(f"cannot read {self.path}: {error}", f"give {kind}") from error


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _shown(column: Any) -> list[object]:
    """Return values for looking at; times in nanoseconds are more than Python's have."""
    if not str(column.type).startswith(("timestamp", "date")):
        return list(column.to_pylist())
    texts = column.to_numpy(zero_copy_only=False).astype(str).tolist()
    return [None if text == "NaT" else text for text in texts]
