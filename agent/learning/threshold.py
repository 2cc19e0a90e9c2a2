"""The score beyond which a window is an anomaly: a percentile of what the own held-out rows score with that model.

It goes where results go, so it must tell of many rows: see docs/adr/0083-what-is-an-anomaly.md.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.light_numpy import quantile, unique
from learnae.models.dataset import Rows
from learnae.models.losses import reconstruction_error
from learnae.text import counted
from learnae.weights.codecs import Vector

Predict = Callable[[Vector, NDArray[Any]], NDArray[Any]]

_LEAST_ROWS = 100  # different ones
_MOST_ROWS = 2000  # of more, so many are taken, evenly
_BATCH = 250  # rows at once: bounds the memory that it takes
_SHARE = 0.05  # of the time, at most, goes into taking it


def least_rows(percentile: float) -> int:
    """Return how many different rows a threshold needs: one beyond the percentile, and 100 in any case.

    >>> [least_rows(percentile) for percentile in (50, 99, 99.5, 99.9)]
    [100, 100, 200, 1000]
    """
    return max(_LEAST_ROWS, math.ceil(round(100 / (100 - percentile), 6)))


class Threshold:
    """Follows the model and the ``holdout``: ``value`` is that of the newest weights; None where ``why`` says so.

    ``why_none`` tells why no row is held out. A model that takes long to ask is asked less often.
    """

    def __init__(
        self,
        percentile: float,
        holdout: Rows,
        why_none: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._percentile = percentile
        self._holdout = holdout
        self._why_none = why_none
        self._monotonic = monotonic
        self._basis: tuple[Vector, int] | None = None  # weights, and rows ever held out
        self._not_before = -math.inf
        self.value: float | None = None
        self.why = ""

    def renew(self, estimate: Vector, predict: Predict) -> None:
        """Take it anew if weights or rows are others than the last time."""
        count, least = len(self._holdout), least_rows(self._percentile)
        if count < least:
            few = f"{counted(count, 'row is', 'rows are')} held out, and a threshold needs {least}"
            self.value, self.why = None, few if count else self._why_none()
            return
        written, begun = self._holdout.written, self._monotonic()
        if self._basis and self._basis[1] == written and np.array_equal(self._basis[0], estimate):
            return
        if begun < self._not_before:
            return
        self._basis = estimate.copy(), written
        self.value, self.why = self._take(estimate, predict, least)
        ended = self._monotonic()
        self._not_before = ended + (ended - begun) * (1 / _SHARE - 1)

    def _take(self, estimate: Vector, predict: Predict, least: int) -> tuple[float | None, str]:
        held_out = self._holdout.rows
        places = np.linspace(0, len(held_out) - 1, min(_MOST_ROWS, len(held_out))).astype(int)
        scores = np.concatenate(
            [
                reconstruction_error(predict(estimate, rows), rows)
                for start in range(0, len(places), _BATCH)
                for rows in [held_out[places[start : start + _BATCH]]]
            ]
        )
        if not np.isfinite(scores).all():
            return None, "the scores of held-out rows are no finite numbers: training has diverged (docs/tasks.md)"
        if (different := len(unique(scores))) < least:
            return None, f"held-out rows have {counted(different, 'different score')}, and a threshold needs {least}"
        return _rounded_up(quantile(scores, self._percentile / 100)), ""


def _rounded_up(value: float) -> float:
    """Return three digits of ``value``, which is not negative, and no less: so they say less of the row behind it.

    >>> [_rounded_up(value) for value in (1.2301, 1.23, 0.0, 9.991e-7)]
    [1.24, 1.23, 0.0, 1e-06]
    """
    digits, _, exponent = f"{value:.2e}".partition("e")
    found = float(f"{digits}e{exponent}")
    return found if found >= value else float(f"{float(digits) + 0.01:.2f}e{exponent}")
