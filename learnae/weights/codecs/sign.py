"""One bit a value, with one float32 scale per 256 values: 0.141 bytes a value.

Layout: ceil(n / 256) scales (float32, little-endian), then a bit a value, the first in a byte's highest place, 1 for
minus; what fills up the last byte is 0. value = scale or -scale. Encoder: scale = the mean of |x| in the group, minus
where x < 0 (1-bit SGD, Seide et al. 2014; signSGD with error feedback, Karimireddy et al. 2019, arXiv 1901.09847).

What is left of x in a group of n after one frame has the squared norm of x less s^2 / n, s the sum of |x|.
"""

import numpy as np
from numpy.typing import NDArray

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

_BITS = 8


def size(count: int) -> int:
    """Return 4 bytes a group and a bit a value."""
    return scale_bytes(count) + -(-count // _BITS)


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    scales = usable(sums(np.abs(grouped(values))) / lengths(len(values)))
    return scales.astype("<f4").tobytes() + np.packbits(values < 0).tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32; raises BrokenFrameError for scales that are none."""
    scales = read_scales(data, group_count(count))
    packed = np.zeros(group_count(count) * GROUP // _BITS, np.uint8)
    used = -(-count // _BITS)
    packed[:used] = np.frombuffer(data, np.uint8, used, offset=scale_bytes(count))
    if count % _BITS:
        check_rest(packed[used - 1 : used] & (0xFF >> count % _BITS))
    return scaled(1 - 2 * np.unpackbits(packed).view(np.int8), scales, count)
