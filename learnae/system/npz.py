"""Read .npz archives that may be damaged or hostile: plain arrays, or one kind of error. Write sealed ones."""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.hashes import sha256

# everything that numpy and zipfile have been seen to raise on damaged bytes
DAMAGE = (
    ValueError, KeyError, OSError, EOFError, TypeError, AttributeError, SyntaxError, MemoryError, RuntimeError,
    IndexError, OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_DIGEST_BYTES = 32


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


def sealed_archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the sha2-256 of the rest, then an uncompressed .npz of ``arrays``."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    return sha256(data) + data


def open_sealed(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of what ``sealed_archive`` made; raises DamagedArchiveError for anything else."""
    digest, archive = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if sha256(archive) != digest:
        raise DamagedArchiveError("it is not what was written")
    return read_archive(io.BytesIO(archive))
