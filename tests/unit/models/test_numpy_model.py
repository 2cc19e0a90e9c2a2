"""Losses, gradients, optimisers and evaluations of the NumPy reference."""

import itertools
from typing import Any

import numpy as np
import pytest
from keras_configs import batch, check_gradient, define, dense, layer

from learnae.errors import ModelError
from learnae.models.layers import activate
from learnae.models.losses import LOSSES, Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_learner import evaluate
from learnae.models.reference.numpy_model import differentiate, predict

FINAL = {
    "sparse_categorical_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
    "mean_squared_error": "linear",
    "huber": "linear",
}


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


# -- evaluation


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
