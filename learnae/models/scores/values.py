"""Scores of numbers that a model says: errors, how much they explain, and where the large ones are. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of ``rows``, each output (k,) for itself: sums of them, of sizes and squares, and the targets' spread.

    ``mean`` is that of the targets, ``spread`` the sum of their squared distances from it. Parts of a file add up.
    """

    rows: int
    signed: Floats
    absolute: Floats
    squared: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, said: Array, actual: Array) -> "Errors":
        """Return the errors of ``said`` (n, k) against ``actual`` (n, k), n at least 1.

        >>> found = Errors.of(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
        >>> found.mae().tolist(), found.r2
        ([0.3333333333333333], 0.5)
        """
        exact = np.asarray(actual, np.float64)
        error = np.asarray(said, np.float64) - exact
        mean = exact.mean(axis=0)
        spread = np.square(exact - mean).sum(axis=0)
        # where all are one number its mean may be rounded, and the spread is none
        spread = np.where((exact == exact[:1]).all(axis=0), 0.0, spread)
        mean = np.where(spread > 0, mean, exact[0])
        return cls(len(exact), error.sum(axis=0), np.abs(error).sum(axis=0), np.square(error).sum(axis=0), mean, spread)

    def __add__(self, other: "Errors") -> "Errors":
        """Return both together (Chan et al. 1983, eq. 2.1)."""
        rows, apart = self.rows + other.rows, other.mean - self.mean
        return Errors(
            rows,
            self.signed + other.signed,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.mean + apart * (other.rows / rows),
            self.spread + other.spread + np.square(apart) * (self.rows * other.rows / rows),
        )

    def bias(self) -> Floats:
        """Return the mean error (k,): above 0 where too much is said."""
        return self.signed / self.rows

    def mae(self) -> Floats:
        """Return the mean size of errors (k,)."""
        return self.absolute / self.rows

    def rmse(self) -> Floats:
        """Return the root of the mean squared error (k,)."""
        return np.sqrt(self.squared / self.rows)

    def whole_rmse(self) -> float:
        """Return the root of the mean squared error of all outputs."""
        return float(np.sqrt(self.squared.mean() / self.rows))

    def r2s(self) -> list[float | None]:
        """Return R² of each output: 1 less the errors' squares over the targets' spread; None where that is none."""
        pairs = zip(self.squared.tolist(), self.spread.tolist(), strict=True)
        return [1 - squared / spread if spread > 0 else None for squared, spread in pairs]

    @property
    def r2(self) -> float | None:
        """Return R² of all outputs together, as peers publish it; None where no target varies."""
        spread = float(self.spread.sum())
        return 1 - float(self.squared.sum()) / spread if spread > 0 else None


def quantiles(values: Array, shares: Sequence[float] = QUANTILES) -> dict[str, float]:
    """Return the least value that each share of ``values`` (n,), n at least 1, does not exceed, by its name.

    No value is made up between two that are there; the last one is the largest.

    >>> quantiles(np.arange(1, 101))
    {'50%': 50.0, '90%': 90.0, '95%': 95.0, '99%': 99.0, 'max': 100.0}
    """
    ordered = np.quantile(np.asarray(values, np.float64), shares, method="inverted_cdf")
    names = ["max" if share == 1 else f"{100 * share:g}%" for share in shares]
    return dict(zip(names, ordered.tolist(), strict=True))
