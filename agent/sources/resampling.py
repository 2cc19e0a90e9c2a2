"""Resampling: irregular readings of several channels onto one regular grid, by sample and hold."""

from __future__ import annotations

import itertools
import math
from array import array

import numpy as np
from numpy.typing import NDArray

from agent.labels import UNKNOWN
from learnae.ports import Samples

HOLD_PERIODS = 10.0  # a reading stands for the value until it is this old, unless the configuration says otherwise
_MAX_POINTS = 4096  # of the grid in one call; a caller that comes later than that gets a gap
_MAX_READINGS = 4096  # of one channel that wait: a source that floods loses the oldest of them


def nothing(channels: int) -> Samples:
    """Return no readings, of so many ``channels``."""
    return Samples.unmarked(np.zeros(0), np.zeros((0, channels), np.float32), UNKNOWN)


class Resampler:
    """Values at the times k/``rate``: each channel's newest reading until then, if it is at most ``hold`` s old.

    Where a channel has none, there is no sample at all, so that windows end at a gap. Times are Unix
    seconds; a clock that jumps, back or far ahead, begins anew.
    """

    def __init__(self, channels: int, rate: float, hold: float = 0.0) -> None:
        self._rate = rate
        self._hold = hold or HOLD_PERIODS / rate
        self._times = [array("d") for _ in range(channels)]  # ascending; float64 takes a tenth of Python's objects
        self._values = [array("d") for _ in range(channels)]
        self._point: int | None = None  # of the grid, done last
        self.dropped = 0

    def put(self, channel: int, time: float, value: float) -> None:
        """Take in a reading of one channel, taken at ``time``."""
        self._append(channel, array("d", (time,)), array("d", (value,)))

    def put_rows(self, times: NDArray[np.float64], values: NDArray[np.floating]) -> None:
        """Take in readings of all channels, ``values`` (n, channels), taken at ``times`` (n,); NaN is none."""
        steps_back = (np.flatnonzero(times[1:] < times[:-1]) + 1).tolist()
        for start, end in itertools.pairwise([0, *steps_back, len(times)]):
            for channel, column in enumerate(values[start:end].T.astype(np.float64)):
                known = ~np.isnan(column)
                ascending = array("d", times[start:end][known].tobytes())
                self._append(channel, ascending, array("d", column[known].tobytes()))

    def _append(self, channel: int, new_times: array[float], new_values: array[float]) -> None:
        times, values = self._times[channel], self._values[channel]
        if times and new_times and new_times[0] < times[-1]:
            del times[:], values[:]  # the clock went back: what was taken before lies ahead now
        times.extend(new_times)
        values.extend(new_values)
        surplus = len(times) - _MAX_READINGS
        if surplus > 0:
            self.dropped += surplus
            del times[:surplus], values[:surplus]

    def take(self, now: float, label: int = UNKNOWN) -> Samples:
        """Return all samples of the grid up to ``now`` that have not been taken yet, of class ``label``."""
        last = math.floor(now * self._rate)
        if self._point is None or last < self._point - 1:
            first = min((times[0] for times in self._times if times), default=now)
            self._point = min(last, math.floor(first * self._rate))
        points = np.arange(max(self._point + 1, last - _MAX_POINTS + 1), last + 1)
        self._point = max(last, self._point)
        grid = points / self._rate
        values = np.empty((len(points), len(self._times)), np.float32)
        known = np.ones(len(points), np.bool_)
        for channel in range(len(self._times)):
            values[:, channel], found = self._held(channel, grid)
            known &= found
        return Samples.unmarked(grid[known], values[known], label)

    def _held(self, channel: int, grid: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the channel's value at each time of the ``grid``, and whether it has one; forget older readings."""
        taken, values = np.array(self._times[channel]), np.array(self._values[channel])
        if not len(taken) or not len(grid):
            return np.zeros(len(grid), np.float32), np.zeros(len(grid), np.bool_)
        index = np.searchsorted(taken, grid, side="right") - 1
        known = (index >= 0) & (grid - taken[index] <= self._hold)
        old = max(0, int(index[-1]))  # all before the reading that stands at the grid's last time
        del self._times[channel][:old], self._values[channel][:old]
        with np.errstate(over="ignore"):  # becomes infinite, and its window is skipped and counted
            return values[index].astype(np.float32), known
