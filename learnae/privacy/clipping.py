"""How long a row's gradient may be, or an update, after those that were seen before. Pure."""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import median, norm

WITHIN = 1 - 1e-5  # of a bound: so long are vectors made, that rounding in float32 makes none longer than it
TINY = 1e-30  # a norm below it, which float32 hardly holds, is as good as 0
Vector = NDArray[np.float32]
_UPDATES, _AS_LONG = 15, 2.0  # an update may be so many times as long as the median of so many before it
_DECILE = 0.9
_GROWN = 2  # times as many rows: what is usual is measured again


def shares_of(norms: NDArray[np.float64], bound: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of vectors of these norms (n,) if none may be longer than its ``bound``: 1, or less.

    >>> shares_of(np.array([0.0, 1.0, 4.0]), 2.0).round(3).tolist()
    [1.0, 1.0, 0.5]
    """
    return np.minimum(1.0, WITHIN * bound / np.maximum(norms, TINY))


@dataclass(eq=False, slots=True)
class NormClip:
    """Bounds the L2 norm of each row's gradient by what is usual; without ``is_on`` by nothing.

    Usual is the ninth decile of the norms of own rows' gradients in a model that has learnt nothing; a row may have so
    many ``times`` that, and ``most``. Rows that a model has learnt have hardly a gradient: a bound that fell with
    theirs would stop the others from being learnt (adr 127). It is the same after a restart, and no weights of others
    move it.

    >>> clip = NormClip()
    >>> clip.bound
    inf
    >>> clip.note(np.array([0.0, 0.5, 1.0, 30.0]), 4)
    >>> clip.bound, clip.is_due(7), clip.is_due(8)
    (4.0, False, True)
    """

    is_on: bool = True
    times: float = 4.0
    most: float = math.inf
    _usual: float = field(default=math.inf, init=False)
    _rows: int = field(default=0, init=False)  # that there were then

    @property
    def bound(self) -> float:
        """Return the greatest norm of a row's gradient; infinite without a bound, and before any norm is known."""
        return min(self.most, self.times * self._usual) if self.is_on else math.inf

    def is_due(self, rows: int) -> bool:
        """Return True if norms are to be noted: the first ones, and others where there are twice as many ``rows``."""
        return self.is_on and rows >= _GROWN * self._rows

    def note(self, norms: NDArray[np.floating], rows: int) -> None:
        """Take in the norms (n,) of the gradients that some of ``rows`` have in a model that has learnt nothing."""
        found = norms[np.isfinite(norms) & (norms > 0)]
        if len(found):
            rank = int(_DECILE * (len(found) - 1))  # rounded down: of a few rows the longest is no measure
            self._usual, self._rows = float(np.partition(found, rank)[rank]), rows


@dataclass(eq=False, slots=True)
class UpdateClip:
    """Bounds how far one update moves the weights: twice as far as the median of the updates before it.

    >>> clip, start = UpdateClip(), np.zeros(2, np.float32)
    >>> clip.clipped(start, start + 1).tolist()
    [1.0, 1.0]
    >>> clip.clipped(start, start + 50).round(3).tolist()
    [2.0, 2.0]
    """

    _norms: deque[float] = field(default_factory=lambda: deque(maxlen=_UPDATES), init=False)

    def clipped(self, before: Vector, after: Vector) -> Vector:
        """Return ``after`` (count,), or what is nearer to ``before`` on the straight line between them.

        The first update is as long as it is: nothing says yet how long others are.
        """
        change = np.subtract(after, before, dtype=np.float64)
        length = norm(change)
        bound = _AS_LONG * median(self._norms) if self._norms else math.inf
        if not length > 0 or math.isinf(length):  # nothing moved, or no numbers: no measure for others
            return after
        self._norms.append(length)
        return after if length <= bound else (before + bound / length * change).astype(np.float32)
