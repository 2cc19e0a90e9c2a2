"""Training the local model between two merges, and measuring the consensus estimate on the own rows."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from learnae.peer.learning.trajectory import Trajectory
from learnae.peer.state import PeerState
from learnae.ports import Keep, Learner, Trained, in_memory
from learnae.privacy.clipping import UpdateClip
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

ENDLESS = 1 << 40  # steps between two merges: as many as there is time for
PRIVATE_STEPS = 4  # the same with noise, which merging averages: each is paid for
_GROWTH = 4  # the part of all steps before it that a cycle takes, while cycles grow


@dataclass(eq=False)
class Training:
    """Takes ``between_merges`` optimiser steps a cycle, from one merge to the next; ``steps`` counts them all.

    While it ``wants_more`` (ReleaseFloor) a cycle goes on. Of an ENDLESS one the best weights of its ``trajectory``
    are published. The learner may take fewer steps at a time: ``taken`` counts those of this cycle, ``rows`` what they
    were trained on. If ``is_private``, a cycle is done when it is due, whatever steps are taken by then: the learner's
    rows may be spent. ``loss`` is the newest on training rows, ``metrics`` are the newest on held-out ones.
    ``clip`` bounds how far a cycle moves the weights. What is saved of them goes through ``keep``.

    The ``first`` cycles are so short, 0 for as long as any; the next ones grow with what was learnt before: weights
    move fast at first, and peers that learn apart for long then learn the same (Lin et al. 2018, post-local SGD).
    """

    learner: Learner
    between_merges: int
    trajectory: Trajectory
    is_private: bool = False
    wants_more: Callable[[], bool] = lambda: False
    clip: UpdateClip | None = None
    first: int = 0
    keep: Keep = in_memory
    steps: int = 0
    taken: int = 0
    rows: int = 0
    loss: float | None = None
    metrics: Metrics | None = None
    _before: Vector | None = field(default=None, init=False)  # this cycle, if a clip needs it

    @property
    def goal(self) -> int:
        """Return how many steps this cycle takes at most."""
        if not self.first:
            return self.between_merges
        return min(self.between_merges, max(self.first, (self.steps - self.taken) // _GROWTH))

    @property
    def is_early(self) -> bool:
        """Return True while cycles grow."""
        return self.goal < self.between_merges

    def stop_growing(self) -> None:
        """Take as many steps as any cycle from now on."""
        self.first = 0

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
        goal = self.goal
        left = goal - self.taken
        if left <= 0 and self.wants_more():
            left = goal
        if self.between_merges != ENDLESS:
            return left
        if self.taken == 0:
            self.trajectory.begin()
        return min(left, self.trajectory.left(self.taken)) if left else 0

    @property
    def is_done(self) -> bool:
        """Return True if this cycle's steps are taken; one that is private, or without an end, is done after any."""
        goal = self.goal
        is_open = self.is_private or goal == ENDLESS
        return self.taken > 0 and (is_open or self.taken >= goal) and not self.wants_more()

    def evaluate(self, estimate: Vector) -> None:
        """Renew ``metrics``: those of ``estimate`` (count,)."""
        metrics = self.learner.evaluate(estimate)
        self.metrics = metrics.bounded() if metrics else None

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        return {"steps": self.steps, "weights": self.keep(self.learner.weights()), "learner": self.learner.state()}

    def restore(self, state: PeerState) -> None:
        """Go on from the saved weights and optimiser; raises StateError if they do not fit."""
        if state.learner:  # a peer that has only sent summaries has none
            self.learner.restore(state.learner)
        self.learner.load(state.weights)
        self.steps = state.steps
