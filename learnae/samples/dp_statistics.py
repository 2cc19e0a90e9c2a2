"""Summaries: raw-free statistics of local data, with noise, for peers that do not train. Pure.

What a peer publishes of its rows is one noisy vector: for each class, the count, and for each column the
first two moments and a histogram over buckets whose bounds are powers of two. No sketch that keeps
inputs, and no exact extremes (KLL and t-digest hold both).

The noise is Gaussian (Dwork & Roth 2014, theorem A.1), so that a release is (EPSILON, DELTA)-
differentially private for one row more or less. Values are clipped to ±BOUND first, buckets are the
same for all peers, and all that is sent is rounded or follows from what is. Windows that overlap
share readings: for one reading, epsilon counts as often as there are rows that see it. Releases add
up; there is a new one only when the rows have grown by half (``next_summary``).
"""

import math
import random

import numpy as np
from numpy.typing import NDArray

from learnae.protocol.bodies import BUCKETS, MAX_CELLS, Summary, SummaryGroup

EPSILON, DELTA = 1.0, 1e-6  # of one release
BOUND = 8.0  # values beyond it count as it: features come scaled to about one
SMALLEST, LARGEST = -5, 5  # exponents of the innermost and the outermost bound of a bucket
_COUNT_SCALE = 4.0  # counts get a quarter of the noise, which makes that of all else hardly larger
_MIN_NOISES = 2.0  # moments of fewer rows than so many times the noise tell nothing
_STEPS_PER_UNIT = 1024.0  # of moments: the low bits of noisy floats would tell of the noise (Mironov 2012)
_GROWTH = 1.5  # of the rows, until there is a new release
_RELEASE_PARTS = 16  # of the horizon: one lies between two releases
_LEVELS = LARGEST - SMALLEST + 1

Array = NDArray[np.float64]


class Statistics:
    """Counts, moments and histograms of rows with ``columns`` values in their last axis, for ``classes`` classes.

    A row of several positions, such as a raw window, counts as one: it adds the mean over its positions. Rows of
    unknown class are a group of their own. Where all that would not fit into a message, there is one group.
    """

    def __init__(self, columns: int, classes: int = 0) -> None:
        self.columns = columns
        self.classes = classes if columns * (classes + 1) <= MAX_CELLS else 0
        self.rows = 0
        self.skipped = 0
        groups = self.classes + 1
        self._counts: Array = np.zeros(groups)
        self._moments: Array = np.zeros((2, groups, columns))
        self._histogram: Array = np.zeros((groups, columns, BUCKETS))

    @property
    def noise(self) -> float:
        """Return the standard deviation of the noise in a bucket."""
        sensitivity = math.sqrt(_COUNT_SCALE**2 + 3 * self.columns)  # a bucket and both moments of each column
        return sensitivity * math.sqrt(2 * math.log(1.25 / DELTA)) / EPSILON

    def add(self, rows: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Take in ``rows`` (n, ..., columns) of classes ``labels`` (n,), -1 where unknown; NaN rows are skipped."""
        values = rows.reshape(len(rows), -1, self.columns).astype(np.float64)
        usable = np.isfinite(values).all(axis=(1, 2))
        self.skipped += int(len(values) - usable.sum())
        values, known = values[usable], labels[usable]
        groups = np.where((known >= 0) & (known < self.classes), known, self.classes)
        clipped = np.clip(values / BOUND, -1, 1)
        self.rows += len(values)
        np.add.at(self._counts, groups, 1)
        np.add.at(self._moments[0], groups, clipped.mean(axis=1))
        np.add.at(self._moments[1], groups, (clipped**2).mean(axis=1))
        places = (groups[:, None, None] * self.columns + np.arange(self.columns)) * BUCKETS + buckets_of(values)
        found = np.bincount(places.ravel(), minlength=self._histogram.size) / values.shape[1]
        self._histogram += found.reshape(self._histogram.shape)

    def release(self, number: int = 1, rng: random.Random | None = None) -> Summary:
        """Make release ``number`` with fresh noise, of the system's source of randomness unless ``rng`` is given."""
        source = rng or random.SystemRandom()

        def noisy(array: Array, scale: float = 1.0) -> Array:
            noise = [source.gauss(0, self.noise / scale) for _ in range(array.size)]
            return array + np.array(noise).reshape(array.shape)

        counts = noisy(self._counts, _COUNT_SCALE)
        moments = noisy(self._moments)
        histogram = np.maximum(np.rint(noisy(self._histogram)), 0).astype(np.int64)
        groups = []
        for index, count in enumerate(counts):
            clear = count > _MIN_NOISES * self.noise
            mean = np.clip(moments[0, index] / max(count, 1.0), -1, 1)
            variance = np.clip(moments[1, index] / max(count, 1.0) - mean**2, 0, 1)
            groups.append(
                SummaryGroup(
                    label=index if index < self.classes else None,
                    count=max(round(count), 0),
                    mean=_grained(mean * BOUND) if clear else (),
                    variance=_grained(variance * BOUND**2) if clear else (),
                    histogram=tuple(map(tuple, histogram[index].tolist())),
                )
            )
        return Summary(number, EPSILON, DELTA, self.columns, tuple(groups))


def next_summary(
    statistics: Statistics, last: Summary | None, age: int, horizon: int, rng: random.Random | None = None
) -> Summary | None:
    """Return what to send now, ``age`` ms after ``last``; None for nothing.

    A new release when the rows have grown by half, at the earliest a sixteenth of the ``horizon``
    after the last one, and none of less rows than there is noise.
    """
    if last is not None and age < horizon // _RELEASE_PARTS:
        return None
    known = statistics.noise / _GROWTH if last is None else max(last.rows, statistics.noise)
    if statistics.rows >= _GROWTH * known:
        return statistics.release(last.release + 1 if last else 1, rng)
    return None


def buckets_of(values: Array) -> NDArray[np.int64]:
    """Return the bucket of each value, in [0, BUCKETS): the middle one holds all below 2^SMALLEST, the outer the rest.

    Bucket ``middle + k`` holds [2^(SMALLEST + k - 1), 2^(SMALLEST + k)), and so on for negative values.
    """
    _, exponent = np.frexp(values)  # |value| in [2^(exponent - 1), 2^exponent)
    level = np.where(values == 0, 0, np.clip(exponent - SMALLEST, 0, _LEVELS))
    return np.asarray(BUCKETS // 2 + np.sign(values).astype(np.int64) * level, np.int64)


def _grained(values: Array) -> tuple[float, ...]:
    return tuple((np.rint(values * _STEPS_PER_UNIT) / _STEPS_PER_UNIT + 0.0).tolist())  # + 0.0: no negative zero
