"""What every ports.Learner promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from learnae.errors import StateError
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner
from learnae.swarm.presets import dense_config
from trainer_node.learning.jax_learner import JaxLearner

CONFIG = dense_config(5, (8,), 3, "softmax")
MODEL = ModelDefinition.from_config(CONFIG)
LOSS = Loss.for_model("sparse_categorical_crossentropy", MODEL)

Make = Callable[[OptimiserPolicy, Dataset], Learner]


def numpy_learner(policy: OptimiserPolicy, data: Dataset) -> Learner:
    return NumpyLearner(MODEL, LOSS, policy, data, 16, np.random.default_rng(1))


def jax_learner(policy: OptimiserPolicy, data: Dataset) -> Learner:
    return JaxLearner(CONFIG, LOSS, policy, data, 16, np.random.default_rng(1))


@pytest.fixture(
    params=[
        pytest.param(numpy_learner, id="numpy"),
        pytest.param(jax_learner, id="jax", marks=pytest.mark.modules("keras", "jax")),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.fixture(params=["sgd", "momentum", "adam"])
def policy(request: pytest.FixtureRequest) -> OptimiserPolicy:
    return OptimiserPolicy(request.param, 0.01)


def some_data(rows: int = 200) -> Dataset:
    data = Dataset(MODEL, LOSS)
    x = np.random.default_rng(2).standard_normal((rows, 5))
    y = np.digitize(x[:, 0], [-0.5, 0.5])
    data.add(x, y)
    data.add(x, y, holdout=True)
    return data


def test_weights_come_back_as_they_were_loaded(make: Make, policy: OptimiserPolicy) -> None:
    learner, weights = make(policy, some_data()), MODEL.initial(4)

    learner.load(weights)

    assert learner.weights().dtype == np.float32
    assert learner.weights().tobytes() == weights.tobytes()


def test_weights_are_a_copy(make: Make, policy: OptimiserPolicy) -> None:
    learner, weights = make(policy, some_data()), MODEL.initial(4)
    learner.load(weights)

    learner.weights()[:] = 0
    weights[:] = 0
    before = learner.weights()
    learner.train(3)

    assert before.tobytes() == MODEL.initial(4).tobytes()
    assert learner.weights().tobytes() != before.tobytes()


def test_training_says_what_it_did_and_lowers_the_loss(make: Make) -> None:
    learner = make(OptimiserPolicy("momentum", 0.1), some_data())
    learner.load(MODEL.initial(4))

    first = learner.train(20)
    last = learner.train(20)

    assert (first.steps, first.rows) == (20, 200)
    assert last.loss < first.loss


def test_without_rows_nothing_happens(make: Make, policy: OptimiserPolicy) -> None:
    learner = make(policy, some_data(0))
    learner.load(MODEL.initial(4))

    trained = learner.train(20)

    assert (trained.steps, trained.rows) == (0, 0)
    assert learner.evaluate(learner.weights()) is None
    assert learner.weights().tobytes() == MODEL.initial(4).tobytes()
    assert int(learner.state()["steps"][0]) == 0


def test_an_evaluation_changes_nothing(make: Make, policy: OptimiserPolicy) -> None:
    learner = make(policy, some_data())
    learner.load(MODEL.initial(4))

    metrics = learner.evaluate(MODEL.initial(5))

    assert metrics is not None
    assert metrics.rows == 200
    assert metrics.accuracy is not None
    assert 0 <= metrics.accuracy <= 1
    assert learner.weights().tobytes() == MODEL.initial(4).tobytes()


def test_the_state_is_taken_up_by_another_learner(make: Make, policy: OptimiserPolicy) -> None:
    first, second = make(policy, some_data()), make(policy, some_data())
    first.load(MODEL.initial(4))
    first.train(10)

    second.restore({name: array.copy() for name, array in first.state().items()})

    assert int(second.state()["steps"][0]) == 10
    assert {name: array.tobytes() for name, array in second.state().items()} == {
        name: array.tobytes() for name, array in first.state().items()
    }


def test_loading_weights_leaves_the_optimiser_as_it_is(make: Make, policy: OptimiserPolicy) -> None:
    learner = make(policy, some_data())
    learner.load(MODEL.initial(4))
    learner.train(5)
    before = {name: array.tobytes() for name, array in learner.state().items()}

    learner.load(MODEL.initial(5))

    assert {name: array.tobytes() for name, array in learner.state().items()} == before


@pytest.mark.parametrize("spoil", ["missing", "other", "shape"])
def test_a_state_that_does_not_fit_is_refused(make: Make, spoil: str) -> None:
    learner = make(OptimiserPolicy("momentum", 0.01), some_data())
    state: dict[str, Any] = dict(learner.state())
    if spoil == "missing":
        del state["velocity"]
    elif spoil == "other":
        state["square"] = state.pop("velocity")
    else:
        state["velocity"] = state["velocity"][1:]

    with pytest.raises(StateError):
        learner.restore(state)
