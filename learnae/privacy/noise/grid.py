"""Sums of clipped gradients as integers: what is released lies on a grid that depends on no row.

Noise of floating-point numbers shows in its low bits what it was added to (Mironov 2012; arXiv 2112.05307). Here each
chunk's sum is rounded to multiples of bound x 2^-20, the integers are added exactly, and so is noise that is rounded to
the same grid: rounding after integers were added is a function of what was released with continuous noise.
"""

import math

import numpy as np
from numpy.typing import NDArray

BITS = 20
CHUNK_ROWS = 512  # rows whose gradients are added in one call of an engine
ADDITIONS = 128  # that a row's gradient goes through in float32, at most: blocks of rows, and then sums of blocks
MARGIN = 2.0**-7 + 2.0**-8  # of the bound: for sums, and for norms, in float32
_SCALE = 1 << BITS

Integers = NDArray[np.int64]


def to_grid(total: NDArray[np.float64], bound: float) -> Integers:
    """Round the sum (count,) of a chunk's gradients, each at most ``bound`` long, to the grid's integers (count,)."""
    return np.rint(total * (_SCALE / bound)).astype(np.int64)


def from_grid(value: Integers, bound: float) -> NDArray[np.float64]:
    """Return the numbers that integers of the grid stand for."""
    return np.asarray(value * (bound / _SCALE), np.float64)


def sensitivity(count: int) -> float:
    """Return how far one row more or less moves the integers (count,), in the L2 norm, at most.

    Its gradient is at most 2^20 units long. Rows are arranged so that one more or less changes a single chunk, or parts
    one in two: both sums are rounded, each value by half a unit at most, three sums in all: 1.5 sqrt(count). An engine
    may add n <= CHUNK_ROWS rows in float32, each through ADDITIONS roundings: both sums are then off by at most
    n x ADDITIONS x 2^-24 bounds (Higham 2002, 4.2, over rows of length 1), together 2 x 512 x 128 x 2^-24 = 2^-7;
    the rest of MARGIN, 2^-8, is for norms found in float32.

    >>> round(sensitivity(217) / 2**20, 4)
    1.0117
    """
    return _SCALE * (1 + MARGIN) + 1.5 * math.sqrt(count)


def chunks_of(digests: NDArray[np.uint64], most: int = CHUNK_ROWS) -> list[NDArray[np.int64]]:
    """Arrange rows by the first bits of their ``digests`` (n,), all different: return the positions in each chunk.

    A chunk holds at most ``most`` rows: those whose first bits are alike, as many bits as it takes. So one row more or
    less changes its own chunk, or parts it, and no other.
    """
    order = np.argsort(digests, kind="stable")
    found, open_parts = [], [(0, len(order), 63)]
    while open_parts:
        begin, end, bit = open_parts.pop()
        if end - begin <= most or bit < 0:
            if end > begin:
                found.append(order[begin:end])
            continue
        is_set = (digests[order[begin:end]] >> np.uint64(bit)) & np.uint64(1)
        middle = begin + int(np.count_nonzero(is_set == 0))
        open_parts += [(middle, end, bit - 1), (begin, middle, bit - 1)]
    return found
