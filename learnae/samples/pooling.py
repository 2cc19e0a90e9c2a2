"""All summaries of a swarm together: where its columns lie, and whether own rows lie elsewhere. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnae.samples.proxy_rows import Group

_FAR = 3.0  # standard deviations of the swarm between its mean and that of own rows: another unit, place or sensor
_NOISES = 5.0  # times the noise of the swarm's mean: of many columns none comes so far by chance
_LEAST_ROWS = 100  # own ones: fewer may be of one kind
_LEAST_VARIANCE = 1e-4  # noise may leave none
_DIGITS = 3  # that are worth saying of what is noisy

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Mean and standard deviation (columns,) of about ``count`` rows, as a swarm's scale and shift would have them.

    ``noise`` is about the standard deviation of what noise adds to each value of the mean.
    """

    count: float
    mean: Array
    deviation: Array
    noise: float = 0.0


def pool(groups: Sequence[Group]) -> Pooled:
    """Return mean and spread of all rows of ``groups``, of which there is one at least."""
    counts = np.array([group.count for group in groups])
    shares = (counts / counts.sum())[:, None]
    means = np.array([group.mean for group in groups])
    mean = np.sum(shares * means, axis=0)
    variance = np.sum(shares * (np.array([group.variances for group in groups]) + (means - mean) ** 2), axis=0)
    return Pooled(float(counts.sum()), mean, np.sqrt(np.maximum(variance, _LEAST_VARIANCE)))


def drift(pooled: Pooled, rows: NDArray[np.float32]) -> str:
    """Return which column of own rows (n, columns) lies farthest from the swarm's, and how far; empty if none is."""
    if len(rows) < _LEAST_ROWS:
        return ""
    columns = rows.shape[1]
    distance = np.abs(rows.mean(axis=0, dtype=np.float64) - pooled.mean[:columns]) / pooled.deviation[:columns]
    worst = int(np.argmax(distance))
    if not distance[worst] > _FAR + _NOISES * pooled.noise / pooled.deviation[worst]:
        return ""
    return f"column {worst + 1} is {distance[worst]:.1f} standard deviations from the mean of all"


def suggestion(pooled: Pooled, shift: Sequence[float] = (), scale: Sequence[float] = ()) -> dict[str, list[float]]:
    """Return ``shift`` and ``scale`` a column with which the swarm's rows would have mean 0 and deviation 1.

    Given are those with which the pooled rows were made; none for rows as they are.
    """
    columns = len(pooled.mean)
    before = np.array(scale) if len(scale) == columns else np.ones(columns)
    start = np.array(shift) if len(shift) == columns else np.zeros(columns)
    return {
        "shift": [_rounded(value) for value in start + before * pooled.mean],
        "scale": [_rounded(value) for value in before * pooled.deviation],
    }


def _rounded(value: float) -> float:
    return 0.0 if value == 0 else round(float(value), _DIGITS - 1 - math.floor(math.log10(abs(value))))
