"""Arrays with a digest before them, as states and versions are on the disk: written without a copy, read or refused."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.hashes import sha256

_DIGEST_BYTES = 32
_LENGTH_BYTES = 4  # of the list that is before the arrays
_KINDS = "biuf"  # of NumPy's types: numbers


class DamagedArraysError(Exception):
    """The bytes are not what was written."""


def seal_arrays(arrays: Mapping[str, NDArray[Any]]) -> list[bytes | memoryview]:
    """Return the sha2-256 of the rest; the length, and the JSON, of a list of names, types and shapes; the arrays.

    Most pieces are the arrays' own memory, not copies of it: write them before an array changes. A state is written at
    each update, and making an archive of it took as long as a merge.

    >>> read = open_arrays(b"".join(seal_arrays({"ones": np.ones((2, 3))})))
    >>> read["ones"].shape
    (2, 3)
    """
    whole = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    listed = json.dumps([[name, array.dtype.str, array.shape] for name, array in whole.items()]).encode()
    data = (array.reshape(-1).view(np.uint8).data for array in whole.values())
    pieces: list[bytes | memoryview] = [len(listed).to_bytes(_LENGTH_BYTES, "big"), listed, *data]
    return [sha256(*pieces), *pieces]


def open_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of what ``seal_arrays`` made; raises DamagedArraysError for anything else."""
    sealed = memoryview(data)[_DIGEST_BYTES:]
    if sha256(sealed) != data[:_DIGEST_BYTES]:
        raise DamagedArraysError("it is not what was written")
    start = _LENGTH_BYTES + int.from_bytes(sealed[:_LENGTH_BYTES], "big")
    arrays = {}
    try:
        for name, kind, shape in json.loads(bytes(sealed[_LENGTH_BYTES:start])):
            dtype = np.dtype(kind)
            if dtype.kind not in _KINDS:
                raise DamagedArraysError(f"{name} is no array of numbers")
            end = start + math.prod(shape) * dtype.itemsize
            arrays[str(name)] = np.frombuffer(sealed[start:end], dtype).reshape(shape).copy()
            start = end
    except (ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise DamagedArraysError(f"{type(error).__name__}: {error}") from error
    if start != len(sealed):
        raise DamagedArraysError(f"{len(sealed):,} bytes in place of {start:,}")
    return arrays
