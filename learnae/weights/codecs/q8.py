"""8-bit linear quantisation with one float32 scale per 256 values: 1.016 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then n signed bytes in -127..127;
value = scale * byte (QSGD with deterministic rounding, Alistarh et al. 2017, arXiv 1610.02132).
"""

import numpy as np
from numpy.typing import NDArray

from learnae.weights.codecs.groups import GROUP, group_count, grouped, read_scales, scale_bytes, scaled, usable

_LEVELS = 127


def size(count: int) -> int:
    """Return 4 bytes a group and one a value."""
    return scale_bytes(count) + count


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    rows = grouped(values)
    scales = usable(np.abs(rows).max(axis=1) / np.float32(_LEVELS))
    steps = rows / np.where(scales > 0, scales, np.float32(1))[:, None]
    np.clip(np.rint(steps, out=steps), -_LEVELS, _LEVELS, out=steps)
    return scales.astype("<f4").tobytes() + steps.astype(np.int8).reshape(-1)[: len(values)].tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32; raises BrokenFrameError for scales that are none."""
    groups = group_count(count)
    scales = read_scales(data, groups)
    steps = np.zeros(groups * GROUP, np.int8)
    steps[:count] = np.frombuffer(data, np.int8, count, offset=4 * groups)
    return scaled(steps, scales, count)
