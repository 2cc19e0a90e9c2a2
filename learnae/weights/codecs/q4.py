"""4-bit linear quantisation with one float32 scale per 256 values: 0.516 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then two values a byte, the first in the lower half, each a
step in -7..7 as two's complement; a last half byte is 0. value = scale * step (QSGD with deterministic rounding,
Alistarh et al. 2017, arXiv 1610.02132). The error of a value is at most a fourteenth of the largest in its group.
"""

import numpy as np
from numpy.typing import NDArray

from learnae.errors import BrokenFrameError
from learnae.weights.codecs.groups import (
    GROUP,
    check_rest,
    group_count,
    grouped,
    read_scales,
    scale_bytes,
    scaled,
    usable,
)

_LEVELS = 7
_UNUSED = 8  # -8 as two's complement: one more level below zero than above would be no use


def size(count: int) -> int:
    """Return 4 bytes a group and half a byte a value."""
    return scale_bytes(count) + -(-count // 2)


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    count, rows = len(values), grouped(values)
    scales = usable(np.abs(rows).max(axis=1) / np.float32(_LEVELS))
    steps = rows / np.where(scales > 0, scales, np.float32(1))[:, None]
    np.clip(np.rint(steps, out=steps), -_LEVELS, _LEVELS, out=steps)
    halves = steps.astype(np.int8).view(np.uint8).reshape(-1, 2) & 15
    packed = halves[:, 0] | halves[:, 1] << 4
    return scales.astype("<f4").tobytes() + packed[: -(-count // 2)].tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32; raises BrokenFrameError for a step of -8, and for scales that are none."""
    scales = read_scales(data, group_count(count))
    packed = np.zeros(group_count(count) * GROUP // 2, np.uint8)
    used = -(-count // 2)
    packed[:used] = np.frombuffer(data, np.uint8, used, offset=scale_bytes(count))
    halves = np.empty((len(packed), 2), np.uint8)
    np.bitwise_and(packed, 15, out=halves[:, 0])
    np.right_shift(packed, 4, out=halves[:, 1])
    if (halves == _UNUSED).any():
        raise BrokenFrameError("a q4 frame: a step is -8, not -7 to 7")
    if count % 2:
        check_rest(packed[used - 1 : used] >> 4)
    return scaled((halves ^ 8).view(np.int8) - 8, scales, count)  # eight more, eight less: the sign of four bits
