"""The learner of a peer that does not train: it only follows the others' weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments


class PassiveLearner(Learner):
    """Holds weights (count,) of any model, which merges move, and takes no steps."""

    def __init__(self, count: int, moments: Moments = NO_MOMENTS) -> None:
        self._moments = moments
        self._weights: Vector = np.zeros(count, np.float32)
        self._state: dict[str, NDArray[Any]] = {}

    @property
    @override
    def moments(self) -> Moments:
        return self._moments

    @override
    def weights(self) -> Vector:
        return self._weights.copy()

    @override
    def load(self, weights: Vector) -> None:
        self._weights = np.array(weights, np.float32)

    @override
    def train(self, steps: int) -> Trained:
        return Trained(0, 0, 0.0)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        return None  # there are no rows to try it on

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return self._state

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self._state = dict(state)  # kept for the day on which this peer trains again
