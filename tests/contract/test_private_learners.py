"""One private learner over three engines: the same noise gives the same weights; no row moves a release further."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from learner_models import RUNTIMES, Task, require, task

from bench.privacy.one_run import seeded
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.private.private_learner import PrivateLearner, SumsClipped
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.noise.grid import BITS, CHUNK_ROWS, sensitivity, to_grid
from learnae.privacy.policy import TrainingPrivacy

POLICY = TrainingPrivacy(epsilon=8.0, clip=0.5)
Make = Callable[[Task, Dataset], SumsClipped]


def numpy(job: Task, data: Dataset) -> SumsClipped:
    return NumpyLearner(job.model, job.loss, OptimiserPolicy(), data, 16, np.random.default_rng(0))


def tflite(job: Task, data: Dataset) -> SumsClipped:
    require(*RUNTIMES)
    require("flatbuffers")
    from agent.learning.tflite_learner import TfliteLearner

    return TfliteLearner(job.model, job.loss, OptimiserPolicy(), data, 16, np.random.default_rng(0))


def jax(job: Task, data: Dataset) -> SumsClipped:
    require("jax")
    require("keras")
    from trainer_node.learning.jax_learner import JaxLearner

    return JaxLearner(job.config, job.loss, OptimiserPolicy(), data, 16, np.random.default_rng(0))


@pytest.fixture(params=[numpy, tflite, jax], ids=["numpy", "tflite", "jax"])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


def some_rows(job: Task, count: int) -> Dataset:
    data = Dataset(job.model, job.loss)
    data.add(*job.batch(np.random.default_rng(5), count))
    return data


@pytest.mark.parametrize(
    ("optimiser", "rate", "tolerance"), [("sgd", 0.1, 1e-6), ("momentum", 0.05, 1e-6), ("adam", 0.02, 1e-4)]
)
@pytest.mark.parametrize("body", ["dense-tanh", "conv-same"])
def test_the_same_noise_gives_the_same_weights(
    make: Make, body: str, optimiser: str, rate: float, tolerance: float
) -> None:
    job = task(body, "sparse_categorical_crossentropy")
    ends: list[Any] = []
    for build in (numpy, make):
        data = some_rows(job, 150)
        learner = PrivateLearner(
            build(job, data),
            data,
            POLICY,
            OptimiserPolicy(optimiser, rate),
            normals=seeded(7),
        )
        learner.load(job.model.initial(3))
        assert learner.train(3).steps == 3
        ends.append(learner.weights())
    assert np.abs(ends[1] - job.model.initial(3)).max() > 0.01
    np.testing.assert_allclose(ends[1], ends[0], atol=tolerance)


def test_a_row_more_moves_the_sum_by_no_more_than_is_counted(make: Make) -> None:
    """On the engines' own sums of as many rows as a chunk may hold, the last of them as long as it may be."""
    job = task("dense-tanh", "sparse_categorical_crossentropy")
    data = some_rows(job, CHUNK_ROWS)
    learner = make(job, data)
    learner.load(job.model.initial(3))
    rows, targets, bound = data.train.rows * 100, data.train.targets, 0.5
    sums = [
        to_grid(learner.clipped_sum(rows[:count], targets[:count], bound).gradient, bound).astype(np.float64)
        for count in (CHUNK_ROWS - 1, CHUNK_ROWS)
    ]
    moved = float(np.linalg.norm(sums[1] - sums[0]))
    assert 0.9 * 2**BITS < moved <= sensitivity(job.model.count)
