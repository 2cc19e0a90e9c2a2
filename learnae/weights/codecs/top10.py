"""The tenth of the values that are largest, two bits for each: 0.094 bytes a value.

k = ceil(n / 10) values are kept, all others are 0. Layout: for each 256 kept ones, in their order, two float32 scales,
little-endian, a small and a large one; then bits, filled up with zeros to a byte:

- where they stand, as Elias and Fano wrote ascending numbers (1974): position p = 8 h + l of the i-th (from 0) is a 1
  in place h + i of k + (n - 1) // 8 bits, and its l are three bits, the highest of all k first. That is a gap to the
  one before in unary eights and three bits, but always as long, so that a length is checked before anything is read;
- k bits, 1 for minus, and k bits, 1 for the large scale.

Encoder: kept is what is larger than the k-th largest |x|, and the first that equal it; with the mean m of a group's
kept |x|, the scales are the means of those up to m and beyond it (Deep Gradient Compression, Lin et al. 2017, arXiv
1712.01887; CHOCO-SGD, Koloskova et al. 2019, arXiv 1902.00340; two bits: SparseLoCo, Sarfi et al. 2025, arXiv
2508.15706). What is left of x has a squared norm of at most that of x, less s^2 / n', summed over groups of n' kept
values, s the sum of their |x|.
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
    sums,
    usable,
)

_ONE_OF = 10
_LOW = 3  # bits of a position that are written as they are: 2^3 is just below the mean gap
_PER_KEPT = 1 + _LOW + 2  # bits


def size(count: int) -> int:
    """Return two scales for 256 kept values, six bits a kept value and an eighth of a bit a value."""
    kept = _kept(count)
    return 2 * scale_bytes(kept) + -(-(_PER_KEPT * kept + _eights(count)) // 8)


def encode(values: NDArray[np.float32]) -> bytes:
    """Encode (n,) float32."""
    count, kept = len(values), _kept(len(values))
    if not count:
        return b""
    places = _largest(np.abs(values), kept)
    chosen = values[places]
    small, large, is_large = _scales(np.abs(chosen))
    where = np.zeros(kept + _eights(count), np.uint8)
    where[(places >> _LOW) + np.arange(kept)] = 1
    low = [(places >> shift & 1).astype(np.uint8) for shift in reversed(range(_LOW))]
    bits = np.concatenate([where, *low, (chosen < 0).view(np.uint8), is_large.view(np.uint8)])
    return np.stack([small, large], axis=1).astype("<f4").tobytes() + np.packbits(bits).tobytes()


def decode(data: bytes | memoryview, count: int) -> NDArray[np.float32]:
    """Decode (count,) float32; raises BrokenFrameError for places that do not ascend, and scales that are none."""
    kept, groups = _kept(count), group_count(_kept(count))
    result = np.zeros(count, np.float32)
    if not count:
        return result
    scales = read_scales(data, 2 * groups).reshape(-1, 2)
    bits = np.unpackbits(np.frombuffer(data, np.uint8, size(count) - 8 * groups, offset=8 * groups))
    end = kept + _eights(count)
    high = np.flatnonzero(bits[:end])
    if len(high) != kept:
        raise BrokenFrameError(f"a top10 frame: {len(high)} places, not {kept}")
    rest = bits[end : end + (_PER_KEPT - 1) * kept].reshape(-1, kept)
    places = high - np.arange(kept) << _LOW
    for plane in range(_LOW):
        places |= rest[plane].astype(places.dtype) << _LOW - 1 - plane
    if (places[1:] <= places[:-1]).any() or places[-1] >= count:
        raise BrokenFrameError(f"a top10 frame: its places do not ascend below {count}")
    check_rest(bits[end + (_PER_KEPT - 1) * kept :])
    found = np.repeat(scales, GROUP, axis=0)[:kept]
    sizes = np.where(rest[_LOW + 1], found[:, 1], found[:, 0])
    result[places] = np.where(rest[_LOW], -sizes, sizes)
    return result


def _kept(count: int) -> int:
    return -(-count // _ONE_OF)


def _eights(count: int) -> int:
    """Return the greatest number of eights in a position."""
    return max(count - 1, 0) >> _LOW


def _largest(sizes: NDArray[np.float32], kept: int) -> NDArray[np.intp]:
    """Return, ascending, where the ``kept`` largest are; of equal ones the first."""
    least = np.partition(sizes, len(sizes) - kept)[len(sizes) - kept]
    is_kept = sizes > least
    equal = np.flatnonzero(sizes == least)
    is_kept[equal[: kept - np.count_nonzero(is_kept)]] = True
    return np.flatnonzero(is_kept)


def _scales(
    sizes: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the scales of each group of |x|, the small and the large ones, and which values have the large one."""
    rows, numbers = grouped(sizes), lengths(len(sizes))
    is_large = rows > (sums(rows) / numbers)[:, None]
    many = np.count_nonzero(is_large, axis=1).astype(np.float32)
    large = sums(rows * is_large) / np.maximum(many, 1)
    small = sums(rows * ~is_large) / np.maximum(numbers - many, 1)
    return usable(small), usable(large), is_large.reshape(-1)[: len(sizes)]
