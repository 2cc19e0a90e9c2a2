"""Training the local model between two merges, and measuring the consensus estimate on the own rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from learnae.peer.learning.trajectory import Trajectory
from learnae.peer.state import PeerState
from learnae.ports import Learner, Trained
from learnae.privacy.clipping import UpdateClip
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

ENDLESS = 1 << 40  # steps between two merges: as many as there is time for
PRIVATE_STEPS = 4  # the same with noise, which merging averages: each is paid for


@dataclass(eq=False)
class Training:
    """Takes ``between_merges`` optimiser steps a cycle, from one merge to the next; ``steps`` counts them all.

    While it ``wants_more`` (ReleaseFloor) a cycle goes on. Of an ENDLESS one the best weights of its ``trajectory``
    are published. The learner may take fewer steps at a time: ``taken`` counts those of this cycle, ``rows`` what they
    were trained on. If ``is_private``, a cycle is done when it is due, whatever steps are taken by then: the learner's
    rows may be spent. ``loss`` is the newest on training rows, ``metrics`` are the newest on held-out ones.
    ``clip`` bounds how far a cycle moves the weights.
    """

    learner: Learner
    between_merges: int
    trajectory: Trajectory
    is_private: bool = False
    wants_more: Callable[[], bool] = lambda: False
    clip: UpdateClip | None = None
    steps: int = 0
    taken: int = 0
    rows: int = 0
    loss: float | None = None
    metrics: Metrics | None = None
    _before: Vector | None = field(default=None, init=False)  # this cycle, if a clip needs it

    def train(self) -> Trained:
        """Take optimiser steps, as many as the learner takes at once of those that are left in this cycle."""
        if self.clip and self.taken == 0:
            self._before = self.learner.weights()
        trained = self.learner.train(self.due())
        if trained.steps:
            self.steps += trained.steps
            self.taken += trained.steps
            is_untold = self.is_private or math.isnan(trained.loss)
            self.rows, self.loss = trained.rows, None if is_untold else trained.loss
        return trained

    def end_cycle(self) -> None:
        """Go back to the best weights of this cycle; the next steps begin another."""
        if self.between_merges == ENDLESS:
            self.trajectory.choose()
        if self.clip and self._before is not None:
            self.learner.load(self.clip.clipped(self._before, self.learner.weights()))
            self._before = None
        self.taken = 0

    def due(self) -> int:
        """Return how many steps ``train`` would ask the learner for now."""
        if self.between_merges != ENDLESS:
            left = self.between_merges - self.taken
            return self.between_merges if left <= 0 and self.wants_more() else left
        if self.taken == 0:
            self.trajectory.begin()
        return self.trajectory.left(self.taken)

    @property
    def is_done(self) -> bool:
        """Return True if this cycle's steps are taken; one that is private, or without an end, is done after any."""
        is_open = self.is_private or self.between_merges == ENDLESS
        return self.taken > 0 and (is_open or self.taken >= self.between_merges) and not self.wants_more()

    def evaluate(self, estimate: Vector) -> None:
        """Renew ``metrics``: those of ``estimate`` (count,)."""
        metrics = self.learner.evaluate(estimate)
        self.metrics = metrics.bounded() if metrics else None

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        return {"steps": self.steps, "weights": self.learner.weights(), "learner": self.learner.state()}

    def restore(self, state: PeerState) -> None:
        """Go on from the saved weights and optimiser; raises StateError if they do not fit."""
        if state.learner:  # a peer that has only sent summaries has none
            self.learner.restore(state.learner)
        self.learner.load(state.weights)
        self.steps = state.steps
