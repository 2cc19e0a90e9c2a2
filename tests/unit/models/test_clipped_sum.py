"""Sums of clipped gradients: of any stack of layers what the rows give one by one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_configs import define, dense, layer
from row_gradients import sum_by_rows

from bench.race.baselines import learner_of, manifest, targets_of
from bench.rigs.bare_net import Net
from bench.rigs.race_table import Part
from learnae.errors import ModelError
from learnae.models.losses import FINAL_ACTIVATIONS, LOSSES, Loss
from learnae.models.reference.numpy_model import clipped_sum, differentiate

ACTIVATIONS = st.sampled_from(["linear", "relu", "sigmoid", "tanh", "softmax"])
BIAS = st.booleans()
SIZE = st.integers(1, 4)
NORMAL = st.builds(
    lambda scale, centre: layer("LayerNormalization", scale=scale, center=centre, epsilon=0.01), BIAS, BIAS
)
OVER_TIME = st.one_of(
    st.builds(
        lambda filters, size, stride, padding, activation, bias: layer(
            "Conv1D",
            filters=filters, kernel_size=size, strides=stride, padding=padding, activation=activation, use_bias=bias,
        ),
        SIZE, SIZE, st.integers(1, 2), st.sampled_from(["same", "valid"]), ACTIVATIONS, BIAS,
    ),
    st.builds(lambda size: layer("MaxPooling1D", pool_size=size, padding="same"), SIZE),
    st.builds(lambda activation: layer("Activation", activation=activation), ACTIVATIONS),
    st.just(layer("Dropout", rate=0.5)),
    NORMAL,
)  # fmt: skip
FLAT = st.one_of(
    st.builds(lambda units, activation, bias: dense(units, activation, use_bias=bias), SIZE, ACTIVATIONS, BIAS), NORMAL
)
TO_FLAT = st.sampled_from([layer("Flatten"), layer("GlobalAveragePooling1D")])


@st.composite
def models(draw: Any) -> tuple[Any, Loss]:
    loss = draw(st.sampled_from(LOSSES))
    end = dense(draw(st.integers(2, 3)), FINAL_ACTIVATIONS[loss])
    over_time, flat = draw(st.lists(OVER_TIME, max_size=3)), draw(st.lists(FLAT, max_size=2))
    try:
        return define(*over_time, draw(TO_FLAT), *flat, end, shape=(draw(st.integers(1, 9)), 2)), Loss(loss)
    except ModelError:  # a kernel longer than what is left of the sequence
        return define(draw(TO_FLAT), *flat, end, shape=(5, 2)), Loss(loss)


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(1, 5), st.sampled_from([0.0, 0.05, 1.0, np.inf]), st.integers(0, 99))
def test_the_sum_is_that_of_the_rows_one_by_one(model: tuple[Any, Loss], count: int, bound: float, seed: int) -> None:
    definition, loss = model
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, *definition.input_shape)) * 10 ** rng.uniform(-1, 1, (count, 1, 1))
    targets = rng.normal(size=(count, *definition.output_shape)) * 2
    if loss.name == "sparse_categorical_crossentropy":
        targets = rng.integers(0, definition.output_shape[0], count)
    elif loss.name == "binary_crossentropy":
        targets = (targets > 0) * 1.0
    weights = rng.normal(size=definition.count) * 0.7
    found = clipped_sum(definition, loss, weights, rows, targets, bound)
    wanted = sum_by_rows(definition, loss, weights, rows, targets, bound)
    assert found.norms == pytest.approx(wanted.norms, rel=1e-9, abs=1e-12)
    assert found.gradient == pytest.approx(wanted.gradient, rel=1e-9, abs=1e-11)
    assert found.loss == pytest.approx(wanted.loss)
    if np.isinf(bound):
        whole = differentiate(definition, loss, weights, rows, targets).gradient
        assert found.gradient / count == pytest.approx(whole, rel=1e-9, abs=1e-11)


def test_a_model_that_mixes_rows_has_no_gradients_of_rows() -> None:
    model = define(dense(4), layer("BatchNormalization"), dense(1))
    assert not model.has_row_gradients
    assert define(dense(4), layer("LayerNormalization"), dense(1)).has_row_gradients
    with pytest.raises(ModelError, match="BatchNormalization mixes the rows"):
        clipped_sum(model, Loss("mean_squared_error"), np.zeros(model.count), np.zeros((2, 5)), np.zeros((2, 1)), 1.0)


def test_the_loop_that_the_race_compares_with_takes_the_same_step() -> None:
    task, rng = manifest(), np.random.default_rng(3)
    part = Part(rng.normal(size=(64, 27)).astype(np.float32), rng.integers(0, 2, 64))
    learner, net = learner_of(task, part), Net(27, seed=0)
    learner.load(net.weights)
    rows, targets = part.x, targets_of(part)
    assert learner.step(rows, targets) == pytest.approx(net.step(rows, targets))
    assert np.abs(learner.weights() - net.weights).max() < 1e-6
