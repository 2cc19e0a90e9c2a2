"""How far apart learners are after the same steps: the largest difference of a weight from NumPy's in float64.

The gradient of a ReLU jumps at 0, and that of a maximum where two are equal. A row so near to such an edge that
rounding decides on which side it is trains another function in every float32 implementation, Keras' own
included: how far apart those end says nothing of their arithmetic (adr 46). No row of a smooth batch is there.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.learners.contestants import FIT, FUSED, NUMPY, TFLITE
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, MaxPooling1D
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_model import train_step
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

STEPS, BATCH, ROWS = 50, 32, 2000
BOUNDS = {"sgd": 1e-6, "momentum": 1e-6, "adam": 1e-4}
RUNS = 6
MARGIN = 1e-5  # 50 steps in float32 move what enters a ReLU by some 1e-6
_REDRAWS = 100
_RATES = {"sgd": 0.05, "momentum": 0.02, "adam": 0.001}
_NETS = ("hepmass", "wrist", "wrist-cnn")

Array = NDArray[Any]
Trainer = Callable[[Array, Array], Array]  # weights (count,) and batches (steps, batch) -> weights


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained, from which weights (count,)."""

    manifest: Manifest
    policy: OptimiserPolicy
    data: Dataset
    start: Array


def parity(name: str, quick: bool) -> dict[str, dict[str, list[float]]]:
    """Return all differences by optimiser, on ``smooth`` batches (see smooth_batch) and on ``any``."""
    nets, seeds = (_NETS[:1], range(1)) if quick else (_NETS, range(RUNS))
    result: dict[str, dict[str, list[float]]] = {}
    for optimiser in BOUNDS:
        result[optimiser] = {"smooth": [], "any": []}
        for net in nets:
            training = _training(net, optimiser)
            train = _TRAINERS[name](training)
            for kind, found in result[optimiser].items():
                found += [_difference(training, train, seed, kind == "smooth") for seed in seeds]
    return result


def _training(net: str, optimiser: str) -> Training:
    manifest, policy = preset(net, 0), OptimiserPolicy(optimiser, _RATES[optimiser])
    rows = np.random.default_rng(7).standard_normal((ROWS, *manifest.model.input_shape), dtype=np.float32)
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows, rows.reshape(ROWS, -1)[:, : manifest.class_count].argmax(axis=1))
    return Training(manifest, policy, data, manifest.definition.initial(3))


def _difference(training: Training, train: Trainer, seed: int, smooth: bool) -> float:
    """Return the difference between ``train`` and the reference, which also chooses the batches as it goes."""
    model, rows, targets = training.manifest.definition, training.data.train.rows, training.data.train.targets
    rng, exact = np.random.default_rng(seed), training.start.astype(np.float64)
    optimiser = Optimiser(training.policy, len(exact), np.float64)
    batches = np.empty((STEPS, BATCH), np.int32)
    for batch in batches:
        batch[:] = smooth_batch(model, exact, rows, BATCH, rng) if smooth else rng.integers(0, ROWS, BATCH)
        wide = rows[batch].astype(np.float64)
        train_step(model, training.manifest.objective, optimiser, exact, wide, targets[batch])
    return float(np.abs(train(training.start, batches) - exact).max())


def smooth_batch(
    model: ModelDefinition, weights: Array, rows: Array, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw numbers (count,) of ``rows`` (n, *input_shape) that are no edge's neighbours with these ``weights``."""
    chosen = rng.integers(0, len(rows), count)
    for _ in range(_REDRAWS):
        near = distances(model, weights, rows[chosen].astype(weights.dtype)) < MARGIN
        if not near.any():
            return chosen
        chosen[near] = rng.integers(0, len(rows), np.count_nonzero(near))
    raise RuntimeError(f"no {count} of {len(rows)} rows are at least {MARGIN} away from every edge")


def distances(model: ModelDefinition, weights: Array, rows: Array) -> Array:
    """Return (n,) how near each of ``rows`` comes to an edge in a training step; infinite in a model without any."""
    nearest = np.full(len(rows), np.inf)
    value = rows
    for layer, arrays in zip(model.layers, model.split(weights), strict=True):
        if layer == Activation("relu"):
            nearest = np.minimum(nearest, _least(np.abs(value)))
        elif isinstance(layer, MaxPooling1D) and layer.sliding.size > 1:
            greatest = np.sort(layer.sliding.cut(value, -np.inf), axis=2)[:, :, -2:]
            gap = greatest[:, :, 1] - greatest[:, :, 0]
            # exactly equal are the zeros behind a ReLU, which stay equal and train nothing
            nearest = np.minimum(nearest, _least(np.where(gap > 0, gap, np.inf)))
        value, _ = layer.forward(arrays, value, True, None)
    return nearest


def _least(values: Array) -> Array:
    return values.reshape(len(values), -1).min(axis=1)


def _numpy(training: Training) -> Trainer:
    """Return the reference itself, in float32."""
    return _drawing("learnae.models.reference.numpy_learner", "NumpyLearner", training)


def _tflite(training: Training) -> Trainer:
    """Return the agents' learner."""
    return _drawing("agent.learning.tflite_learner", "TfliteLearner", training)


def _drawing(module: str, kind: str, training: Training) -> Trainer:
    """Return a learner that draws its batches itself, one after another."""
    manifest, make = training.manifest, getattr(importlib.import_module(module), kind)

    def train(start: Array, batches: Array) -> Array:
        given = _Given(batches)
        learner = make(manifest.definition, manifest.objective, training.policy, training.data, BATCH, given)
        learner.load(start)
        learner.train(len(batches))
        return np.asarray(learner.weights())

    return train


def _jax_fused(training: Training) -> Trainer:
    """Return the trainers' learner, compiled once."""
    kind: Any = importlib.import_module("trainer_node.learning.jax_learner").JaxLearner
    manifest, rng = training.manifest, np.random.default_rng(0)
    learner = kind(manifest.config, manifest.objective, training.policy, training.data, BATCH, rng)
    fresh = learner.state()

    def train(start: Array, batches: Array) -> Array:
        learner.load(start)
        learner.restore(fresh)
        learner.run(batches)
        return np.asarray(learner.weights())

    return train


def _keras(training: Training) -> Trainer:
    """Return Keras itself, a batch at a time."""
    module: Any = importlib.import_module("learnae.models.keras_model")
    optimiser_of: Any = importlib.import_module("trainer_node.learning.jax_functions").keras_optimiser
    keras, model, data = module.import_keras(), module.build_model(training.manifest.config), training.data.train

    def train(start: Array, batches: Array) -> Array:
        model.set_weights([array for arrays in training.manifest.definition.split(start) for array in arrays])
        model.compile(optimizer=optimiser_of(keras, training.policy), loss=training.manifest.loss)
        for batch in batches:
            model.train_on_batch(data.rows[batch], data.targets[batch])
        return np.concatenate([array.ravel() for array in model.get_weights()])

    return train


class _Given:
    """Stands for a learner's generator: its batches are these."""

    def __init__(self, batches: Array) -> None:
        self._batches = iter(batches)

    def integers(self, *_: int) -> Array:
        return next(self._batches)


_TRAINERS: dict[str, Callable[[Training], Trainer]] = {NUMPY: _numpy, TFLITE: _tflite, FUSED: _jax_fused, FIT: _keras}
