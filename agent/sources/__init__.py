"""Sources of samples, one technology per file."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.ports import Samples, SampleSource

UNKNOWN = -1  # the label of readings that nobody has named


class LiveSource(SampleSource, Protocol):
    """A sensor: ``read`` raises LearnaeError or OSError while it does not answer, and never waits for long.

    Whoever reads closes it after an error, and opens another one later.
    """

    @property
    def position(self) -> str:
        """Where one that is opened anew has to go on to miss nothing and repeat nothing; "" if it cannot be asked."""

    def state(self) -> str:
        """What the status says of it while it works."""

    def close(self) -> None:
        """Let go of files and connections."""


def unlabelled(time: NDArray[np.float64], values: NDArray[np.float32]) -> Samples:
    """Readings (n,), (n, channels) of which no source knows the class."""
    return Samples(time, values, np.full(len(time), UNKNOWN, np.int64), np.zeros(len(time), np.bool_))
