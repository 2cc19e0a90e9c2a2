"""Each member's share of the noise of a masked total. Pure.

The total is to carry noise of variance V. Members may put together what they know and leave theirs out: up to a
quarter of them, rounded up (``conspirators``). So each of n adds V / (n - t): what the n - t honest ones add is
enough. A single vector carries no more than its share: that is what the last one has if all others conspire.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.errors import MaskError
from learnae.protocol.sum_bodies import MOST_MEMBERS

BOUND = 2**31 // MOST_MEMBERS - 1  # of one member's values: no total of so many leaves 32 bits

Integers = NDArray[np.int64]
Normals = Callable[[int], NDArray[np.float64]]  # so many draws of standard deviation 1
_ROOM = 16  # standard deviations of noise that the range has room for: more come once in 10^56 draws


def conspirators(members: int) -> int:
    """Return how many of so many members may leave their noise out.

    >>> [conspirators(members) for members in (5, 8, 16)]
    [2, 2, 4]
    """
    return math.ceil(members / 4)


def share(members: int) -> float:
    """Return each member's noise as a share of the variance that the total must have at least.

    >>> share(8) == 1 / 6
    True
    """
    return 1 / (members - conspirators(members))


def noisy(vector: Integers, sigma: float, members: int, normals: Normals) -> Integers:
    """Return what one of ``members`` adds: its ``vector`` (n,) of whole steps, with its share of noise, rounded.

    ``sigma`` is the standard deviation that the total's noise must have at least, in steps. Values beyond the range
    of a masked sum, less what noise may take of it, count as its end, which moves no two vectors further apart. Raises
    MaskError where the noise alone leaves the range.
    """
    spread = sigma * math.sqrt(share(members))
    room = BOUND - math.ceil(_ROOM * spread)
    if room < 0:
        raise MaskError(f"noise of {spread:.0f} steps", f"a masked sum holds values from -{BOUND} to {BOUND}")
    return np.clip(vector, -room, room) + np.rint(normals(len(vector)) * spread).astype(np.int64)
