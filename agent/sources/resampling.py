"""Resampling: irregular readings of several channels onto one regular grid, by sample and hold."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from agent.samples import unlabelled
from learnae.ports import Samples

HOLD_PERIODS = 10.0  # a reading stands for the value until it is this old, unless the configuration says otherwise
_MOST_POINTS = 4096  # of the grid at once; who comes later than that has a gap
_MOST_READINGS = 4096  # of one channel that wait: a source that floods loses the oldest of them


class Resampler:
    """Values at the times k/``rate``: each channel's newest reading until then, if it is at most ``hold`` s old.

    Where a channel has none, there is no reading at all, so that windows end at a gap. Times are Unix
    seconds; a clock that jumps, back or far ahead, begins anew.
    """

    def __init__(self, channels: int, rate: float, hold: float = 0.0) -> None:
        self._rate = rate
        self._hold = hold or HOLD_PERIODS / rate
        self._readings: list[deque[tuple[float, float]]] = [deque(maxlen=_MOST_READINGS) for _ in range(channels)]
        self._point: int | None = None  # of the grid, done last
        self.dropped = 0

    def put(self, channel: int, time: float, value: float) -> None:
        """A reading of one channel, taken at ``time``."""
        readings = self._readings[channel]
        if readings and time < readings[-1][0]:
            readings.clear()  # the clock went back: what was taken before lies ahead now
        self.dropped += len(readings) == _MOST_READINGS
        readings.append((time, value))

    def take(self, now: float) -> Samples:
        """All values of the grid up to ``now`` that have not been taken yet."""
        last = math.floor(now * self._rate)
        if self._point is None or last < self._point - 1:
            first = min((readings[0][0] for readings in self._readings if readings), default=now)
            self._point = min(last, math.floor(first * self._rate))
        points = np.arange(max(self._point + 1, last - _MOST_POINTS + 1), last + 1)
        self._point = max(last, self._point)
        times = points / self._rate
        values = np.empty((len(points), len(self._readings)), np.float32)
        known = np.ones(len(points), np.bool_)
        for channel, readings in enumerate(self._readings):
            values[:, channel], found = self._held(readings, times)
            known &= found
        return unlabelled(times[known], values[known])

    def _held(
        self, readings: deque[tuple[float, float]], times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if not readings or not len(times):
            return np.zeros(len(times), np.float32), np.zeros(len(times), np.bool_)
        taken, value = np.array(readings, np.float64).T
        index = np.searchsorted(taken, times, side="right") - 1
        known = (index >= 0) & (times - taken[index] <= self._hold)
        while len(readings) > 1 and readings[1][0] <= times[-1]:
            readings.popleft()
        with np.errstate(over="ignore"):  # becomes infinite, and its window is skipped and counted
            return value[index].astype(np.float32), known
