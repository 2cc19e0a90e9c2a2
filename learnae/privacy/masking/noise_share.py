"""Each member's share of the noise of a masked total. Pure.

The total is to carry noise of variance V. Members may put together what they know and leave theirs out: up to a
quarter of them, rounded up (``conspirators``). So each of n adds V / (n - t): what the n - t honest ones add is
enough. A single vector carries no more than its share: that is what the last one has if all others conspire.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.errors import MaskError
from learnae.privacy.masking.masks import BOUND, Integers

Gauss = Callable[[int], NDArray[np.float64]]  # so many draws of standard deviation 1
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


@dataclass(frozen=True, slots=True)
class Release:
    """How a vector of floats becomes what a member adds: integers in steps of 1 / ``scale``, with noise.

    ``sensitivity`` is how far one row can move the vector (L2); the total's noise is ``multiplier`` times that.
    """

    sensitivity: float
    multiplier: float
    scale: float = 4096.0

    def sigma(self, values: int) -> float:
        """Return the least standard deviation of the noise of a total; rounding moves a vector a little more."""
        return self.multiplier * (self.sensitivity + math.sqrt(values) / self.scale)

    def addend(self, vector: NDArray[np.float64], members: int, gauss: Gauss) -> Integers:
        """Return what one of ``members`` adds: ``vector`` (n,) and its share of noise. Raises MaskError for NaN.

        Rounded noise comes to a rounded vector, so that low bits of floats tell nothing. Values of the vector beyond
        the range count as its end.
        """
        if not np.isfinite(vector).all():
            raise MaskError("a vector for a masked sum with a value that is no number", "leave such rows out")
        spread = self.sigma(len(vector)) * self.scale * math.sqrt(share(members))
        room = BOUND - math.ceil(_ROOM * spread)
        if room < 0:
            raise MaskError(f"noise of {spread:.0f} steps", f"a masked sum holds values from -{BOUND} to {BOUND}")
        steps = np.clip(np.rint(vector * self.scale), -room, room)
        return (steps + np.rint(gauss(len(vector)) * spread)).astype(np.int64)

    def floats(self, total: Integers) -> NDArray[np.float64]:
        """Return a total (n,) in units of the vector."""
        return total / self.scale
