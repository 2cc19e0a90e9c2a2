"""The consensus estimate: what a peer uses, shows and exports as the swarm's model. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learnae.weights.codecs import Vector
from learnae.weights.merge import Vote, consensus

_LEAST_PACE = 0.3  # of the average over time: half of it is from the last two updates


class ConsensusEstimate:
    """The weighted mean of the live replicas, averaged over time by a peer that follows only some of them.

    The votes differ from one merge to the next, as the peers followed are redrawn: their average over time is
    near the mean of all. (Polyak and Juditsky 1992.) A peer that follows all needs no average.
    """

    def __init__(self, start: Vector, half_life: int) -> None:
        """``half_life`` in ms, as in merge.MergePolicy: an older estimate is replaced."""
        self.vector = start
        self._half_life = half_life
        self._time: int | None = None  # None: not made yet by this process

    def renew(self, votes: Sequence[Vote], live: int, now: int) -> None:
        """Take in ``votes``, at least one, from ``live`` peers; ``now`` in ms."""
        current = consensus(votes, self._half_life)
        is_fresh = self._time is not None and now - self._time <= self._half_life
        if is_fresh and len(votes) < live:
            pace = np.float32(max(len(votes) / live, _LEAST_PACE))
            current = self.vector + pace * (current - self.vector)
        self.vector, self._time = current, now
