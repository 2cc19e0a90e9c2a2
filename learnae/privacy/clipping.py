"""How long a row's gradient may be: a bound given, or the running median of the lengths seen. Pure."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WITHIN = 1 - 1e-5  # of a bound: so long are vectors made, that rounding in float32 makes none longer than it
TINY = 1e-30  # a norm below it, which float32 hardly holds, is as good as 0
_PACE = 0.1  # of the running median: the newest norms count a tenth


def shares_of(norms: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Return what is left of vectors of these norms (n,) if none may be longer than ``bound``: 1, or less.

    >>> shares_of(np.array([0.0, 1.0, 4.0]), 2.0).round(3).tolist()
    [1.0, 1.0, 0.5]
    """
    return np.minimum(1.0, WITHIN * bound / np.maximum(norms, TINY))


@dataclass(eq=False, slots=True)
class NormClip:
    """Bounds the L2 norm of each row's gradient by the running median of norms; without ``is_on`` by nothing.

    >>> clip = NormClip()
    >>> clip.bound
    inf
    >>> clip.note(np.array([1.0, 2.0, 30.0]))
    >>> clip.bound
    2.0
    """

    is_on: bool = True
    _median: float = field(default=math.inf, init=False)

    @property
    def bound(self) -> float:
        """Return the greatest norm of a row's gradient; infinite without a bound, and before any norm is known."""
        return self._median if self.is_on else math.inf

    def note(self, norms: NDArray[np.floating]) -> None:
        """Take in the norms (n,) of some rows' gradients, as they were before they were clipped."""
        finite = norms[np.isfinite(norms)]
        if not len(finite):
            return
        found = float(np.median(finite))
        self._median = found if math.isinf(self._median) else self._median + _PACE * (found - self._median)
