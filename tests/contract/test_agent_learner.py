"""What every learner owes its peer: one suite over NumPy and, where a runtime is installed, TFLite."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from learner_models import OPTIMISERS, OUTPUTS, RUNTIMES, Task, autoencoder, task

from learnae.errors import StateError
from learnae.models.dataset import Dataset
from learnae.models.losses import LOSSES
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Learner

Make = Callable[..., Learner]


def tflite(*arguments: Any) -> Learner:
    if not any(importlib.util.find_spec(name) for name in RUNTIMES) or not importlib.util.find_spec("flatbuffers"):
        reason = "no TFLite runtime is installed"
        if os.environ.get("LEARNAE_REQUIRE_ENGINES") == "1":
            pytest.fail(f"{reason}, but LEARNAE_REQUIRE_ENGINES=1", pytrace=False)
        pytest.skip(reason)
    from agent.learning.tflite_learner import TfliteLearner

    return TfliteLearner(*arguments)


def dataset(job: Task, rows: int = 60, holdout: int = 300) -> Dataset:
    data, rng = Dataset(job.model, job.loss), np.random.default_rng(5)
    for count, held_out in ((rows, False), (holdout, True)):
        if count:
            values, targets = job.batch(rng, count)
            if job.loss.name == "sparse_categorical_crossentropy":
                targets = values.reshape(count, -1)[:, :OUTPUTS].argmax(axis=1)  # something to learn
            data.add(values, targets, held_out)
    return data


@pytest.fixture(params=[NumpyLearner, tflite], ids=["numpy", "tflite"])
def make(request: pytest.FixtureRequest) -> Make:
    def build(job: Task, optimiser: str = "momentum", data: Dataset | None = None, seed: int = 0) -> Learner:
        policy = OptimiserPolicy(optimiser, {"sgd": 0.2, "momentum": 0.1, "adam": 0.02}[optimiser])
        rng = np.random.default_rng(seed)
        data = dataset(job) if data is None else data
        learner = request.param(job.model, job.loss, policy, data, 16, rng)
        learner.load(job.model.initial(0))
        return learner

    return build


CLASSES = "sparse_categorical_crossentropy"


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_makes_the_model_better(make: Make, optimiser: str) -> None:
    me = make(task("dense-relu", CLASSES), optimiser)
    before = me.evaluate(me.weights())
    trained = me.train(150)
    after = me.evaluate(me.weights())
    assert before is not None
    assert after is not None
    assert (trained.steps, trained.rows, after.rows) == (150, 60, 300)
    assert after.loss < before.loss / 2
    assert after.accuracy is not None
    assert after.accuracy >= 0.85


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_reported_and_falls(make: Make, loss: str) -> None:
    me = make(task("dense-tanh", loss))
    first, last = me.train(5), me.train(400)
    assert 0 < me.train(20).loss < first.loss
    assert last.steps == 400
    metrics = me.evaluate(me.weights())
    assert metrics is not None
    assert (metrics.accuracy is None) == (loss in {"mean_squared_error", "huber"})


def test_an_autoencoder_learns_from_rows_alone(make: Make) -> None:
    job = autoencoder("mean_squared_error")
    data, rows = Dataset(job.model, job.loss), np.zeros((200, 13, 3), np.float32)
    rows[:] = np.sin(np.arange(13)[:, None] + np.random.default_rng(0).uniform(0, 6, (200, 1, 1)))
    data.add(rows, rows)
    data.add(rows[:50], rows[:50], holdout=True)
    me = make(job, "adam", data)
    before = me.evaluate(me.weights())
    me.train(300)
    after = me.evaluate(me.weights())
    assert before is not None
    assert after is not None
    assert after.loss < before.loss / 10


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("body", ["dense-relu", "batch-norm-conv"])
def test_training_can_be_continued_elsewhere(make: Make, optimiser: str, body: str) -> None:
    job = task(body, CLASSES)
    data = dataset(job)
    whole, first, second = (make(job, optimiser, data, seed) for seed in (1, 1, 2))
    whole.train(6)
    first.train(3)
    second.train(5)
    second.load(first.weights())
    second.restore({name: array.copy() for name, array in first.state().items()})
    second._rng = first._rng  # type: ignore[attr-defined]
    second.train(3)
    assert second.weights().tobytes() == whole.weights().tobytes()
    assert {name: array.tobytes() for name, array in second.state().items()} == {
        name: array.tobytes() for name, array in whole.state().items()
    }


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_state_fits_the_other_learner(make: Make, optimiser: str) -> None:
    job = task("dense-relu", CLASSES)
    data = dataset(job)
    policy = OptimiserPolicy(optimiser, 0.02)
    reference = NumpyLearner(job.model, job.loss, policy, data, 16, np.random.default_rng(0))
    me = make(job, optimiser, data)
    me.train(3)
    reference.restore(me.state())
    me.restore(reference.state())
    assert {name: (array.shape, array.dtype) for name, array in me.state().items()} == {
        name: (array.shape, array.dtype) for name, array in reference.state().items()
    }
    assert int(me.state()["steps"][0]) == 3


def test_a_state_of_another_optimiser_is_refused(make: Make) -> None:
    job = task("dense-relu", CLASSES)
    momentum, adam = make(job, "momentum"), make(job, "adam")
    for state in (adam.state(), {}, {"steps": np.zeros(1, np.int64)}, {**momentum.state(), "velocity": np.zeros(3)}):
        with pytest.raises(StateError):
            momentum.restore(state)


def test_what_was_saved_or_given_is_not_shared(make: Make) -> None:
    me = make(task("dense-relu", CLASSES))
    given = me.weights()
    before = given.copy()
    me.load(given)
    given += 1
    assert me.weights().tobytes() == before.tobytes()
    me.weights()[:] = 0
    assert me.weights().tobytes() == before.tobytes()
    saved = {name: array.copy() for name, array in me.state().items()}
    me.restore(saved)
    me.train(1)
    assert saved["velocity"].max() == 0
    assert np.abs(me.state()["velocity"]).max() > 0


def test_an_evaluation_changes_nothing(make: Make) -> None:
    job = task("batch-norm", CLASSES)
    me, other = make(job), make(job)
    for learner in (me, other):
        learner.train(2)
        if learner is me:
            me.evaluate(job.model.initial(9))
        learner.train(2)
    assert me.weights().tobytes() == other.weights().tobytes()


def test_an_evaluation_is_of_the_weights_given(make: Make) -> None:
    job = task("conv-deep", CLASSES)
    data = dataset(job)
    me, reference = make(job, data=data), NumpyLearner(
        job.model, job.loss, OptimiserPolicy(), data, 16, np.random.default_rng(0)
    )  # fmt: skip
    for seed in (3, 4):
        mine, wanted = me.evaluate(job.model.initial(seed)), reference.evaluate(job.model.initial(seed))
        assert mine is not None
        assert wanted is not None
        assert mine.loss == pytest.approx(wanted.loss, rel=1e-5)
        assert (mine.accuracy, mine.rows) == (pytest.approx(wanted.accuracy), 300)


@pytest.mark.parametrize("rows", [1, 127, 128, 129])
def test_evaluations_count_every_row_once(make: Make, rows: int) -> None:
    job = task("dense-relu", "mean_squared_error")
    data = dataset(job, 0, rows)
    metrics = make(job, data=data).evaluate(job.model.initial(2))
    reference = NumpyLearner(job.model, job.loss, OptimiserPolicy(), data, 16, np.random.default_rng(0))
    wanted = reference.evaluate(job.model.initial(2))
    assert metrics is not None
    assert wanted is not None
    assert (metrics.rows, metrics.loss) == (rows, pytest.approx(wanted.loss, rel=1e-5))


def test_without_rows_there_is_nothing_to_do(make: Make) -> None:
    job = task("dense-relu", CLASSES)
    empty = make(job, data=Dataset(job.model, job.loss))
    before = empty.weights()
    assert (empty.train(5).steps, empty.train(5).rows) == (0, 0)
    assert empty.evaluate(empty.weights()) is None
    assert empty.weights().tobytes() == before.tobytes()


def test_no_steps_are_no_training(make: Make) -> None:
    me = make(task("dense-relu", CLASSES))
    before = me.weights()
    assert (me.train(0).steps, me.train(0).loss) == (0, 0.0)
    assert me.weights().tobytes() == before.tobytes()


def test_rows_that_come_later_are_learnt(make: Make) -> None:
    job = task("dense-relu", CLASSES)
    data = dataset(job, 4)
    me = make(job, data=data)
    me.train(1)
    values, _ = job.batch(np.random.default_rng(0), 500)
    data.add(values, np.zeros(500))
    assert me.train(1).rows == 504
