import contextlib
import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import TREES

from learnae.errors import DataError, ModelError
from learnae.models.dataset import Dataset
from learnae.models.definition import MAX_LAYERS, MAX_PARAMETERS, Activation, Dense, Dropout, Flatten, ModelDefinition
from learnae.models.layers import activate
from learnae.models.losses import LOSSES, Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.models.reference.numpy_model import differentiate, predict
from learnae.swarm.presets import dense_config

FINAL = {
    "sparse_categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
    "mean_squared_error": "linear",
    "huber": "linear",
}


def sequential(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}
    return {"class_name": "Sequential", "config": {"layers": [first, *layers]}}


def layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def dense(units: int, activation: str = "linear", **config: Any) -> dict[str, Any]:
    return layer("Dense", units=units, activation=activation, **config)


def define(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> ModelDefinition:
    return ModelDefinition.from_config(sequential(*layers, shape=shape))


# -- definition

# what keras 3 writes: json.loads(model.to_json()), shortened only in its names
KERAS_JSON = """{"module": "keras", "class_name": "Sequential", "config": {"name": "sequential", "trainable": true,
"dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": null},
"layers": [
{"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [null, 4, 3], "dtype": "float32",
"sparse": false, "ragged": false, "name": "input_layer"}, "registered_name": null},
{"module": "keras.layers", "class_name": "Flatten", "config": {"name": "flatten", "trainable": true,
"dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": null},
"data_format": "channels_last"}, "registered_name": null, "build_config": {"input_shape": [null, 4, 3]}},
{"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "trainable": true, "dtype": {"module":
"keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": null, "shared_object_id": 2},
"units": 8, "activation": "relu", "use_bias": true, "kernel_initializer": {"module": "keras.initializers",
"class_name": "HeUniform", "config": {"seed": null}, "registered_name": null}, "bias_initializer": {"module":
"keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": null}, "kernel_regularizer": null,
"bias_regularizer": null, "kernel_constraint": null, "bias_constraint": null, "quantization_config": null},
"registered_name": null, "build_config": {"input_shape": [null, 12]}},
{"module": "keras.layers", "class_name": "ReLU", "config": {"name": "re_lu", "max_value": null,
"negative_slope": 0.0, "threshold": 0.0}, "registered_name": null},
{"module": "keras.layers", "class_name": "Dropout", "config": {"name": "dropout", "rate": 0.25, "seed": null,
"noise_shape": null}, "registered_name": null},
{"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense_1", "units": 5, "use_bias": false,
"activation": "linear"}, "registered_name": null},
{"module": "keras.layers", "class_name": "Activation", "config": {"activation": "softmax"}, "registered_name": null}],
"build_input_shape": [null, 4, 3]}, "registered_name": null, "build_config": {"input_shape": [null, 4, 3]},
"compile_config": {"optimizer": "sgd"}}"""


def test_what_keras_writes_is_read() -> None:
    model = ModelDefinition.from_config(json.loads(KERAS_JSON))
    assert (model.input_shape, model.output_shape, model.count) == ((4, 3), (5,), 12 * 8 + 8 + 8 * 5)
    assert model.layers == (
        Flatten(),
        Dense(12, 8, True, "HeUniform"),
        Activation("relu"),
        Activation("relu"),
        Dropout(0.25),
        Dense(8, 5, False, "GlorotUniform"),
        Activation("softmax"),
    )
    assert model.final_activation == "softmax"


@pytest.mark.parametrize("where", ["batch_input_shape", "build_input_shape"])
def test_the_input_shape_is_found_where_older_versions_put_it(where: str) -> None:
    config = {"class_name": "Sequential", "config": {"layers": [dense(2)]}}
    place = config["config"] if where == "build_input_shape" else config["config"]["layers"][0]["config"]  # type: ignore[index]
    place[where] = [None, 7]  # type: ignore[index]
    assert ModelDefinition.from_config(config).input_shape == (7,)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ([layer("Conv2D", filters=3)], "Conv2D"),
        ([layer("Lambda", function="os.system")], "Lambda"),
        ([layer("Sequential", layers=[])], "Sequential"),
        ([dense(2, "swish")], "swish"),
        ([layer("Activation", activation="gelu")], "gelu"),
        ([layer("Activation")], "activation"),
        ([dense(2, kernel_regularizer={"class_name": "L2"})], "kernel_regularizer"),
        ([dense(2, bias_regularizer={})], "bias_regularizer"),
        ([dense(2, activity_regularizer={})], "activity_regularizer"),
        ([dense(2, kernel_constraint={})], "kernel_constraint"),
        ([dense(2, bias_constraint={})], "bias_constraint"),
        ([dense(2, lora_rank=4)], "lora_rank"),
        ([dense(2, kernel_initializer="Orthogonal")], "Orthogonal"),
        ([dense(2, kernel_initializer={"class_name": "RandomNormal"})], "RandomNormal"),
        ([dense(0)], "units"),
        ([dense(2.0)], "units"),  # type: ignore[arg-type]
        ([dense(1 << 21)], "units"),
        ([dense(2, use_bias=1)], "use_bias"),
        ([layer("ReLU", max_value=6.0), dense(2)], "max_value"),
        ([layer("ReLU", negative_slope=0.1), dense(2)], "negative_slope"),
        ([layer("ReLU", threshold=1.0), dense(2)], "threshold"),
        ([layer("Dropout", rate=1.0), dense(2)], "rate"),
        ([layer("Dropout", rate=-0.1), dense(2)], "rate"),
        ([layer("Dropout"), dense(2)], "rate"),
        ([layer("Flatten")], "0 parameters"),
        ([dense(2)] * MAX_LAYERS, "list of 1 to"),
        ([{"class_name": "Dense"}], "layer 1"),
        ([3], "layer 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name_with_a_remedy(layers: list[Any], named: str) -> None:
    with pytest.raises(ModelError) as caught:
        define(*layers)
    assert named in str(caught.value)
    assert caught.value.remedy or "no field" in caught.value.problem


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        {},
        {"class_name": "Functional", "config": {"layers": [dense(2, batch_input_shape=[None, 4])]}},
        {"class_name": "Sequential"},
        {"class_name": "Sequential", "config": {"layers": []}},
        {"class_name": "Sequential", "config": {"layers": {}}},
        {"class_name": "Sequential", "config": {"layers": [dense(2)]}},
        {"class_name": "Sequential", "config": {"layers": [layer("InputLayer", batch_shape=[None, 4])]}},
        sequential(dense(2), shape=()),
        sequential(dense(2), shape=(0,)),
        sequential(dense(2), shape=(1 << 21,)),
        sequential(dense(2), shape=(True,)),
        sequential(dense(2), shape=(None,)),  # type: ignore[arg-type]
        sequential(dense(2), shape=(2, 2)),
        sequential(layer("Flatten"), dense(2), shape=(1, 1, 1, 1, 1)),
    ],
    ids=str,
)
def test_other_models_are_refused(config: object) -> None:
    with pytest.raises(ModelError):
        ModelDefinition.from_config(config)


