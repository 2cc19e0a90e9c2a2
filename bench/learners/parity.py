"""How far apart learners are after the same steps: the largest difference of a weight from NumPy's in float64."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.manifest import Manifest
from learnae.models.dataset import Dataset
from learnae.models.numpy_model import train_step
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.presets import preset

STEPS, BATCH, ROWS = 50, 32, 2000
BOUNDS = {"sgd": 1e-6, "momentum": 1e-6, "adam": 1e-4}
_RATES = {"sgd": 0.05, "momentum": 0.02, "adam": 0.001}
_NETS = ("hepmass", "wrist", "wrist-cnn")
_RUNS = 3

Array = NDArray[Any]
Trainer = Callable[[Array, Array], Array]  # weights (count,) and batches (steps, batch) -> weights
Make = Callable[[Manifest, OptimiserPolicy, Dataset], Trainer]


def parity(make: Make, quick: bool) -> dict[str, dict[str, float]]:
    """By optimiser: ``usual``, of the nets the largest median over runs with other batches, and ``most`` of all.

    Rounding may move a unit across the edge of its ReLU, and all that follows is then another training: a median of
    three is what the arithmetic costs, and the greatest shows whether that has happened.
    """
    nets = _NETS[:1] if quick else _NETS
    result = {}
    for name in BOUNDS:
        found = [_differences(net, name, make, range(_RUNS)) for net in nets]
        result[name] = {"usual": max(map(statistics.median, found)), "most": max(map(max, found))}
    return result


def tflite(manifest: Manifest, policy: OptimiserPolicy, data: Dataset) -> Trainer:
    """The agents' learner."""
    kind: Any = importlib.import_module("agent.tflite_learner").TfliteLearner

    def train(start: Array, batches: Array) -> Array:
        learner = kind(manifest.definition, manifest.objective, policy, data, BATCH, _Given(batches))
        learner.load(start)
        learner.train(len(batches))
        return np.asarray(learner.weights())

    return train


def jax_fused(manifest: Manifest, policy: OptimiserPolicy, data: Dataset) -> Trainer:
    """The trainers' learner, compiled once."""
    kind: Any = importlib.import_module("trainer_node.jax_learner").JaxLearner
    learner = kind(manifest.config, manifest.objective, policy, data, BATCH, np.random.default_rng(0))
    fresh = learner.state()

    def train(start: Array, batches: Array) -> Array:
        learner.load(start)
        learner.restore(fresh)
        learner.run(batches.astype(np.int32))
        return np.asarray(learner.weights())

    return train


class _Given:
    """Stands for a learner's generator: its batches are these."""

    def __init__(self, batches: Array) -> None:
        self._batches = iter(batches)

    def integers(self, *_: int) -> Array:
        return next(self._batches)


def _differences(net: str, optimiser: str, make: Make, seeds: Iterable[int]) -> list[float]:
    manifest, policy = preset(net, 0), OptimiserPolicy(optimiser, _RATES[optimiser])
    rows = np.random.default_rng(7).standard_normal((ROWS, *manifest.model.input_shape), dtype=np.float32)
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows, rows.reshape(ROWS, -1)[:, : manifest.class_count].argmax(axis=1))
    start, train = manifest.definition.initial(3), make(manifest, policy, data)
    found = []
    for seed in seeds:
        batches = np.random.default_rng(seed).integers(0, ROWS, (STEPS, BATCH))
        exact = _reference(manifest, policy, data, start, batches)
        found.append(float(np.abs(train(start, batches) - exact).max()))
    return found


def _reference(manifest: Manifest, policy: OptimiserPolicy, data: Dataset, start: Array, batches: Array) -> Array:
    weights, optimiser = start.astype(np.float64), Optimiser(policy, len(start), np.float64)
    for chosen in batches:
        rows, targets = data.train.rows[chosen].astype(np.float64), data.train.targets[chosen]
        train_step(manifest.definition, manifest.objective, optimiser, weights, rows, targets)
    return weights
