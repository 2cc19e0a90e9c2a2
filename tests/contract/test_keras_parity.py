"""The reference, and TFLite where a runtime is installed, train what Keras on JAX trains."""

import importlib.util
import itertools
import json
import os
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from learner_models import (
    BATCH,
    BODIES,
    OPTIMISERS,
    RUNTIMES,
    STEPS,
    TOLERANCE,
    Task,
    autoencoder,
    compared,
    reference_steps,
    require,
    task,
)
from nightly import how_many
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.layers import BatchNormalization
from learnae.models.losses import LOSSES, REGRESSIONS
from learnae.models.reference.numpy_model import predict
from trainer_node.learning.jax_learner import JaxLearner
from trainer_node.learning.renormalisation import renormalise

require("jax")
require("keras")
os.environ.setdefault("KERAS_BACKEND", "jax")
import keras  # noqa: E402

if keras.backend.backend() != "jax":
    pytest.skip(f"keras runs on {keras.backend.backend()}, not on jax", allow_module_level=True)

HAS_TFLITE = any(importlib.util.find_spec(name) for name in RUNTIMES) and importlib.util.find_spec("flatbuffers")


def keras_model(job: Task, optimiser: str, start: NDArray[Any]) -> Any:
    """The same definition, rebuilt by Keras; BatchNormalization as trainers train it."""
    policy = OPTIMISERS[optimiser]
    model = renormalise(keras.models.model_from_json(json.dumps(with_modules(job.config))))
    model.set_weights([array for arrays in job.model.split(start) for array in arrays])
    rate = policy.learning_rate
    rules = {
        "sgd": lambda: keras.optimizers.SGD(rate),
        "momentum": lambda: keras.optimizers.SGD(rate, momentum=policy.momentum),
        "adam": lambda: keras.optimizers.Adam(rate, policy.beta_1, policy.beta_2, policy.epsilon),
    }
    model.compile(optimizer=rules[optimiser](), loss=job.loss.name)
    return model


def vector_of(model: Any) -> NDArray[Any]:
    return np.concatenate([np.ravel(array) for array in model.get_weights()])


def with_modules(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as Keras itself writes it: every class says where it is from."""
    layers = [{"module": "keras.layers", "registered_name": None, **layer} for layer in config["config"]["layers"]]
    return {"module": "keras", "registered_name": None, **config, "config": {**config["config"], "layers": layers}}


def differences(job: Task, optimiser: str, given: NDArray[Any] | None = None) -> dict[str, float]:
    """Largest difference of a weight from Keras' after training: of the reference, of TFLite, of the fused epoch."""
    start = job.model.initial(3) if given is None else given
    exact, data = start.astype(np.float64), Dataset(job.model, job.loss)
    theirs, mine = keras_model(job, optimiser, start), tflite(job, optimiser, start)
    for step, (rows, targets, _) in enumerate(reference_steps(job, optimiser, exact), 1):
        theirs.train_on_batch(rows, targets)
        data.add(rows, targets)
        if mine is not None:
            mine(rows, targets, step)
    wanted = vector_of(theirs)
    assert [array.shape for array in theirs.get_weights()] == [s for one in job.model.layers for s in one.shapes]
    output = predict(job.model, exact, rows)
    these = compared(job.model, optimiser)
    assert output == pytest.approx(theirs.predict_on_batch(rows), abs=2e-5 if these.all() else 1e-3)
    found = {"numpy": float(np.abs(exact - wanted)[these].max())}
    found["fused"] = float(np.abs(fused(job, optimiser, start, data) - wanted).max())
    if mine is not None:
        found["tflite"] = float(np.abs(mine.weights() - wanted)[these].max())
    return found


def tflite(job: Task, optimiser: str, start: NDArray[Any]) -> Any:
    """One TFLite step as a function, with ``weights``; None without a runtime."""
    if not HAS_TFLITE:
        return None
    from test_learner_parity import program

    from agent.tflite.training.optimisers import rate_of
    from agent.tflite.training.program import WEIGHTS

    mine = program(job, optimiser, start)

    def step(rows: NDArray[Any], targets: NDArray[Any], number: int) -> None:
        mine.step(rows, targets, rate_of(OPTIMISERS[optimiser], number))

    step.weights = lambda: mine.call(WEIGHTS)["weights"]  # type: ignore[attr-defined]
    return step


def fused(job: Task, optimiser: str, start: NDArray[Any], data: Dataset) -> NDArray[Any]:
    """The weights after the same batches in one compiled loop."""
    learner = JaxLearner(job.config, job.loss, OPTIMISERS[optimiser], data, BATCH, np.random.default_rng(1))
    learner.load(start)
    learner.run(np.arange(STEPS * BATCH, dtype=np.int32).reshape(STEPS, BATCH))
    return learner.weights()


ALL = list(itertools.product(BODIES, LOSSES, OPTIMISERS))
# all that these have is in another body, too
LIKE_OTHERS = {
    *("dense", "dense-relu", "dense-no-bias", "none", "activations"),
    *("conv-valid", "conv-same", "conv-skips", "conv-wide", "pool", "pool-rest", "average", "batch-norm", "layer-norm"),
}
# Keras compiles every case anew, so by default a body once, while losses and optimisers take turns in all pairs
TURNS = list(
    zip(sorted(BODIES.keys() - LIKE_OTHERS), itertools.cycle(LOSSES), itertools.cycle(OPTIMISERS), strict=False)
)
# what works on the input itself is rounded otherwise in a loop since jaxlib 0.12 (adr 0046)
IS_OLD = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12)
ROUNDED = () if IS_OLD else ("activations", "activation-first", "batch-norm-first")
CASES = ALL[: how_many(0, len(ALL))] or TURNS


