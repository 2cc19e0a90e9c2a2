"""Which readings are held out: a fixed share of slices of time, the same ones at every start.

Live data has no end of which the last share could be held out, and a random share of windows would leak: windows
overlap, and neighbours are alike. So the reading's time decides, without any state, and the mark is stored with the
reading: a clock that jumps changes which slices come next, never what was decided. The first slice may be held
out: training then begins up to half a minute later. Readings on both sides of an edge are still neighbours in time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from learnae.swarm.features import Features

_WINDOWS_PER_SLICE = 10  # so that few are lost at a slice's edges
_MIN_SLICE_SECONDS = 30.0


class Holdout:
    """Every slice of time belongs as a whole to training or is held out, ``share`` of them, evenly spread.

    It depends on the reading's time alone. No window spans two slices of different kind (Windower), so
    that no held-out window shares a reading with one that is trained on.
    """

    def __init__(self, share: float, features: Features) -> None:
        self._share = share
        self.seconds = max(_MIN_SLICE_SECONDS, _WINDOWS_PER_SLICE * features.window / features.rate)

    def marks(self, time: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n,) whether the reading at each ``time`` (n,), in seconds, is held out."""
        slices = np.floor(time / self.seconds)
        return np.asarray(np.floor((slices + 1) * self._share) > np.floor(slices * self._share))
