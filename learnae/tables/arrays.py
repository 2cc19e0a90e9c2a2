"""NumPy's files: arrays of plain numbers, whole or streamed out of the archive; nothing is ever unpickled."""

import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from learnae.basics.memory import memory_left
from learnae.errors import DataError
from learnae.system.npz import DAMAGE
from learnae.system.paths import home
from learnae.system.private_files import make_directory
from learnae.tables.opening import check_readable

_MEMBER = ".npy"
_MIB = 1 << 20
_COPY_BYTES = 1 << 20  # at a time
_MOST_ARRAYS = 1024
_MOST_ROW_BYTES = 1 << 27  # as many values as a layer may have, in float64
_LEAST_FREE_BYTES = 1 << 28  # of a disk, beside what is written to it
MEMORY_BYTES = 1 << 24  # of an array in Fortran's order, read whole: nothing beside the interpreter


class Header(NamedTuple):
    """Shape, order and type of an array in the archive."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


class Arrays:
    """The arrays of an .npz file, by name; that of an .npy file is called ``bare``. Raises DataError."""

    def __init__(self, path: Path, bare: str = "x") -> None:
        self.path = path
        self._bare = bare
        check_readable(path)
        self._is_archive = not path.name.lower().endswith(_MEMBER)
        self.headers: dict[str, Header] = {}
        with self._errors():
            names = self._names()
            if len(names) > _MOST_ARRAYS:
                raise ValueError(f"it has {len(names)} arrays, of which at most {_MOST_ARRAYS} are read")
            for name in names:
                with self._opened(name) as file:
                    self.headers[name] = _read_header(file, name)

    def read(self, name: str) -> NDArray[Any]:
        """Return a whole array; of a size that memory has room for: a packed file tells little of it."""
        shape, left = self.headers[name].shape, memory_left()
        size = math.prod(shape) * self.headers[name].dtype.itemsize
        if left is not None and size > left * _MIB / 2:
            raise DataError(
                f"{self.path}: {name} has {size:,} bytes, and {left:,.0f} MiB of memory are free",
                "give a smaller file, or a machine with more memory",
            )
        parts = list(self.pieces(name, max(shape[0], 1))) if shape else []
        if not parts:
            return np.empty(shape, self.headers[name].dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pieces(self, name: str, count: int, memory_bytes: int = MEMORY_BYTES) -> Iterator[NDArray[Any]]:
        """Yield an array, ``count`` rows at a time.

        One in Fortran's order (a transposed one, or what pandas gives) has its rows in pieces all over: if it has more
        than ``memory_bytes`` it goes through a file without a name, not through memory.
        """
        with self._errors(), self._opened(name) as file:
            header = _read_header(file, name)
            length, rest = header.shape[0], header.shape[1:]
            row = math.prod(rest) * header.dtype.itemsize
            if row > _MOST_ROW_BYTES:
                raise ValueError(f"a row of {name} has {row:,} bytes, of which at most {_MOST_ROW_BYTES:,} are read")
            if header.fortran and rest:
                yield from _transposed(file, header, count, memory_bytes)
                return
            for start in range(0, length, count):
                rows = min(count, length - start)
                size = rows * math.prod(rest) * header.dtype.itemsize
                yield np.frombuffer(file.read(size), header.dtype).reshape((rows, *rest))

    def _names(self) -> list[str]:
        if not self._is_archive:
            return [self._bare]
        with zipfile.ZipFile(self.path) as archive:
            return [name.removesuffix(_MEMBER) for name in archive.namelist() if name.endswith(_MEMBER)]

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if not self._is_archive:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}{_MEMBER}") as member:
            yield member

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise what can be wrong with an archive as a DataError."""
        try:
            yield
        except DAMAGE as error:
            raise DataError(
                f"cannot read {self.path}: {error}",
                "give an .npz or .npy file without pickled objects: array.astype(str), or float",
            ) from error


def without_axis(array: NDArray[Any]) -> NDArray[Any]:
    """Return a column vector (n, 1) as (n,), and any other array as it is."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _transposed(file: IO[bytes], header: Header, count: int, memory_bytes: int) -> Iterator[NDArray[Any]]:
    """Yield the rows of an array in Fortran's order, ``count`` at a time."""
    length, rest = header.shape[0], header.shape[1:]
    columns, item = math.prod(rest), header.dtype.itemsize
    size = length * columns * item
    if size > memory_bytes:
        make_directory(home())
        if size + _LEAST_FREE_BYTES > (free := shutil.disk_usage(home()).free):
            raise ValueError(f"an array of {size:,} bytes goes through the disk, where {free:,} are free")
    with tempfile.SpooledTemporaryFile(memory_bytes, dir=str(home())) as copy:
        while piece := file.read(min(_COPY_BYTES, size - copy.tell())):
            copy.write(piece)
        if copy.tell() != size:
            raise ValueError(f"an array has {copy.tell()} bytes of {size}")
        for start in range(0, length, count):
            part = np.empty((columns, min(count, length - start)), header.dtype)
            for column in range(columns):
                copy.seek((column * length + start) * item)
                part[column] = np.frombuffer(copy.read(part.shape[1] * item), header.dtype)
            yield part.T.reshape((part.shape[1], *rest), order="F")


def _read_header(file: IO[bytes], name: str) -> Header:
    """Read to where the data begins; raises ValueError for what is no array of plain numbers."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"the array {name!r} holds pickled objects")
    if any(length < 0 for length in shape):
        raise ValueError(f"the array {name!r} has the shape {shape}")
    return Header(shape, fortran, dtype)
