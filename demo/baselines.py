"""What all would reach without the swarm: each alone, and all data in one place."""

from __future__ import annotations

import numpy as np

from demo.people import Exam
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

ALONE_STEPS = 6_000  # accuracy no longer moves well before
POOLED_STEPS = 20_000
_SEED = 7


def accuracy(manifest: Manifest, weights: Vector, exam: Exam) -> float:
    """Return the accuracy of ``weights`` on all held-out windows."""
    holdout = exam.everybody.holdout
    metrics = evaluate(manifest.definition, manifest.objective, weights, holdout.rows, holdout.targets)
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


def train_alone(manifest: Manifest, exam: Exam) -> list[float]:
    """Train on each person's windows alone; return the accuracies on those of all people."""
    return [accuracy(manifest, _train(manifest, data, ALONE_STEPS), exam) for data in exam.people]


def train_pooled(manifest: Manifest, exam: Exam) -> float:
    """Train on all windows in one place: what the swarm must come near without moving them."""
    return accuracy(manifest, _train(manifest, exam.everybody, POOLED_STEPS), exam)


def _train(manifest: Manifest, data: Dataset, steps: int) -> Vector:
    learner = NumpyLearner(
        manifest.definition,
        manifest.objective,
        manifest.optimiser,
        data,
        manifest.training.batch,
        np.random.default_rng(_SEED),
    )
    learner.load(manifest.definition.initial(manifest.seed))
    learner.train(steps)
    return learner.weights()
