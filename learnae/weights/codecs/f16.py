"""float16 (IEEE 754 binary16), little-endian: 11 bits of precision, 2 bytes a value."""

import numpy as np
from numpy.typing import NDArray

_LARGEST = 65504.0  # beyond this float16 is infinite


def size(count: int) -> int:
    """Return 2 bytes a value."""
    return 2 * count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32; values beyond 65504 are clipped, the next delta carries the rest."""
    return np.clip(values, -_LARGEST, _LARGEST).astype("<f2").tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32."""
    return np.frombuffer(data, "<f2", count).astype(np.float32)