def test_the_number_of_parameters_is_bounded() -> None:
    assert define(dense(1 << 8, use_bias=False), shape=(1 << 20,)).count == MAX_PARAMETERS
    with pytest.raises(ModelError, match=f"{MAX_PARAMETERS + 256} parameters"):
        define(dense(1 << 8), shape=(1 << 20,))
    with pytest.raises(ModelError, match="parameters"):
        define(layer("Flatten"), dense(1), shape=(1 << 20,) * 4)


@settings(max_examples=150)
@given(st.sampled_from(["class_name", "units", "activation", "use_bias", "rate", "batch_shape", "max_value"]), TREES)
def test_any_configuration_is_a_model_or_a_model_error(name: str, value: Any) -> None:
    for index in range(4):
        config = sequential(layer("ReLU"), layer("Dropout", rate=0.5), dense(2))
        target = config["config"]["layers"][index]
        (target if name == "class_name" else target["config"])[name] = value
        with contextlib.suppress(ModelError):
            ModelDefinition.from_config(config)


def test_all_peers_start_from_the_same_weights() -> None:
    model = define(dense(3, kernel_initializer="HeUniform"), dense(2, kernel_initializer="LecunUniform"))
    first = model.initial(7)
    assert first.tobytes() == model.initial(7).tobytes()
    assert first.tobytes() != model.initial(8).tobytes()
    (kernel, bias), (other, _) = model.split(first)
    assert (kernel.shape, bias.tolist(), first.dtype) == ((4, 3), [0, 0, 0], np.float32)
    assert 0 < np.abs(kernel).max() <= (6 / 4) ** 0.5
    assert 0 < np.abs(other).max() <= (3 / 3) ** 0.5
    # a figure to notice if a library's stream of random numbers ever changes: swarms would not fit any more
    assert define(dense(1)).initial(0).tolist() == pytest.approx(expected_first_weights())


