"""The learner of a peer that does not train: it follows what the others have learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.ports import Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector


class PassiveLearner:
    """ports.Learner of any model: holds weights (count,) that merges move, and takes no steps."""

    def __init__(self, count: int) -> None:
        self._weights: Vector = np.zeros(count, np.float32)
        self._state: dict[str, NDArray[Any]] = {}

    def weights(self) -> Vector:
        """A copy of the current weights (count,)."""
        return self._weights.copy()

    def load(self, weights: Vector) -> None:
        """Go on from these weights (count,)."""
        self._weights = np.array(weights, np.float32)

    def train(self, steps: int) -> Trained:  # noqa: ARG002 - a learner's method
        """No steps."""
        return Trained(0, 0, 0.0)

    def evaluate(self, weights: Vector) -> Metrics | None:  # noqa: ARG002
        """Nothing: there are no rows that it could be tried on."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """What was restored."""
        return self._state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Keep the optimiser's arrays for the day on which this peer trains again."""
        self._state = dict(state)
