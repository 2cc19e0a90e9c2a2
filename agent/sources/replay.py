"""Replay: a recorded file as if the sensor were delivering it now, at any speed."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent.labels import UNKNOWN
from learnae.basics.overriding import override
from learnae.ports import Samples, SampleSource
from learnae.samples.columns import USUAL_COLUMNS, Columns
from learnae.samples.recordings import read_recording
from learnae.swarm.features import Features
from learnae.tables.table import Kind

_log = logging.getLogger(__name__)


class ReplaySource(SampleSource):
    """A recording from its beginning; ``speed`` times real time, 0 for all at once."""

    def __init__(
        self,
        path: Path,
        features: Features,
        speed: float,
        holdout: float,
        clock: Callable[[], float] = time.monotonic,
        columns: Columns = USUAL_COLUMNS,
        labels: Kind | None = None,
    ) -> None:
        recording = read_recording(path, features.channels, features.rate, columns, labels)
        if reason := recording.why_no_window(features, by_label=False):
            _log.warning("%s: nothing can be learnt from it: %s", path, reason)
        self._samples = recording.split_by_time(holdout)
        self.is_dated = recording.is_dated
        self._speed = speed
        self._clock = clock
        self._begun = clock()
        self._position = 0

    def status(self) -> dict[str, Any]:
        """Return what the recording holds, for people."""
        samples, label = self._samples, self._samples.label
        unlabelled = int((label == UNKNOWN).sum())
        return {
            "state": "recording",
            "samples": len(samples.time),
            "dated": self.is_dated,
            "seconds": round(float(samples.time[-1] - samples.time[0]), 3) if len(samples.time) else 0.0,
            "labelled": len(label) - unlabelled,
            "unlabelled": unlabelled,
        }

    @property
    def holds_out(self) -> bool:
        """Return True if any of its samples are held out."""
        return bool(self._samples.holdout.any())

    def until_holdout(self) -> float:
        """Return the seconds until a sample comes that is held out; infinity if there are none ahead."""
        ahead = np.flatnonzero(self._samples.holdout[self._position :])
        if not len(ahead):
            return math.inf
        if not self._speed:
            return 0.0
        time = float(self._samples.time[self._position + ahead[0]] - self._samples.time[0])
        return max(0.0, self._begun + time / self._speed - self._clock())

    @override
    def read(self) -> Samples | None:
        samples, start = self._samples, self._position
        if start >= len(samples.time):
            return None
        end = len(samples.time)
        if self._speed > 0:
            reached = samples.time[0] + (self._clock() - self._begun) * self._speed
            end = int(samples.time.searchsorted(reached, side="right"))
        self._position = max(start, end)
        return samples.part(slice(start, self._position))
