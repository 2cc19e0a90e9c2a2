"""What Gaussian noise tells, exactly: epsilon and delta of many releases. Pure.

Releases of sensitivity 1 with noise of deviation s_1, s_2 and so on are together one with ``mu`` = sqrt(sum 1/s_t^2),
also where each depends on those before it (Gaussian differential privacy: Dong, Roth, Su, arXiv 1905.02383), and

    delta(epsilon) = Phi(-epsilon/mu + mu/2) - e^epsilon Phi(-epsilon/mu - mu/2)

Everything is rounded to the side that promises less.
"""

import math
from collections.abc import Callable, Iterable

MOST_EPSILON = 100.0  # beyond it e^epsilon times a tail is no number: it counts as no protection
_HALVINGS = 200  # far more than a float64 has bits
_ROUNDING = 4e-15  # what a difference of two probabilities may be off by
_UP = 1 + 1e-5  # of an epsilon: who adds the same releases up numerically, and rounds up, finds no more
_SLACK = 1e-9  # of a noise: so that its epsilon, computed again, is not above what it was made for


def mu_of(multipliers: Iterable[float]) -> float:
    """Return ``mu`` of releases with these noise multipliers: the noise's deviation over the sensitivity of each.

    >>> round(mu_of([9.67] * 80), 4)
    0.925
    """
    return math.sqrt(math.fsum(1 / (each * each) for each in multipliers))


def delta_of(mu: float, epsilon: float) -> float:
    """Return the least delta with which a release of this ``mu`` is (``epsilon``, delta)-private.

    >>> f"{delta_of(0.9249, 4.0):.1e}"
    '1.0e-05'
    """
    if not 0 <= epsilon <= MOST_EPSILON:
        raise ValueError(f"epsilon is {epsilon}: 0 to {MOST_EPSILON:g} can be computed")
    if mu <= 0:
        return 0.0
    near = _tail(epsilon / mu - mu / 2)
    far = math.exp(epsilon) * _tail(epsilon / mu + mu / 2)
    return min(1.0, max(0.0, near - far) + _ROUNDING * near)


def epsilon_of(mu: float, delta: float) -> float:
    """Return the least epsilon with which a release of this ``mu`` is (epsilon, ``delta``)-private, rounded up.

    Infinite above MOST_EPSILON.

    >>> round(epsilon_of(mu_of([17.8] * 80), 1e-5), 3)
    2.004
    """
    if mu <= 0:
        return 0.0
    if delta_of(mu, MOST_EPSILON) > delta:
        return math.inf
    return _least(0.0, MOST_EPSILON, lambda epsilon: delta_of(mu, epsilon) <= delta) * _UP


def mu_for(epsilon: float, delta: float) -> float:
    """Return the greatest ``mu`` that is (``epsilon``, ``delta``)-private, rounded down.

    >>> round(mu_for(4.0, 1e-5), 4)
    0.9249
    """
    most = 2 * math.sqrt(2 * MOST_EPSILON) + 20  # at no epsilon that is computed is more allowed
    return 1 / _least(1 / most, 1e12, lambda noise: delta_of(1 / noise, epsilon / _UP) <= delta) * (1 - _SLACK)


def noise_multiplier(epsilon: float, delta: float, releases: int) -> float:
    """Return the noise multiplier, rounded up, with which ``releases`` are together (``epsilon``, ``delta``)-private.

    >>> round(noise_multiplier(4.0, 1e-5, 80), 2)
    9.67
    """
    return math.sqrt(releases) / mu_for(epsilon, delta) * (1 + _SLACK)


def _tail(x: float) -> float:
    """Return the chance that a normal variable is above ``x``."""
    return math.erfc(x / math.sqrt(2)) / 2


def _least(low: float, high: float, is_enough: Callable[[float], bool]) -> float:
    """Return the least value, rounded up, that ``is_enough``; ``high`` is."""
    if is_enough(low):
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
