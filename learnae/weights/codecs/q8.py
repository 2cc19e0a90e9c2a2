"""8-bit linear quantisation with one float32 scale per 256 values: 1.016 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then n signed bytes in -127..127;
value = scale * byte (QSGD with deterministic rounding, Alistarh et al. 2017).
"""

import numpy as np
from numpy.typing import NDArray

_GROUP = 256  # small enough that one layer's large values don't coarsen another's
_LEVELS = 127


def _groups(count: int) -> int:
    return -(-count // _GROUP)


def size(count: int) -> int:
    """Return 4 bytes a group and one a value."""
    return 4 * _groups(count) + count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    padded = np.zeros(_groups(len(values)) * _GROUP, np.float32)
    padded[: len(values)] = values
    grouped = padded.reshape(-1, _GROUP)
    scales = np.abs(grouped).max(axis=1) / np.float32(_LEVELS)
    divisor = np.where(scales > 0, scales, np.float32(1))
    steps = np.clip(np.rint(grouped / divisor[:, None]), -_LEVELS, _LEVELS).astype(np.int8)
    return scales.astype("<f4").tobytes() + steps.reshape(-1)[: len(values)].tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32."""
    groups = _groups(count)
    scales = np.frombuffer(data, "<f4", groups).astype(np.float32)
    steps = np.frombuffer(data, np.int8, count, offset=4 * groups).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # hostile scales; the frame checks the result
        return steps * np.repeat(scales, _GROUP)[:count]
