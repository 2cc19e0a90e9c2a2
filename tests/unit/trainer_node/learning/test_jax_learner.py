"""The Keras/JAX learner against the NumPy one, and against keras.fit."""

import importlib
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from keras_configs import dense, layer, sequential

from bench.learners.parity import smooth_batch
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.keras_model import build_model, flat, import_keras, set_flat
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_learner import evaluate as evaluate_in_numpy
from learnae.models.reference.numpy_model import differentiate
from learnae.swarm.presets import dense_config
from trainer_node.learning import jax_learner
from trainer_node.learning.device_rows import DeviceRows
from trainer_node.learning.jax_learner import JaxLearner
from trainer_node.learning.renormalisation import renormalise

pytestmark = pytest.mark.modules("keras", "jax")

ROWS, BATCH, STEPS = 640, 32, 50
TASKS = {
    "binary_crossentropy": (dense_config(6, (16, 8), 1, "sigmoid"), lambda x: (x[:, :1] > 0).astype(np.float32)),
    "sparse_categorical_crossentropy": (
        dense_config(6, (16,), 4, "softmax"),
        lambda x: np.digitize(x[:, 0], [-1, 0, 1]),
    ),
    "mean_squared_error": (dense_config(6, (16,), 3, "linear"), lambda x: x[:, :3] * 2 + 1),
}
OPTIMISERS = [OptimiserPolicy("sgd", 0.05), OptimiserPolicy("momentum", 0.02), OptimiserPolicy("adam", 0.001)]
NORMALISED = sequential(dense(8, "relu"), layer("BatchNormalization"), dense(1, "sigmoid"), shape=(6,))


def over_time(*layers: dict[str, Any]) -> dict[str, Any]:
    """Six values as a sequence, then these layers, then one output."""
    return sequential(layer("Reshape", target_shape=[6, 1]), *layers, dense(1, "sigmoid"), shape=(6,))


FLAT, EACH = layer("GlobalAveragePooling1D"), layer("LayerNormalization")
POOLED = over_time(layer("MaxPooling1D"), FLAT)
CONVOLUTION = {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}
STRIDING = layer("Conv1D", **CONVOLUTION, strides=2)
CONVOLVED = over_time(layer("Conv1D", **CONVOLUTION), layer("BatchNormalization"), STRIDING, EACH, FLAT)
# pairs of the model's own input, normalised each by itself
PAIRS_NORMALISED = over_time(layer("Reshape", target_shape=[3, 2]), EACH, FLAT)
BINARY = "binary_crossentropy"


