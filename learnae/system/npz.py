"""Read .npz archives that may be damaged or hostile: plain arrays, or one kind of error. Write sealed ones."""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.hashes import sha256
from learnae.basics.overriding import override

# everything that numpy and zipfile have been seen to raise on damaged bytes
DAMAGE = (
    ValueError, KeyError, OSError, EOFError, TypeError, AttributeError, SyntaxError, MemoryError, RuntimeError,
    IndexError, OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_DIGEST_BYTES = 32
_HEADERS = 16  # of arrays that are written again and again: a state has seven or so


class DamagedArchiveError(Exception):
    """The bytes are no archive of plain arrays."""


def read_archive(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file; nothing is ever unpickled. Raises DamagedArchiveError."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise DamagedArchiveError(f"{type(error).__name__}: {error}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind in "OV":
            raise DamagedArchiveError(f"{name} is no plain array")
    return arrays


def sealed_archive(arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """Return the sha2-256 of the rest, then an uncompressed .npz of ``arrays``, in pieces.

    Most pieces are the arrays' own memory, not copies of it: write them before an array changes.
    """
    written = _Pieces()
    with zipfile.ZipFile(written, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                whole = np.ascontiguousarray(array).reshape(array.shape)
                entry.write(_header(whole.dtype, whole.shape))
                entry.write(whole.reshape(-1).view(np.uint8).data)
    return [sha256(*written.pieces), *written.pieces]


@lru_cache(_HEADERS)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    written = io.BytesIO()
    said = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(written, said)
    return written.getvalue()


class _Pieces(io.RawIOBase):
    """A file that cannot be read, and has what was written to it."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        self.pieces.append(data)
        return len(data)


def open_sealed(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of what ``sealed_archive`` made; raises DamagedArchiveError for anything else."""
    if sha256(memoryview(data)[_DIGEST_BYTES:]) != data[:_DIGEST_BYTES]:
        raise DamagedArchiveError("it is not what was written")
    buffer = io.BytesIO(data)
    buffer.seek(_DIGEST_BYTES)
    return read_archive(buffer)
