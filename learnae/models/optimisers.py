"""Optimisers over one flat vector, with Keras' formulas; their state is explicit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import StateError

Array = NDArray[Any]
NAMES = ("sgd", "momentum", "adam")
State = dict[str, Array]
_KEPT = {"sgd": (), "momentum": ("velocity",), "adam": ("mean", "square")}
_TILE = 1 << 15  # values: what a step computes with stays in a cache


@dataclass(frozen=True, slots=True)
class OptimiserPolicy:
    """Which optimiser, and its constants (Keras' names and defaults)."""

    name: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7


USUAL = "momentum"  # for a swarm whose options name none
RATES = {"sgd": 0.03, "momentum": 0.03, "adam": 0.001}  # learning rates, where options name none


class Optimiser:
    """Applies gradients in place; ``state`` holds its arrays by name."""

    def __init__(self, policy: OptimiserPolicy, count: int, dtype: type = np.float32) -> None:
        self.policy = policy
        self.state: State = {name: np.zeros(count, dtype) for name in _KEPT[policy.name]}
        self.state["steps"] = np.zeros(1, np.int64)
        self._change: Array = np.empty(min(count, _TILE) if policy.name == "adam" else 0, dtype)
        self._paces = [dtype(each) for each in (1 - policy.beta_1, 1 - policy.beta_2, policy.epsilon)]

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from a saved state; raises StateError if it belongs to another optimiser."""
        given, own = ({name: array.shape for name, array in each.items()} for each in (state, self.state))
        if given != own:
            raise StateError("the saved optimiser state does not fit the swarm's optimiser")
        self.state = {name: np.array(array) for name, array in state.items()}

    def apply(self, weights: Array, gradient: Array) -> None:
        """Take one step on ``weights`` (n,) along ``gradient`` (n,), in place."""
        self.state["steps"] += 1
        kept = [self.state[name] for name in _KEPT[self.policy.name]]
        steps: dict[str, Callable[..., None]] = {"sgd": self._sgd, "momentum": self._momentum, "adam": self._adam}
        step = steps[self.policy.name]
        if len(weights) <= _TILE:
            step(weights, gradient, *kept)
            return
        for start in range(0, len(weights), _TILE):
            step(*(array[start : start + _TILE] for array in (weights, gradient, *kept)))

    def _sgd(self, weights: Array, gradient: Array) -> None:
        weights -= weights.dtype.type(self.policy.learning_rate) * gradient

    def _momentum(self, weights: Array, gradient: Array, velocity: Array) -> None:
        scalar = weights.dtype.type
        velocity *= scalar(self.policy.momentum)
        velocity -= scalar(self.policy.learning_rate) * gradient
        weights += velocity

    def _adam(self, weights: Array, gradient: Array, mean: Array, square: Array) -> None:
        policy, step = self.policy, int(self.state["steps"][0])
        change = self._change[: len(weights)]
        rate = policy.learning_rate * math.sqrt(1 - policy.beta_2**step) / (1 - policy.beta_1**step)
        np.subtract(gradient, mean, out=change)  # in place from here on: half the time of a new array each
        np.multiply(change, self._paces[0], out=change)
        np.add(mean, change, out=mean)
        np.multiply(gradient, gradient, out=change)
        np.subtract(change, square, out=change)
        np.multiply(change, self._paces[1], out=change)
        np.add(square, change, out=square)
        np.sqrt(square, out=change)
        np.add(change, self._paces[2], out=change)
        np.divide(mean * weights.dtype.type(rate), change, out=change)
        np.subtract(weights, change, out=weights)
