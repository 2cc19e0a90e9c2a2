"""What a .keras file holds, checked before Keras reads it: a few kilobytes can unpack to any number of gigabytes."""

import importlib
import io
import zipfile
from pathlib import Path
from typing import Any

from learnae.errors import ModelError

_WEIGHTS = "model.weights.h5"
_MOST_BYTES = {"metadata.json": 1 << 16, "config.json": 1 << 20}
_COPIES = 4  # of the weights: an optimiser may be saved with its own
_SPARE_VALUES = 1 << 16  # states of random numbers, counts
_SPARE_BYTES = 1 << 24  # of HDF5's own, some kilobytes a layer
_WIDEST = 8  # bytes of a number
_DEEPEST = 64
_MOST_OBJECTS = 1 << 16


def check_weights(path: Path, count: int) -> None:
    """Raise ModelError unless the .keras file ``path`` holds what a model of ``count`` parameters may, as Keras writes.

    That is: no other file inside, and in its HDF5 file plain numbers, no more than fit, unpacked, and no links.
    """
    most = _COPIES * count + _SPARE_VALUES
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                limit = (
                    _WIDEST * most + _SPARE_BYTES if member.filename == _WEIGHTS else _MOST_BYTES.get(member.filename)
                )
                if limit is None:
                    raise _refused(path, f"it holds a file {member.filename[:60]!r}")
                if member.file_size > limit:
                    raise _refused(path, f"{member.filename} has {member.file_size:,} bytes, where {limit:,} may be")
            data = archive.read(_WEIGHTS)
        h5py: Any = importlib.import_module("h5py")
        with h5py.File(io.BytesIO(data), "r") as file:
            _Walk(path, h5py, most).group(file, "", 0)
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError(f"cannot read the weights in {path}: {error}", "save the model again") from error


class _Walk:
    """Goes through an HDF5 file by its headers: no number is read."""

    def __init__(self, path: Path, h5py: Any, most: int) -> None:
        self._path = path
        self._h5py = h5py
        self._left, self._most = most, most
        self._objects = 0

    def group(self, group: Any, place: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise _refused(self._path, f"groups nest deeper than {_DEEPEST}")
        for name in group:
            inner = f"{place}/{name}"
            self._objects += 1
            if self._objects > _MOST_OBJECTS:
                raise _refused(self._path, f"it has more than {_MOST_OBJECTS} groups and arrays")
            link = group.get(name, getlink=True)
            if not isinstance(link, self._h5py.HardLink):
                raise _refused(self._path, f"{inner} is a link")
            found = group[name]
            if isinstance(found, self._h5py.Group):
                self.group(found, inner, depth + 1)
            elif isinstance(found, self._h5py.Dataset):
                self._array(found, inner)
            else:
                raise _refused(self._path, f"{inner} is no array")

    def _array(self, array: Any, place: str) -> None:
        if array.external or array.is_virtual:
            raise _refused(self._path, f"{place} is kept in other files")
        if array.chunks is not None:
            raise _refused(self._path, f"{place} is packed, or in pieces")
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > _WIDEST:
            raise _refused(self._path, f"{place} is of type {array.dtype}")
        self._left -= int(array.size or 0)
        if self._left < 0:
            raise _refused(self._path, f"its arrays have more than {self._most:,} values")


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(f"{path}: {why}", "save the model with Keras: model.save('model.keras')")
