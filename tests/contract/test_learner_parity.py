"""TFLite trains what the reference trains: 50 steps of every layer, loss and optimiser, against float64."""

from typing import Any

import numpy as np
import pytest
from learner_models import (
    BATCH,
    BODIES,
    OPTIMISERS,
    OUTPUTS,
    RUNTIMES,
    TOLERANCE,
    Task,
    autoencoder,
    compared,
    reference_steps,
    require,
    task,
)
from nightly import combinations
from numpy.typing import NDArray

from learnae.models.keras_config import _READERS
from learnae.models.layers import ACTIVATIONS
from learnae.models.losses import LOSSES, REGRESSIONS
from learnae.models.optimisers import Optimiser
from learnae.models.reference.numpy_model import predict, train_step

require(*RUNTIMES)
require("flatbuffers")

from agent.learning.tflite_learner import VARIABLES, _Program  # noqa: E402
from agent.tflite.training.optimisers import rate_of  # noqa: E402
from agent.tflite.training.program import INFER, LOAD, RESTORE, WEIGHTS, compile_program  # noqa: E402


def program(job: Task, optimiser: str, weights: NDArray[Any], batch: int = BATCH) -> _Program:
    result = _Program(compile_program(job.model, job.loss, OPTIMISERS[optimiser]), batch)
    result.call(LOAD, weights=weights)
    if VARIABLES[optimiser]:
        zeros = np.zeros(job.model.count, np.float32)
        result.call(RESTORE, **dict.fromkeys(VARIABLES[optimiser], zeros))
    return result


def difference_after_training(job: Task, optimiser: str) -> float:
    """Largest difference of a weight; also compares losses and predictions."""
    start = job.model.initial(3)
    exact, mine = start.astype(np.float64), program(job, optimiser, start)
    for step, (rows, targets, wanted) in enumerate(reference_steps(job, optimiser, exact), 1):
        found = mine.step(rows, targets, rate_of(OPTIMISERS[optimiser], step))
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    output = mine.call(INFER, rows=rows)["output"]
    these = compared(job.model, optimiser)
    assert output == pytest.approx(predict(job.model, exact, rows), abs=1e-5 if these.all() else 1e-3)
    return float(np.abs(mine.call(WEIGHTS)["weights"] - exact)[these].max())


def test_every_layer_and_activation_of_the_whitelist_is_in_a_model() -> None:
    kinds = {each["class_name"] for layers, _ in BODIES.values() for each in layers}
    functions = {each["config"].get("activation", "linear") for layers, _ in BODIES.values() for each in layers}
    assert kinds == set(_READERS)
    assert functions == set(ACTIVATIONS)


@pytest.mark.parametrize(("body", "loss", "optimiser"), combinations(BODIES, LOSSES, OPTIMISERS))
def test_combinations_train_as_the_reference_in_float64(body: str, loss: str, optimiser: str) -> None:
    assert difference_after_training(task(body, loss), optimiser) <= TOLERANCE[optimiser]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_one_output_trains_as_the_reference(optimiser: str) -> None:
    assert difference_after_training(task("dense-relu", "binary_crossentropy", 1), optimiser) <= TOLERANCE[optimiser]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("loss", REGRESSIONS)
def test_an_autoencoder_trains_as_the_reference(loss: str, optimiser: str) -> None:
    assert difference_after_training(autoencoder(loss), optimiser) <= TOLERANCE[optimiser]


@pytest.mark.parametrize("body", ["dense-relu", "batch-norm-conv", "layer-norm-conv", "pool-same"])
@pytest.mark.parametrize("loss", LOSSES)
def test_rows_that_fill_a_batch_up_change_nothing(body: str, loss: str) -> None:
    job, rng = task(body, loss), np.random.default_rng(1)
    start, rows, targets = job.model.initial(1), *job.batch(rng)
    few = program(job, "sgd", start, 5)
    few.step(rows[:5], targets[:5], 0.1)
    filled = program(job, "sgd", start)
    weights = np.zeros(BATCH, np.float32)
    weights[:5] = 1 / 5
    inputs = {details["name"]: details["index"] for details in filled._interpreter.get_input_details()}
    filled._interpreter.set_tensor(inputs["row_weights"], weights)
    filled.step(rows, targets, 0.1)
    assert filled.call(WEIGHTS)["weights"] == pytest.approx(few.call(WEIGHTS)["weights"], abs=1e-6)


def test_equal_greatest_values_train_the_first_as_in_the_reference() -> None:
    job = task("pool-overlap", "mean_squared_error")
    start = job.model.initial(1)
    rows = np.ones((BATCH, 13, 3), np.float32)  # every window sees equal values
    targets = np.random.default_rng(0).normal(size=(BATCH, OUTPUTS)).astype(np.float32)
    mine, exact = program(job, "sgd", start), start.astype(np.float64)
    reference = Optimiser(OPTIMISERS["sgd"], job.model.count, np.float64)
    for _ in range(5):
        train_step(job.model, job.loss, reference, exact, rows.astype(np.float64), targets)
        mine.step(rows, targets, OPTIMISERS["sgd"].learning_rate)
    assert mine.call(WEIGHTS)["weights"] == pytest.approx(exact, abs=1e-6)


def test_a_moving_variance_below_zero_counts_as_zero() -> None:
    job = task("batch-norm", "mean_squared_error")
    start = job.model.initial(1)
    arrays = job.model.split(start)
    arrays[1][3][:] = -0.25
    rows, _ = job.batch(np.random.default_rng(0))
    output = program(job, "sgd", start).call(INFER, rows=rows)["output"]
    wanted = predict(job.model, start.astype(np.float64), rows)
    assert np.isfinite(wanted).all()
    assert output == pytest.approx(wanted, rel=1e-4)
