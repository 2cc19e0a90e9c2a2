"""8-bit linear quantisation with one float32 scale per 256 values: 1.016 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then n signed bytes in -127..127;
value = scale * byte (QSGD with deterministic rounding, Alistarh et al. 2017, arXiv 1610.02132).
"""

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs.groups import GROUP, group_count, grouped, scale_bytes, scaled

_LEVELS = 127


def size(count: int) -> int:
    """Return 4 bytes a group and one a value."""
    return scale_bytes(count) + count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    rows = grouped(values)
    scales = np.abs(rows).max(axis=1) / np.float32(_LEVELS)
    steps = rows / np.where(scales > 0, scales, np.float32(1))[:, None]
    np.clip(np.rint(steps, out=steps), -_LEVELS, _LEVELS, out=steps)
    return scales.astype("<f4").tobytes() + steps.astype(np.int8).reshape(-1)[: len(values)].tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32."""
    groups = group_count(count)
    scales = np.frombuffer(data, "<f4", groups).astype(np.float32)
    steps = np.zeros(groups * GROUP, np.int8)
    steps[:count] = np.frombuffer(data, np.int8, count, offset=4 * groups)
    with np.errstate(invalid="ignore"):  # hostile scales; the frame checks the result
        return scaled(steps, scales, count)
