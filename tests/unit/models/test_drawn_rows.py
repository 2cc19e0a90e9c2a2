"""Rows drawn from others' summaries are learnt from, and counted nowhere."""

from collections.abc import Callable

import numpy as np
import pytest

from learnae.errors import DataError
from learnae.models.dataset import MOST_DRAWN, Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.ports import Learner
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config

MANIFEST = Manifest(
    "two",
    dense_config(2, (), 2, "softmax"),
    "sparse_categorical_crossentropy",
    optimiser=OptimiserPolicy("sgd", learning_rate=0.3),
    training=TrainingPolicy(batch=16),
)


def numpy_learner(data: Dataset) -> Learner:
    rng = np.random.default_rng(1)
    return NumpyLearner(MANIFEST.definition, MANIFEST.objective, MANIFEST.optimiser, data, 16, rng)


def tflite_learner(data: Dataset) -> Learner:
    from agent.learning.tflite_learner import TfliteLearner

    rng = np.random.default_rng(1)
    return TfliteLearner(MANIFEST.definition, MANIFEST.objective, MANIFEST.optimiser, data, 16, rng)


def jax_learner(data: Dataset) -> Learner:
    from trainer_node.learning.jax_learner import JaxLearner

    return JaxLearner.for_manifest(MANIFEST, data, np.random.default_rng(1))


every_learner = pytest.mark.parametrize(
    "learner",
    [
        numpy_learner,
        pytest.param(tflite_learner, marks=pytest.mark.modules("ai_edge_litert", "flatbuffers")),
        pytest.param(jax_learner, marks=pytest.mark.modules("keras", "jax")),
    ],
)


def one_class(rows: int = 64) -> Dataset:
    """Rows of class 0 alone, at (-3, -3)."""
    data = Dataset(MANIFEST.model, MANIFEST.objective)
    data.add(np.random.default_rng(2).normal(size=(rows, 2)) - 3, np.zeros(rows))
    return data


@every_learner
def test_a_class_of_which_there_is_no_own_row_is_learnt(learner: Callable[[Dataset], Learner]) -> None:
    data = one_class()
    right = np.random.default_rng(3).normal((3, -3), 1, (50, 2))  # of which own rows say nothing
    made = learner(data)
    made.load(MANIFEST.definition.initial(0))
    made.train(5)
    data.teach(right, np.ones(50))
    trained = made.train(60)
    assert predict(MANIFEST.definition, made.weights(), right.astype(np.float32))[:, 1].mean() > 0.9
    assert predict(MANIFEST.definition, made.weights(), data.train.rows)[:, 0].mean() > 0.9
    assert trained.rows == len(data.train) == 64
    before = made.weights()
    data.teach(np.empty((0, 2)), np.empty(0))
    made.train(1)
    assert not np.array_equal(made.weights(), before), "it goes on with its own rows"


def test_own_rows_are_at_least_half_of_a_batch() -> None:
    data = one_class()
    assert data.drawn_share == 0
    data.teach(np.ones((32, 2)), np.ones(32))
    assert data.drawn_share == pytest.approx(1 / 3)
    data.teach(np.ones((640, 2)), np.ones(640))
    assert data.drawn_share == MOST_DRAWN
    assert (len(data.train), data.skipped) == (64, 0)
    with pytest.raises(DataError, match="shape"):
        data.teach(np.ones((4, 3)), np.ones(4))


@every_learner
def test_drawn_rows_are_no_draws_of_own_ones(learner: Callable[[Dataset], Learner]) -> None:
    data = one_class()
    data.teach(np.ones((640, 2)), np.ones(640))
    told: list[int] = []
    data.train.on_draw = lambda indices: told.append(len(indices))
    learner(data).train(100)
    assert sum(told) == pytest.approx(100 * 16 / 2, rel=0.15)
