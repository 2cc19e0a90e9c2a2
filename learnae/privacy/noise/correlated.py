"""Noise that later releases take back in part: for rows that take part in one release of ``parts``, in turn.

The released sums with noise are those of the matrix mechanism: what is said of all steps together is the mechanism
C g + xi (Denisov et al. 2022), whose sensitivity is that of C; noise C^-1 xi is added to the gradients.

* BSR: C has the first ``parts`` coefficients of (1 - x)^(-1/2) (Kalinin, Lampert 2024, arXiv 2405.13763).
* BISR: C^-1 has the first ``width`` coefficients of (1 - x)^(1/2) (arXiv 2505.12128). Less memory, a little more noise.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from learnae.privacy.noise.gaussian import Normals, fresh_normals

_NEGLIGIBLE = 1e-12  # of a row's value: the rest of the sum is below
_ROUNDING = 1e-9


class CorrelatedNoise:
    """Gives the noise of one release after another, of deviation 1 before correlation; with one part it is white.

    A row must take part in at most one of ``parts`` releases after another. With a ``width`` it is BISR, which
    remembers ``width`` - 1 vectors; else BSR, which remembers ``parts`` - 1. They must never be seen, and are not
    saved: the first noise of another one is fresh, which costs accuracy alone.
    """

    def __init__(self, parts: int, width: int = 0, normals: Normals = fresh_normals) -> None:
        self._is_inverse = width > 0
        self._coefficients = (inverse_square_root(width) if width else -square_root(parts))[1:]
        self._earlier: deque[NDArray[np.float64]] = deque(maxlen=len(self._coefficients))  # newest first
        self._normals = normals

    def next(self, count: int) -> NDArray[np.float64]:
        """Return the next release's noise (count,)."""
        white = self._normals(count)
        if not len(self._coefficients):
            return white
        noise = white.copy()
        for coefficient, earlier in zip(self._coefficients, self._earlier, strict=False):
            noise += coefficient * earlier
        self._earlier.appendleft(white if self._is_inverse else noise)
        return noise


def square_root(count: int) -> NDArray[np.float64]:
    """Return the first coefficients (count,) of (1 - x)^(-1/2).

    >>> square_root(4).tolist()
    [1.0, 0.5, 0.375, 0.3125]
    """
    found = [1.0]
    for j in range(1, count):
        found.append(found[-1] * (2 * j - 1) / (2 * j))
    return np.array(found)


def inverse_square_root(count: int) -> NDArray[np.float64]:
    """Return the first coefficients (count,) of (1 - x)^(1/2).

    >>> inverse_square_root(4).tolist()
    [1.0, -0.5, -0.125, -0.0625]
    """
    found = [1.0]
    for j in range(1, count):
        found.append(found[-1] * (2 * j - 3) / (2 * j))
    return np.array(found)


def banded_sensitivity(parts: int) -> float:
    """Return what one participation of a row costs with BSR, in sensitivities of a release of its own.

    Participations are ``parts`` steps apart, so their columns of C share no row: k of them cost sqrt(k) times as much.

    >>> [round(banded_sensitivity(parts), 3) for parts in (1, 4, 10, 20)]
    [1.0, 1.22, 1.338, 1.42]
    """
    return float(np.linalg.norm(square_root(parts)))


def inverse_banded_sensitivity(parts: int, width: int, participations: int) -> float:
    """Return what all ``participations`` of a row cost together with BISR, however long it goes on.

    Its C is dense, with values of at least 0: the worst case is that all of a row's gradients are alike. Raises
    ValueError for a ``width`` below 2.
    """
    if width < 2:
        raise ValueError(f"a width of {width}: at least 2")
    taken = -inverse_square_root(width)[1:]
    window = np.zeros(width - 1)  # of the sum of a row's columns of C, newest first
    last, total, step = (participations - 1) * parts, 0.0, 0
    while step <= last or window.max() > _NEGLIGIBLE:
        value = (step <= last and step % parts == 0) + float(taken @ window)
        window = np.concatenate([[value], window[:-1]])
        total += value * value
        step += 1
    return math.sqrt(total) * (1 + _ROUNDING)


def cost_of(parts: int, width: int, participations: int) -> float:
    """Return mu^2 of each of a row's ``participations``, at noise of deviation 1 in sensitivities: fewer cost no more.

    >>> round(cost_of(20, 0, 80), 3)
    2.016
    """
    if width:  # what participations cost together grows faster than their number
        return inverse_banded_sensitivity(parts, width, participations) ** 2 / participations
    return banded_sensitivity(parts) ** 2