def expected_first_weights() -> list[float]:
    """GlorotUniform of a (4, 1) kernel, from PCG64's own raw stream."""
    raw = np.random.PCG64(0).random_raw(4)
    bound = (6 / 5) ** 0.5
    return [float((2 * (int(number) >> 11) / 2**53 - 1) * bound) for number in raw] + [0.0]


@pytest.mark.parametrize(
    ("initialiser", "bound"),
    [("GlorotUniform", (6 / 300) ** 0.5), ("HeUniform", (6 / 200) ** 0.5), ("LecunUniform", (3 / 200) ** 0.5)],
)
def test_uniform_kernels_fill_their_range(initialiser: str, bound: float) -> None:
    model = define(dense(100, kernel_initializer=initialiser), shape=(200,))
    kernel = model.split(model.initial(1))[0][0]
    assert np.abs(kernel).max() == pytest.approx(bound, rel=0.01)
    assert abs(float(kernel.mean())) < bound / 50


def test_split_gives_views_in_the_order_of_keras() -> None:
    model = define(dense(2), layer("Flatten"), dense(1, use_bias=False))
    vector = np.arange(model.count, dtype=np.float32)
    arrays = model.split(vector)
    assert [[array.tolist() for array in each] for each in arrays] == [
        [[[0, 1], [2, 3], [4, 5], [6, 7]], [8, 9]],
        [],
        [[[10], [11]]],
    ]
    arrays[0][1][0] = 50
    assert vector[8] == 50


# -- losses


def test_a_loss_needs_its_own_final_activation() -> None:
    for name, activation in itertools.product(LOSSES, ("linear", "relu", "sigmoid", "tanh", "softmax")):
        model = define(dense(3, activation))
        if FINAL[name] == activation:
            assert Loss.for_model(name, model).name == name
        else:
            with pytest.raises(ModelError, match=f"needs {FINAL[name]}"):
                Loss.for_model(name, model)
    assert set(LOSSES) == set(FINAL)
    with pytest.raises(ModelError, match=r"hinge.*use sparse"):
        Loss.for_model("hinge", define(dense(3)))


def test_losses_by_hand() -> None:
    classes = Loss("sparse_categorical_crossentropy")
    prediction = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    assert classes.value(prediction, np.array([0, 1])) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2)
    assert classes.accuracy(prediction, np.array([0, 1])) == 0.5
    binary = Loss("binary_crossentropy")
    shares, truth = np.array([[0.8], [0.4], [0.1]]), np.array([[1.0], [1.0], [0.0]])
    assert binary.value(shares, truth) == pytest.approx(-(np.log(0.8) + np.log(0.4) + np.log(0.9)) / 3)
    assert binary.accuracy(shares, truth) == pytest.approx(2 / 3)
    squared = Loss("mean_squared_error")
    assert squared.value(np.array([[1.0, 2.0]]), np.array([[3.0, 2.0]])) == 2.0
    assert [loss.is_classification for loss in (classes, binary, squared)] == [True, True, False]


def test_a_wrong_certainty_costs_much_but_not_infinitely() -> None:
    assert Loss("binary_crossentropy").value(np.array([[0.0]]), np.array([[1.0]])) == pytest.approx(-np.log(1e-7))
    certain = np.array([[1.0, 0.0]])
    assert Loss("sparse_categorical_crossentropy").value(certain, np.array([1])) == pytest.approx(-np.log(1e-7))


