"""What the race is held against: all rows in one place, each peer alone, and rounds of federated averaging."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.rigs.race_table import FEATURES, Array, Part
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.clipping import NormClip
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector

BATCH, RATE = 64, 1e-3
MODEL = dense_config(FEATURES, (64, 64), 1, "sigmoid")
LOSS = "binary_crossentropy"
_SEED = 7


def manifest() -> Manifest:
    """Return the task as a swarm's definition."""
    return Manifest("race", MODEL, LOSS, training=TrainingPolicy(batch=BATCH), optimiser=OptimiserPolicy("adam", RATE))


def accuracy(weights: Vector, test: Part) -> float:
    """Return the share of ``test`` that the net of these weights (count,) tells right."""
    task = manifest()
    learner = learner_of(task, test)
    return task.objective.accuracy(learner.predict(weights, test.x), test.y[:, None])


def pooled(parts: Sequence[Part], test: Part, epochs: int) -> list[float]:
    """Train on all rows in one place; return the accuracy after each epoch."""
    everything = Part(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))
    return alone(everything, test, epochs)


def alone(part: Part, test: Part, epochs: int) -> list[float]:
    """Train on the rows of one peer; return the accuracy after each epoch."""
    task = manifest()
    learner, reached = learner_of(task, part), []
    learner.load(task.definition.initial(task.seed))
    for _ in range(epochs):
        learner.train(steps_of(len(part.y)))
        reached.append(accuracy(learner.weights(), test))
    return reached


def federated(parts: Sequence[Part], test: Part, rounds: int) -> list[float]:
    """Let each peer train for an epoch a round, then average by rows; return the accuracy after each round.

    (McMahan et al. 2017.) All take part in all rounds, and keep their optimisers: better here than new ones.
    """
    task, rows = manifest(), np.array([len(part.y) for part in parts])
    learners, common, reached = [learner_of(task, part) for part in parts], task.definition.initial(task.seed), []
    for _ in range(rounds):
        for learner, count in zip(learners, rows, strict=True):
            learner.load(common)
            learner.train(steps_of(int(count)))
        common = np.average([learner.weights() for learner in learners], axis=0, weights=rows).astype(np.float32)
        reached.append(accuracy(common, test))
    return reached


def steps_of(rows: int) -> int:
    """Return the steps of an epoch of so many rows."""
    return -(-rows // BATCH)


def targets_of(part: Part) -> Array:
    """Return the classes (n, 1) as the loss takes them."""
    return part.y[:, None].astype(np.float32)


def learner_of(task: Manifest, part: Part) -> NumpyLearner:
    """Return what trains on the rows of ``part``, each row's gradient clipped as trainers do by default."""
    data = Dataset(task.model, task.objective)
    data.adopt(part.x, targets_of(part))
    rng = np.random.default_rng(_SEED)
    return NumpyLearner(task.definition, task.objective, task.optimiser, data, BATCH, rng, NormClip())