def data_of(name: str = BINARY, rows: int = ROWS) -> tuple[dict[str, Any], Loss, Dataset]:
    config, target = TASKS[name]
    x = np.random.default_rng(5).standard_normal((rows, 6)).astype(np.float32)
    model = ModelDefinition.from_config(config)
    loss = Loss.for_model(name, model)
    data = Dataset(model, loss)
    data.add(x, target(x))
    data.add(x[: rows // 3], target(x)[: rows // 3], holdout=True)
    return config, loss, data


def learner_of(policy: OptimiserPolicy, name: str = BINARY, config: Any = None, **options: Any) -> JaxLearner:
    own, loss, data = data_of(name)
    return JaxLearner(config or own, loss, policy, data, BATCH, np.random.default_rng(1), **options)


def some_batches(steps: int = STEPS, seed: int = 3) -> Any:
    return np.random.default_rng(seed).integers(0, ROWS, (steps, BATCH)).astype(np.int32)


# -- the same as NumPy


@pytest.mark.parametrize(("name", "policy"), list(zip(TASKS, OPTIMISERS, strict=True)), ids=TASKS)
def test_fifty_steps_end_where_numpy_in_float64_ends(name: str, policy: OptimiserPolicy) -> None:
    config, loss, data = data_of(name)
    model = ModelDefinition.from_config(config)
    learner = learner_of(policy, name)
    learner.load(model.initial(7))
    weights = model.initial(7).astype(np.float64)
    optimiser = Optimiser(policy, model.count, np.float64)
    rows = data.train.rows.astype(np.float64)

    batches, wanted = [], []
    rng = np.random.default_rng(3)
    for _ in range(STEPS):
        batches.append(chosen := smooth_batch(model, weights, rows, BATCH, rng))
        found = differentiate(model, loss, weights, rows[chosen], data.train.targets[chosen])
        optimiser.apply(weights, found.gradient)
        wanted.append(found.loss)
    assert learner.run(np.array(batches, np.int32)) == pytest.approx(wanted, rel=1e-4)

    assert np.abs(learner.weights() - weights).max() <= (1e-4 if policy.name == "adam" else 1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_an_evaluation_says_what_numpy_says(name: str) -> None:
    config, loss, data = data_of(name)
    model = ModelDefinition.from_config(config)
    weights = model.initial(3)

    found = learner_of(OPTIMISERS[0], name, evaluation_batch=100).evaluate(weights)  # 213 rows: the last is not full
    wanted = evaluate_in_numpy(model, loss, weights, data.holdout.rows, data.holdout.targets)

    assert found is not None
    assert wanted is not None
    assert found.rows == wanted.rows == ROWS // 3
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    assert (found.accuracy is None) == (wanted.accuracy is None)
    assert found.accuracy is None or found.accuracy == pytest.approx(wanted.accuracy)


# -- the same as keras.fit


@pytest.mark.parametrize(
    ("config", "policy"),
    list(zip([TASKS[BINARY][0], NORMALISED, POOLED, CONVOLVED], [*OPTIMISERS, OPTIMISERS[2]], strict=True)),
    ids=["dense", "batch normalisation", "pooling", "convolutions"],
)
def test_an_epoch_is_keras_fit_bit_for_bit(config: Any, policy: OptimiserPolicy) -> None:
    start, mine, fitted = an_epoch(config, policy)
    assert not np.array_equal(fitted, start)
    assert mine.tobytes() == fitted.tobytes()


@pytest.mark.parametrize("policy", OPTIMISERS, ids=lambda policy: policy.name)
def test_an_epoch_that_normalises_its_input_is_keras_fit_but_for_rounding(policy: OptimiserPolicy) -> None:
    """Since jaxlib 0.12 such a layer is rounded otherwise inside a loop; behind another layer it is not."""
    _, mine, fitted = an_epoch(PAIRS_NORMALISED, policy)
    assert np.abs(mine - fitted).max() <= (1e-6 if policy.name == "adam" else 1e-7)


def an_epoch(config: Any, policy: OptimiserPolicy) -> tuple[Any, Any, Any]:
    """Weights before an epoch, after a fused one, and after Keras' own, of which normalisation alone is another."""
    keras = import_keras()
    learner, start = learner_of(policy, config=config), ModelDefinition.from_config(config).initial(7)
    learner.load(start)
    order = np.random.default_rng(9).permutation(ROWS).astype(np.int32)
    _, _, data = data_of()
    model = renormalise(build_model(config))
    model.compile(optimizer=keras_optimiser(keras, policy), loss=BINARY)
    set_flat(model, start)
    learner.run(order.reshape(-1, BATCH))
    model.fit(data.train.rows[order], data.train.targets[order], batch_size=BATCH, shuffle=False, verbose=0)
    return start, learner.weights(), flat(model.get_weights())


def keras_optimiser(keras: Any, policy: OptimiserPolicy) -> Any:
    if policy.name == "adam":
        return keras.optimizers.Adam(policy.learning_rate)
    return keras.optimizers.SGD(policy.learning_rate, policy.momentum if policy.name == "momentum" else 0.0)


def test_a_variance_that_merging_made_negative_counts_as_0() -> None:
    _, loss, data = data_of()
    learner, model = learner_of(OPTIMISERS[0], config=NORMALISED), ModelDefinition.from_config(NORMALISED)
    weights = learner.weights().copy()
    model.split(weights)[2][-1][0] = -0.14
    wanted = evaluate_in_numpy(model, loss, weights, data.holdout.rows, data.holdout.targets)
    got = learner.evaluate(weights)
    assert got is not None
    assert got.loss == pytest.approx(wanted.loss, rel=1e-5)


# -- state


@pytest.mark.parametrize("policy", OPTIMISERS, ids=lambda policy: policy.name)
def test_a_restored_learner_goes_on_exactly(policy: OptimiserPolicy) -> None:
    first, second = learner_of(policy, config=NORMALISED), learner_of(policy, config=NORMALISED)
    first.run(some_batches())
    second.restore({name: array.copy() for name, array in first.state().items()})
    second.load(first.weights())

    first.run(some_batches(seed=4))
    second.run(some_batches(seed=4))

    assert first.weights().tobytes() == second.weights().tobytes()
    assert all(np.array_equal(array, second.state()[name]) for name, array in first.state().items())


# -- rows


def test_chunks_of_steps_are_one_training() -> None:
    whole, chunked = learner_of(OPTIMISERS[1]), learner_of(OPTIMISERS[1], chunk_steps=7)
    chunked.load(whole.weights())
    trained = whole.train(23)

    again = chunked.train(23)

    assert again.steps == trained.steps == 23
    assert again.loss == pytest.approx(trained.loss)
    assert chunked.weights().tobytes() == whole.weights().tobytes()


def test_mixed_precision_learns_and_keeps_weights_in_float32() -> None:
    exact, mixed = learner_of(OPTIMISERS[1]), learner_of(OPTIMISERS[1], precision="mixed_bfloat16")
    mixed.load(exact.weights())
    start = mixed.train(50).loss
    exact.train(50)

    assert mixed.weights().dtype == np.float32
    assert mixed.train(100).loss < start
    assert not np.array_equal(mixed.weights(), exact.weights())


def test_everything_is_on_the_first_device_that_jax_sees() -> None:
    first = importlib.import_module("jax").devices()[0]
    learner = learner_of(OPTIMISERS[2])
    learner.train(2)
    part = learner._train.part(0)
    carried = [array for arrays in learner._carry for array in arrays]
    assert {device for array in (*carried, part.rows, part.targets) for device in array.devices()} == {first}
    assert learner.device.startswith(first.device_kind)


@pytest.mark.parametrize(
    ("kind", "platform", "name"),
    [("NVIDIA H100 80GB HBM3", "gpu", "NVIDIA H100 80GB HBM3 (gpu)"), ("cpu", "cpu", "cpu")],
)
def test_the_device_is_named_as_its_maker_does(
    kind: str, platform: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learner = learner_of(OPTIMISERS[0])
    monkeypatch.setattr(learner._functions, "device", SimpleNamespace(device_kind=kind, platform=platform))
    assert learner.device == name
    learner._halve(learner._train, 1, jax_learner.DeviceMemoryError("full", "less"))
    assert f"{name}: the memory is full" in caplog.text


@pytest.mark.slow
def test_a_full_device_is_said_with_the_remedy() -> None:
    program = """
import resource, numpy as np
from learnae.errors import ConfigurationError
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.models.dataset import Dataset
from learnae.swarm.presets import dense_config
from trainer_node.learning.jax_learner import JaxLearner
from trainer_node.learning.device_rows import DeviceRows
manifest = Manifest("wide", dense_config(2, (1 << 14,), 1, "sigmoid"), "binary_crossentropy",
                    training=TrainingPolicy(1, 1 << 18))
data = Dataset(manifest.model, manifest.objective)
data.add(np.ones((64, 2)), np.ones(64))
learner = JaxLearner.for_manifest(manifest, data, np.random.default_rng(1))
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
try:
    learner.train(1)
except ConfigurationError as error:
    print("said:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False)

    assert "has not enough memory" in done.stdout, done.stderr[-2000:]
    assert "smaller batch" in done.stdout
    assert 'train.engine = "numpy"' in done.stdout


def device_error(text: str) -> Exception:
    """What JAX raises when a device fails."""
    return importlib.import_module("jax").errors.JaxRuntimeError(text)


FULL = [
    "RESOURCE_EXHAUSTED: Failed to allocate request for 1 bytes.",
    "INTERNAL: Buffer Definition Event: Error preparing computation: Out of memory allocating 1 bytes.",  # JAX 0.8, CPU
]


def test_what_does_not_fit_on_the_device_is_trained_in_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put, seen = DeviceRows._put, set()

    def small(resident: DeviceRows, array: Any) -> Any:
        if array.nbytes > 100 * 6 * 4:
            raise device_error(FULL[0])
        if array.ndim == 2 and array.shape[1] == 6:
            seen.add(array[0].tobytes())
        return put(resident, array)

    whole = learner_of(OPTIMISERS[1])
    wanted = whole.evaluate(whole.weights())
    monkeypatch.setattr(DeviceRows, "_put", small)
    learner = learner_of(OPTIMISERS[1])
    learner.load(whole.weights())
    first = learner.train(5)
    assert (first.steps, first.rows) == (5, ROWS)
    assert learner.resident == ROWS // 8 <= 100 < ROWS // 4
    for _ in range(20):
        last = learner.train(20)
    assert last.loss < first.loss
    assert len(seen) == 8, "every part has its turn"
    said = learner.evaluate(whole.weights())
    assert wanted is not None
    assert said is not None
    assert (said.rows, said.accuracy) == (wanted.rows, wanted.accuracy)
    assert said.loss == pytest.approx(wanted.loss)
    assert f"the memory is full; {learner.resident} of {ROWS} rows are kept there at a time" in caplog.text


@pytest.mark.parametrize("policy", OPTIMISERS[1:], ids=lambda policy: policy.name)
def test_steps_that_run_out_of_memory_are_taken_again_from_where_they_began(
    monkeypatch: pytest.MonkeyPatch, policy: OptimiserPolicy
) -> None:
    learner = learner_of(policy)
    learner.train(7)
    weights, state = learner.weights(), learner.state()
    again: list[Any] = []
    real = learner._functions.train

    def failing(carry: Any, *rows: Any) -> Any:
        if not again:
            again.append(real(carry, *rows))  # takes the carry's arrays
            raise device_error(FULL[0])
        again.append((learner._functions.vector(carry), learner._functions.state(carry)))
        return real(carry, *rows)

    monkeypatch.setattr(learner._functions, "train", failing)
    learner.train(3)
    began, optimiser = again[1]
    assert began.tobytes() == weights.tobytes()
    assert {name: array.tobytes() for name, array in optimiser.items()} == {
        name: array.tobytes() for name, array in state.items()
    }
    assert learner.weights().tobytes() != weights.tobytes()


@pytest.mark.parametrize(
    ("text", "kind", "said", "most"),
    [(text, ConfigurationError, "not enough memory", 1 + np.log2(ROWS / BATCH)) for text in FULL]
    + [("INTERNAL: something else", RuntimeError, "something else", 1)],
)
def test_a_batch_that_never_fits_is_an_error_and_tried_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch, text: str, kind: type[Exception], said: str, most: float
) -> None:
    learner, tries = learner_of(OPTIMISERS[1]), []

    def failing(*_: Any) -> Any:
        tries.append(1)
        raise device_error(text)

    monkeypatch.setattr(learner._functions, "train", failing)
    with pytest.raises(kind, match=said):
        learner.train(3)
    assert len(tries) <= most