# -- gradients


def batch(model: ModelDefinition, loss: str, rows: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(rows, *model.input_shape))
    outputs = model.output_shape[0]
    if loss == "sparse_categorical_crossentropy":
        return inputs, rng.integers(0, outputs, rows)
    targets = rng.normal(size=(rows, outputs))
    return inputs, (targets > 0).astype(float) if loss == "binary_crossentropy" else targets


def check_gradient(model: ModelDefinition, loss: str, dropout_seed: int | None = None) -> None:
    inputs, targets = batch(model, loss)
    weights = np.random.default_rng(2).normal(size=model.count) * 0.7

    def at(vector: Any) -> tuple[float, Any]:
        rng = None if dropout_seed is None else np.random.default_rng(dropout_seed)
        found = differentiate(model, Loss(loss), vector, inputs, targets, rng)
        return found.loss, found.gradient

    value, gradient = at(weights)
    numerical = np.empty_like(weights)
    for index in range(model.count):
        step = np.zeros_like(weights)
        step[index] = 1e-6
        numerical[index] = (at(weights + step)[0] - at(weights - step)[0]) / 2e-6
    assert gradient == pytest.approx(numerical, abs=1e-7, rel=1e-5)
    assert np.abs(gradient).max() > 1e-3
    if dropout_seed is None:
        assert value == pytest.approx(Loss(loss).value(predict(model, weights, inputs), targets))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh", "softmax"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_numerical_differentiation(loss: str, activation: str, bias: bool) -> None:
    outputs = 1 if loss == "binary_crossentropy" else 3
    check_gradient(define(dense(5, activation, use_bias=bias), dense(4), dense(outputs, FINAL[loss])), loss)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_flow_through_flatten_dropout_and_several_activations(loss: str) -> None:
    final = [] if FINAL[loss] == "linear" else [layer("Activation", activation=FINAL[loss])]
    model = define(
        layer("Activation", activation="tanh"),
        layer("Flatten"),
        layer("Dropout", rate=0.3),
        dense(6, "sigmoid"),
        layer("ReLU"),
        layer("Dropout", rate=0.5),
        dense(2),
        *final,
        shape=(2, 3),
    )
    check_gradient(model, loss)
    check_gradient(model, loss, dropout_seed=3)


@pytest.mark.parametrize(
    "last", [layer("Flatten"), layer("Dropout", rate=0.4), layer("Activation", activation="linear")], ids=str
)
def test_gradients_where_the_model_ends_with_a_layer_without_weights(last: dict[str, Any]) -> None:
    model = define(dense(4, "tanh"), dense(2, "softmax"), layer("Flatten"), last)
    check_gradient(model, "mean_squared_error")
    check_gradient(model, "mean_squared_error", dropout_seed=4)


def test_dropout_keeps_the_mean_and_is_inactive_in_predictions() -> None:
    model = define(layer("Dropout", rate=0.25), dense(1, use_bias=False), shape=(1,))
    weights, rows = np.ones(1), np.ones((4000, 1))
    assert predict(model, weights, rows).tolist() == [[1.0]] * 4000
    values = [
        differentiate(model, Loss("mean_squared_error"), weights, rows, np.zeros((4000, 1)), rng).loss
        for rng in (None, np.random.default_rng(0))
    ]
    assert values[0] == 1.0
    assert values[1] == pytest.approx(0.75 / 0.75**2, rel=0.05)


def test_activations_are_finite_everywhere() -> None:
    extreme = np.array([[-1e30, -100, 0, 100, 1e30]], np.float32)
    for name in ("relu", "sigmoid", "tanh", "softmax", "linear"):
        with np.errstate(over="raise", invalid="raise"):
            result = activate(name, extreme)
        assert np.isfinite(result).all()
        assert result.dtype == np.float32
    assert activate("softmax", extreme).sum() == pytest.approx(1)


