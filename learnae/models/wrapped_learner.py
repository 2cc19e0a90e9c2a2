"""A learner around another one: roles override how much of ``train`` is done at once."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.ports import Learner, Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments


class WrappedLearner(Learner):
    """Passes every call on to ``inner``."""

    def __init__(self, inner: Learner) -> None:
        self.inner = inner

    @property
    @override
    def moments(self) -> Moments:
        return self.inner.moments

    @override
    def weights(self) -> Vector:
        return self.inner.weights()

    @override
    def load(self, weights: Vector) -> None:
        self.inner.load(weights)

    @override
    def train(self, steps: int) -> Trained:
        return self.inner.train(steps)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        return self.inner.evaluate(weights)

    @override
    def state(self) -> Mapping[str, NDArray[Any]]:
        return self.inner.state()

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.inner.restore(state)
