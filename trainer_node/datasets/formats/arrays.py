""".npz files of x and y, streamed out of the archive."""

import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from learnae.errors import DataError
from learnae.overriding import override
from learnae.system.npz import DAMAGE
from learnae.system.paths import home
from trainer_node.datasets.source import USUAL_LIMITS, Array, Chunk, ReadingLimits, Source


class Header(NamedTuple):
    """Shape, order and type of an array in the archive."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


class ArraySource(Source):
    """``x`` (n, *input) and ``y`` (n,) or (n, outputs), perhaps ``x_holdout`` and ``y_holdout``.

    An ``autoencoder`` needs no ``y``: its rows are the targets.
    An array in Fortran's order (a transposed one, or what pandas gives) has its rows in pieces all over: a large
    one goes through a file without a name, not through memory. Raises DataError.
    """

    def __init__(
        self, path: Path, headers: dict[str, Header], autoencoder: bool = False, limits: ReadingLimits = USUAL_LIMITS
    ) -> None:
        self.path = path
        self.names: list[str] = []
        self._headers = headers
        self._limits = limits
        self._autoencoder = autoencoder
        needed = ("x",) if autoencoder else ("x", "y")
        held_out = [f"{name}_holdout" for name in needed]
        absent = [name for name in needed if name not in headers]
        if absent:
            raise DataError(
                f"{path} has no array {', '.join(absent)}", "give x and y, or a recording with signal and label"
            )
        for name in (*needed, *held_out):
            if name in headers and headers[name].dtype.kind not in "fiub":
                raise DataError(f"{path}: {name} is of type {headers[name].dtype}", "give numbers")
        given = [name for name in held_out if name in headers]
        if given and given != held_out:
            raise DataError(f"{path} has only {given[0]}", "give both x_holdout and y_holdout, or neither")
        self._pairs = (
            [("x", needed[-1], False), ("x_holdout", held_out[-1], True)] if given else [("x", needed[-1], None)]
        )
        for rows, targets, _ in self._pairs:
            x, y = headers[rows].shape, headers[targets].shape
            if len(x) < 2 or not y or x[0] != y[0]:
                raise DataError(f"{path}: x is {x} and y is {y}", "both need one entry a row")

    @override
    def chunks(self) -> Iterator[Chunk]:
        total = max(sum(self._headers[name].shape[0] for name, _, _ in self._pairs), 1)
        done = 0
        for rows, targets, held_out in self._pairs:
            header = self._headers[rows]
            count = max(self._limits.chunk_bytes // max(math.prod(header.shape[1:]) * header.dtype.itemsize, 1), 1)
            if header.fortran:
                count = max(count, self._limits.array_rows)
            for part, target in self._paired(rows, targets, count):
                done += len(part)
                yield Chunk(part, target, held_out, done / total)

    def _paired(self, rows: str, targets: str, count: int) -> Iterator[tuple[Array, Array]]:
        if self._autoencoder:
            return ((part, part) for part in self._pieces(rows, count))
        return zip(self._pieces(rows, count), self._pieces(targets, count), strict=True)

    def _pieces(self, name: str, count: int) -> Iterator[Array]:
        """Yield the array ``name``, ``count`` rows at a time."""
        with archive_errors(self.path), zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
            header = _read_header(file)
            length, rest = header.shape[0], header.shape[1:]
            if header.fortran and rest:
                yield from _transposed(file, header, count, self._limits)
                return
            for start in range(0, length, count):
                rows = min(count, length - start)
                size = rows * math.prod(rest) * header.dtype.itemsize
                yield np.frombuffer(file.read(size), header.dtype).reshape((rows, *rest))


def _transposed(file: IO[bytes], header: Header, count: int, limits: ReadingLimits) -> Iterator[Array]:
    """Yield the rows of an array in Fortran's order, ``count`` at a time."""
    length, rest = header.shape[0], header.shape[1:]
    columns, item = math.prod(rest), header.dtype.itemsize
    size = length * columns * item
    if size > limits.array_bytes:
        home().mkdir(parents=True, exist_ok=True)
    with tempfile.SpooledTemporaryFile(limits.array_bytes, dir=str(home())) as copy:
        while piece := file.read(min(limits.chunk_bytes, size - copy.tell())):
            copy.write(piece)
        if copy.tell() != size:
            raise ValueError(f"an array has {copy.tell()} bytes of {size}")
        for start in range(0, length, count):
            part = np.empty((columns, min(count, length - start)), header.dtype)
            for column in range(columns):
                copy.seek((column * length + start) * item)
                part[column] = np.frombuffer(copy.read(part.shape[1] * item), header.dtype)
            yield part.T.reshape((part.shape[1], *rest), order="F")


def read_headers(path: Path) -> dict[str, Header]:
    """Read the headers of an .npz file's arrays, by name; raises DataError."""
    with archive_errors(path), zipfile.ZipFile(path) as archive:
        result = {}
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as file:
                    result[name.removesuffix(".npy")] = _read_header(file)
        return result


@contextmanager
def archive_errors(path: Path) -> Iterator[None]:
    """Raise what can be wrong with an archive as a DataError."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"cannot read {path}: {error}", "give an .npz file without pickled objects") from error


def _read_header(file: IO[bytes]) -> Header:
    """Read to where the data begins; raises ValueError for what is no array of plain numbers."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array holds pickled objects")
    return Header(shape, fortran, dtype)