def test_gradients_in_float32_agree_with_float64() -> None:
    model = define(dense(8, "tanh"), dense(3, "softmax"))
    inputs, targets = batch(model, "sparse_categorical_crossentropy")
    weights, loss = model.initial(1), Loss("sparse_categorical_crossentropy")
    single = differentiate(model, loss, weights, inputs.astype(np.float32), targets).gradient
    double = differentiate(model, loss, weights.astype(np.float64), inputs, targets).gradient
    assert single.dtype == np.float32
    assert single == pytest.approx(double, abs=1e-6)


# -- optimisers


def keras_steps(policy: OptimiserPolicy, weights: list[float], gradients: list[list[float]]) -> list[float]:
    """One weight after another, as in Keras' sgd.py and adam.py."""
    rate, result = policy.learning_rate, []
    for index, start in enumerate(weights):
        weight, velocity, first, second = start, 0.0, 0.0, 0.0
        for step, gradient in enumerate((each[index] for each in gradients), start=1):
            if policy.name == "sgd":
                weight -= rate * gradient
            elif policy.name == "momentum":
                velocity = policy.momentum * velocity - rate * gradient
                weight += velocity
            else:
                first = policy.beta_1 * first + (1 - policy.beta_1) * gradient
                second = policy.beta_2 * second + (1 - policy.beta_2) * gradient**2
                alpha = rate * (1 - policy.beta_2**step) ** 0.5 / (1 - policy.beta_1**step)
                weight -= alpha * first / (second**0.5 + policy.epsilon)
        result.append(weight)
    return result


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_optimisers_follow_the_formulas_of_keras(name: str) -> None:
    policy = OptimiserPolicy(name, 0.05, momentum=0.8, beta_1=0.85, beta_2=0.95, epsilon=1e-3)
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=3), rng.normal(size=(6, 3))
    weights, optimiser = start.copy(), Optimiser(policy, 3, np.float64)
    single, other = start.astype(np.float32), Optimiser(policy, 3)
    for index, gradient in enumerate(gradients):
        if index == 3:  # a restart in the middle changes nothing
            again = Optimiser(policy, 3, np.float64)
            again.restore(optimiser.state)
            optimiser = again
        optimiser.apply(weights, gradient)
        other.apply(single, gradient.astype(np.float32))
    expected = keras_steps(policy, start.tolist(), gradients.tolist())
    assert weights == pytest.approx(np.array(expected), rel=1e-12)
    assert single == pytest.approx(np.array(expected), rel=1e-4)
    assert single.dtype == np.float32


def test_a_restored_state_is_a_copy() -> None:
    first, second = (Optimiser(OptimiserPolicy("momentum"), 1) for _ in range(2))
    second.restore(first.state)
    second.apply(np.zeros(1, np.float32), np.ones(1, np.float32))
    assert first.state["velocity"].tolist() == [0.0]


# -- dataset


def dataset(loss: str, capacity: int = 1000, outputs: int = 3) -> Dataset:
    model = define(dense(outputs, FINAL[loss]), shape=(2,))
    return Dataset(model, Loss.for_model(loss, model), capacity)


@pytest.mark.parametrize(
    ("loss", "first", "targets", "kept"),
    [
        ("sparse_categorical_crossentropy", [0, np.nan, np.inf], [0, 1, 2], [0]),
        ("sparse_categorical_crossentropy", [0] * 7, [0, 3, -1, 0.5, np.nan, 2, 1], [0, 2, 1]),
        ("binary_crossentropy", [0] * 5, [0, 1, 2, -1, 0.5], [[0], [1]]),
        ("mean_squared_error", [0] * 3, [1, np.nan, np.inf], [[1]]),
        ("mean_squared_error", [0, 1e39, 0], [1, 1, 1e300], [[1]]),  # beyond float32
        ("mean_squared_error", [], [], []),
    ],
)
@pytest.mark.filterwarnings("error")
def test_rows_that_cannot_be_used_are_skipped_and_counted(
    loss: str, first: list[float], targets: list[float], kept: list[Any]
) -> None:
    data = dataset(loss, outputs=3 if loss.startswith("sparse") else 1)
    rows, skipped = np.array([[value, 0] for value in first]).reshape(-1, 2), len(first) - len(kept)
    data.add(rows, np.array(targets))
    assert (data.train.targets.tolist(), len(data.holdout), data.skipped) == (kept, 0, skipped)
    data.add(rows, np.array(targets), holdout=True)
    assert (data.holdout.targets.tolist(), len(data.train), data.skipped) == (kept, len(kept), 2 * skipped)


