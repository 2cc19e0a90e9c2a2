"""Minus, nothing or plus, with one float32 scale per 256 values: 0.216 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then five values a byte: the sum of (t + 1) * 3^i of the i-th,
t in -1, 0, 1; what a last byte has too many is t = -1, so written 0. value = scale * t. Encoder: t = 0 where |x| is
at most 3/4 of its mean in the group, and scale = the mean of |x| of all others (Ternary Weight Networks, Li and Liu
2016, arXiv 1605.04711; TernGrad, Wen et al. 2017, arXiv 1705.07878, is the same with chance in place of feedback).

The others hold at least a quarter of the sum s of |x| in a group of n. So what is left of x after one frame has a
squared norm of at most that of x, less s^2 / (16 n).
"""

import numpy as np
from numpy.typing import NDArray

from learnae.errors import BrokenFrameError
from learnae.weights.codecs.groups import (
    GROUP,
    check_rest,
    group_count,
    grouped,
    lengths,
    read_scales,
    scale_bytes,
    scaled,
    sums,
    usable,
)

_DEAD = np.float32(0.75)  # of the mean: what is smaller is sent as nothing
_PLACES = np.array([1, 3, 9, 27, 81], np.uint8)
_PER_BYTE = len(_PLACES)
_CODES = 3**_PER_BYTE
_STEPS = (np.arange(_CODES)[:, None] // _PLACES % 3 - 1).astype(np.int8)


def size(count: int) -> int:
    """Return 4 bytes a group and a fifth of a byte a value."""
    return scale_bytes(count) + -(-count // _PER_BYTE)


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    count, rows = len(values), grouped(values)
    sizes = np.abs(rows)
    is_large = sizes > (sums(sizes) / lengths(count) * _DEAD)[:, None]
    numbers = np.maximum(np.count_nonzero(is_large, axis=1), 1).astype(np.float32)
    scales = usable(sums(sizes * is_large) / numbers)
    is_large &= (scales > 0)[:, None]
    steps = np.zeros(-(-count // _PER_BYTE) * _PER_BYTE, np.uint8)
    steps[:count] = (1 + is_large.astype(np.uint8) - 2 * (is_large & (rows < 0)).astype(np.uint8)).reshape(-1)[:count]
    packed = np.zeros(len(steps) // _PER_BYTE, np.uint8)
    for place, factor in enumerate(_PLACES):
        packed += steps[place::_PER_BYTE] * factor
    return scales.astype("<f4").tobytes() + packed.tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32; raises BrokenFrameError for bytes above 242, and for scales that are none."""
    scales = read_scales(data, group_count(count))
    packed = np.frombuffer(data, np.uint8, -(-count // _PER_BYTE), offset=scale_bytes(count))
    if (packed >= _CODES).any():
        raise BrokenFrameError(f"a ternary frame: a byte is beyond {_CODES - 1}")
    steps = np.zeros(max(group_count(count) * GROUP, len(packed) * _PER_BYTE), np.int8)
    steps[: len(packed) * _PER_BYTE] = _STEPS[packed].reshape(-1)
    check_rest(steps[count : len(packed) * _PER_BYTE] + 1)
    return scaled(steps[: group_count(count) * GROUP], scales, count)
