"""What the codecs share: groups of 256 values with a scale each, summed in one order on all machines.

Every operation is one of float32 on single elements (add, multiply, divide, compare), which IEEE 754 defines to the
bit. A sum halves its rows until one value is left: no library's own order of adding enters.
"""

import numpy as np
from numpy.typing import NDArray

from learnae.errors import BrokenFrameError

GROUP = 256  # small enough that one layer's large values don't coarsen another's
LEAST_SCALE = np.float32(2.0**-100)  # smaller ones are 0: no product or sum with one is subnormal, which some CPUs skip
_SCALE_BYTES = 4
_LEAST_BITS, _INFINITE_BITS = 0x0D800000, 0x7F800000  # of LEAST_SCALE and of infinity: positive floats sort as integers


def group_count(count: int) -> int:
    """Return how many groups ``count`` values make."""
    return -(-count // GROUP)


def scale_bytes(count: int) -> int:
    """Return the bytes of a scale for each group of ``count`` values."""
    return _SCALE_BYTES * group_count(count)


def grouped(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) values as (groups, 256), the last one filled up with zeros."""
    if len(values) % GROUP == 0:
        return values.reshape(-1, GROUP)
    padded = np.zeros(group_count(len(values)) * GROUP, np.float32)
    padded[: len(values)] = values
    return padded.reshape(-1, GROUP)


def sums(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum of each row of (groups, 256), added in halves."""
    width = GROUP
    while width > 1:
        width //= 2
        rows = rows[:, :width] + rows[:, width:]
    return rows[:, 0]


def lengths(count: int) -> NDArray[np.float32]:
    """Return how many of ``count`` values each group has: 256, the last one perhaps fewer."""
    found = np.full(group_count(count), GROUP, np.float32)
    if count % GROUP:
        found[-1] = count % GROUP
    return found


def usable(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return scales as they are written: what is below LEAST_SCALE is 0."""
    return np.where(scales < LEAST_SCALE, np.float32(0), scales)


def read_scales(data: bytes | memoryview, count: int, offset: int = 0) -> NDArray[np.float32]:
    """Read ``count`` scales, each 0 or from LEAST_SCALE on and finite; raises BrokenFrameError for others."""
    bits = np.frombuffer(data, "<u4", count, offset)
    if ((bits != 0) & ((bits < _LEAST_BITS) | (bits >= _INFINITE_BITS))).any():
        raise BrokenFrameError("a frame: a scale is neither 0 nor a positive number from 2^-100 on")
    return np.frombuffer(data, "<f4", count, offset).astype(np.float32)


def scaled(steps: NDArray[np.int8], scales: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Multiply the steps of whole groups by the scale of each, in float32; return the first ``count`` values.

    What overflows is infinite, which frames refuse.
    """
    with np.errstate(over="ignore"):
        return (steps.reshape(-1, GROUP) * scales[:, None]).reshape(-1)[:count]


def check_rest(rest: NDArray[np.generic]) -> None:
    """Raise BrokenFrameError unless what fills up the last byte is 0: so one vector has one encoding."""
    if rest.any():
        raise BrokenFrameError("a frame: what fills up its last byte is not 0")
