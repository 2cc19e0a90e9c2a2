"""Read .npz archives that may be damaged or hostile: plain arrays, or one kind of error."""

import tokenize
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# everything that numpy and zipfile have been seen to raise on damaged bytes
DAMAGE = (
    ValueError, KeyError, OSError, EOFError, TypeError, AttributeError, SyntaxError, MemoryError, RuntimeError,
    IndexError, OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
