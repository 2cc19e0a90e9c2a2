"""Training the local model between two merges, and measuring the consensus estimate on the own rows."""

from dataclasses import dataclass
from typing import Any

from learnae.peer.state import PeerState
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector


@dataclass(eq=False)
class Training:
    """Takes ``between_merges`` optimiser steps at a time; ``steps`` counts them all.

    ``loss`` is the newest on training rows, ``metrics`` are the newest on held-out ones.
    """

    learner: Learner
    between_merges: int
    steps: int = 0
    loss: float | None = None
    metrics: Metrics | None = None

    def train(self) -> Trained:
        """Take optimiser steps, as many as there are rows for."""
        trained = self.learner.train(self.between_merges)
        if trained.steps:
            self.steps += trained.steps
            self.loss = trained.loss
        return trained

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
