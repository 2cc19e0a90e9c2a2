"""float32, little-endian: exact, 4 bytes a value. What is smaller than 2^-100 is written as 0, as scales are."""

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs.groups import LEAST_SCALE


def size(count: int) -> int:
    """Return 4 bytes a value."""
    return 4 * count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    return np.where(np.abs(values) < LEAST_SCALE, np.float32(0), values).astype("<f4").tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32."""
    return np.frombuffer(data, "<f4", count).astype(np.float32)
