"""float32, little-endian: exact, 4 bytes a value."""

import numpy as np
from numpy.typing import NDArray


def size(count: int) -> int:
    """Return 4 bytes a value."""
    return 4 * count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    return values.astype("<f4").tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32."""
    return np.frombuffer(data, "<f4", count).astype(np.float32)