@pytest.mark.slow
@pytest.mark.parametrize(("body", "loss", "optimiser"), CASES)
def test_combinations_train_as_in_keras(body: str, loss: str, optimiser: str, record_property: Any) -> None:
    found = differences(task(body, loss), optimiser)
    assert found["fused"] == 0 or (body in ROUNDED and found["fused"] <= TOLERANCE[optimiser])
    for learner, difference in found.items():
        record_property(learner, difference)
    assert max(found.values()) <= TOLERANCE[optimiser], found


@pytest.mark.parametrize("body", ["batch-norm", "batch-norm-first"])
def test_all_learners_train_alike_where_the_swarm_has_other_statistics_than_the_rows(body: str) -> None:
    """Stretch and shift are at their bounds in some channels, and within them in others."""
    job = task(body, "mean_squared_error")
    start = job.model.initial(3)
    layers = zip(job.model.layers, job.model.split(start), strict=True)
    mean, variance = next(arrays[-2:] for one, arrays in layers if isinstance(one, BatchNormalization))
    mean[:], variance[:] = np.linspace(-8, 8, len(mean)), np.geomspace(1e-3, 10, len(mean))
    found = differences(job, "sgd", start)
    assert max(found.values()) <= 1e-5, found


def test_under_adam_a_bias_without_effect_is_noise_in_keras_too() -> None:
    """Why ``compared`` leaves such weights out."""
    job = task("batch-norm-bias", "mean_squared_error")
    exact, theirs = job.model.initial(3).astype(np.float64), keras_model(job, "adam", job.model.initial(3))
    for rows, targets, _ in reference_steps(job, "adam", exact):
        theirs.train_on_batch(rows, targets)
    difference = np.abs(vector_of(theirs) - exact)
    these = compared(job.model, "adam")
    assert (~these).sum() == 2 * 8
    assert STEPS * OPTIMISERS["adam"].learning_rate > difference[~these].max() > 10 * difference[these].max()


@pytest.mark.parametrize("loss", REGRESSIONS)
def test_an_autoencoder_trains_as_in_keras(loss: str) -> None:
    found = differences(autoencoder(loss), "momentum")
    assert max(found.values()) <= TOLERANCE["momentum"], found
