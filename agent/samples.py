"""Samples as every stage of the agent has them: what is unlabelled, what is empty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learnae.ports import Samples


def nothing(channels: int) -> Samples:
    """No readings."""
    return Samples(np.zeros(0), np.zeros((0, channels), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_))


UNKNOWN = -1  # the label of readings that nobody has named


def unlabelled(time: NDArray[np.float64], values: NDArray[np.float32]) -> Samples:
    """Readings (n,), (n, channels) of which no source knows the class."""
    return Samples(time, values, np.full(len(time), UNKNOWN, np.int64), np.zeros(len(time), np.bool_))
