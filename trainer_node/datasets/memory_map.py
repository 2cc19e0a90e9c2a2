"""A part of the rows on disk: two files of plain numbers, written piece by piece, then memory-mapped."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from learnae.models.dataset import Rows
from learnae.samples.files.source import CHUNK_BYTES, Array

_ROWS, _TARGETS = ".rows", ".targets"


class Part:
    """``NAME.rows`` and ``NAME.targets`` of a directory, in the types and shapes of ``like``.

    Where the rows are the targets, there is one file.
    """

    def __init__(self, directory: Path, name: str, like: Rows) -> None:
        self._like = [like.rows] if like.are_targets else [like.rows, like.targets]
        self._paths = [directory / f"{name}{ending}" for ending in (_ROWS, _TARGETS)[: len(self._like)]]
        self._files = [path.open("w+b") for path in self._paths]

    def __len__(self) -> int:
        return self._files[0].seek(0, os.SEEK_END) // _row_bytes(self._like[0])

    def append(self, rows: Array, targets: Array) -> None:
        """Write rows, which must have the types and shapes of ``like``."""
        for file, array in zip(self._files, (rows, targets), strict=False):
            file.write(np.ascontiguousarray(array).data)

    def pieces(self) -> Iterator[tuple[Array, Array]]:
        """Yield what has been written: through read(), as mapped pages would count as memory in use."""
        for file in self._files:
            file.seek(0)
        count = max(CHUNK_BYTES // _row_bytes(self._like[0]), 1)
        while True:
            arrays = [
                np.frombuffer(file.read(count * _row_bytes(like)), like.dtype).reshape(-1, *like.shape[1:])
                for file, like in zip(self._files, self._like, strict=True)
            ]
            if not len(arrays[0]):
                return
            yield arrays[0], arrays[-1]

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def delete(self) -> None:
        """Remove the files."""
        for path in self._paths:
            path.unlink()


def map_part(directory: Path, name: str, count: int, like: Rows) -> tuple[Array, Array]:
    """Map the rows and targets of a part with ``count`` rows, read-only: in memory only as far as they are used.

    Raises ValueError or FileNotFoundError for files that are not as they were written.
    """
    rows = _map(directory / f"{name}{_ROWS}", count, like.rows)
    return rows, rows if like.are_targets else _map(directory / f"{name}{_TARGETS}", count, like.targets)


def _map(path: Path, count: int, like: Array) -> Array:
    shape = (count, *like.shape[1:])
    if path.stat().st_size != count * _row_bytes(like):
        raise ValueError(f"{path.name} has another size")
    return np.asarray(np.memmap(path, like.dtype, "r", shape=shape)) if count else np.empty(shape, like.dtype)


def _row_bytes(array: Array) -> int:
    return math.prod(array.shape[1:]) * array.dtype.itemsize