def test_rows_and_targets_of_another_shape_are_refused() -> None:
    data = dataset("sparse_categorical_crossentropy")
    for rows, targets in (((4, 3), (4,)), ((4, 2), (3,)), ((4, 2), (4, 3)), ((4, 2, 1), (4,)), ((2,), (2,))):
        with pytest.raises(DataError, match="swarm's model"):
            data.add(np.zeros(rows), np.zeros(targets))
    with pytest.raises(DataError):
        dataset("mean_squared_error", outputs=2).add(np.zeros((4, 2)), np.zeros(4))


@pytest.mark.parametrize("capacity", [1, 3, 256, 300, 513])
def test_beyond_the_capacity_the_oldest_rows_go(capacity: int) -> None:
    data = dataset("mean_squared_error", capacity, outputs=1)
    for start in range(0, 1000, 7):
        values = np.arange(start, start + 7)
        data.add(np.stack([values, -values], axis=1), values)
        seen = start + 7
        kept = sorted(data.train.targets[:, 0].tolist())
        assert kept == list(range(max(0, seen - capacity), seen))
        assert (data.train.rows[:, 0] == data.train.targets[:, 0]).all()
        assert (data.train.rows[:, 1] == -data.train.targets[:, 0]).all()


# -- learner


def learner(optimiser: str = "momentum", rows: int = 60, seed: int = 0) -> NumpyLearner:
    model = ModelDefinition.from_config(dense_config(2, (8,), 2, "softmax"))
    loss = Loss("sparse_categorical_crossentropy")
    data = Dataset(model, loss)
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(rows, 2))
    labels = (inputs[:, 0] > inputs[:, 1]).astype(int)
    data.add(inputs, labels)
    data.add(inputs[:20], labels[:20], holdout=True)
    result = NumpyLearner(model, loss, OptimiserPolicy(optimiser, 0.1), data, 16, np.random.default_rng(seed))
    result.load(model.initial(0))
    return result


@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
def test_training_makes_the_model_better(optimiser: str) -> None:
    me = learner(optimiser)
    before = me.evaluate(me.weights())
    trained = me.train(150)
    after = me.evaluate(me.weights())
    assert before is not None
    assert after is not None
    assert (trained.steps, trained.rows, after.rows) == (150, 60, 20)
    assert after.loss < before.loss / 2
    assert after.accuracy is not None
    assert after.accuracy >= 0.9


def test_training_can_be_repeated_and_continued() -> None:
    whole, parts = learner(), learner()
    whole.train(6)
    parts.train(3)
    weights, state = parts.weights(), {name: array.copy() for name, array in parts.state().items()}
    parts.load(np.zeros_like(weights))
    parts.restore(learner().state())
    assert not parts.state()["velocity"].any()
    parts.load(weights)
    parts.restore(state)
    parts.train(3)
    assert parts.weights().tobytes() == whole.weights().tobytes()


def test_an_evaluation_in_parts_is_that_of_the_whole() -> None:
    model = define(dense(2, "softmax"), shape=(2,))
    loss, weights = Loss("sparse_categorical_crossentropy"), model.initial(3)
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(2500, 2)).astype(np.float32), rng.integers(0, 2, 2500)
    metrics = evaluate(model, loss, weights, rows, labels)
    output = predict(model, weights, rows)
    assert metrics is not None
    assert metrics.loss == pytest.approx(loss.value(output, labels))
    assert metrics.accuracy == pytest.approx(loss.accuracy(output, labels))
    squared = evaluate(define(dense(1), shape=(2,)), Loss("mean_squared_error"), np.zeros(3), rows, rows[:, :1])
    assert squared is not None
    assert squared.accuracy is None
