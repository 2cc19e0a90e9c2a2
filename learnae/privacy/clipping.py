"""How long a row's gradient may be: a bound given, or the running median of the lengths seen. Pure."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_PACE = 0.1  # of the running median: the newest norms count a tenth


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
