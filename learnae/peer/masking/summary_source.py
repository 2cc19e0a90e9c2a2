"""What a member adds to masked sums of summaries: its statistics, with its share of the noise."""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from learnae.overriding import override
from learnae.peer.masking.sums import Source
from learnae.privacy.masking.noise_share import Integers, noisy
from learnae.samples.dp_statistics import Layout


class SummarySource(Source):
    """Draws vectors of ``sums``, of one ``layout``; a total has noise of ``deviation`` steps at least.

    Noise comes from the system unless ``rng`` is given.
    """

    def __init__(
        self,
        layout: Layout,
        sums: Callable[[], Integers],
        deviation: float,
        most_releases: int,
        rng: random.Random | None = None,
    ) -> None:
        self.values = layout.groups * layout.size
        self.most_releases = most_releases
        self._sums = sums
        self._deviation = deviation
        self._rng = rng or random.SystemRandom()

    @override
    def draw(self, members: int) -> Integers:
        return noisy(self._sums(), self._deviation, members, self._gauss)

    def _gauss(self, count: int) -> NDArray[np.float64]:
        return np.array([self._rng.gauss(0, 1) for _ in range(count)])
