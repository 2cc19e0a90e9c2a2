"""Training the local model between two merges, and measuring the consensus estimate on the own rows."""

from __future__ import annotations

from typing import Any

from learnae.peer.state import PeerState
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector


class Training:
    """Takes ``between_merges`` optimiser steps at a time; ``steps`` counts them all.

    ``loss`` is the newest on training rows, ``metrics`` are the newest on held-out ones.
    """

    def __init__(self, learner: Learner, between_merges: int) -> None:
        self.steps = 0
        self.loss: float | None = None
        self.metrics: Metrics | None = None
        self._learner = learner
        self._between_merges = between_merges

    def train(self) -> Trained:
        """Take optimiser steps, as many as there are rows for."""
        trained = self._learner.train(self._between_merges)
        if trained.steps:
            self.steps += trained.steps
            self.loss = trained.loss
        return trained

    def weights(self) -> Vector:
        """Return a copy of the current weights (count,)."""
        return self._learner.weights()

    def evaluate(self, estimate: Vector) -> None:
        """Renew ``metrics``: those of ``estimate`` (count,)."""
        metrics = self._learner.evaluate(estimate)
        self.metrics = metrics.bounded() if metrics else None

    def to_state(self) -> dict[str, Any]:
        """Return this part's fields of PeerState."""
        return {"steps": self.steps, "weights": self.weights(), "learner": self._learner.state()}

    def restore(self, state: PeerState) -> None:
        """Go on from the saved weights and optimiser; raises StateError if they do not fit."""
        if state.learner:  # a peer that has only sent summaries has none
            self._learner.restore(state.learner)
        self._learner.load(state.weights)
        self.steps = state.steps
