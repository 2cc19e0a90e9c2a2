"""Layers of the reference: gradients, Keras' shapes and paddings, and what is refused."""

from functools import partial
from typing import Any

import keras_configs
import numpy as np
import pytest
from keras_configs import check_gradient, layer

from learnae.errors import ModelError
from learnae.models.layers import BatchNormalization, Conv1D, LayerNormalization, MaxPooling1D, Reshape, Sliding
from learnae.models.layers.normalisation import MAX_SHIFT, MAX_STRETCH
from learnae.models.losses import Loss, reconstruction_error
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_model import predict, train_step

define = partial(keras_configs.define, shape=(11, 3))


def conv(filters: int = 4, size: Any = 3, **config: Any) -> dict[str, Any]:
    return layer("Conv1D", filters=filters, kernel_size=size, **config)


DENSE, FLATTEN, AVERAGE = layer("Dense", units=2), layer("Flatten"), layer("GlobalAveragePooling1D")
NORM = layer("BatchNormalization", momentum=0.0)  # else the gradient is none of a function
MODELS = {
    "valid": [conv(), FLATTEN, DENSE],
    "same": [conv(padding="same", size=4, activation="tanh"), FLATTEN, DENSE],
    "stride": [conv(strides=2, use_bias=False), AVERAGE, DENSE],
    "same stride": [conv(strides=[2], size=[4], padding="same"), conv(size=2), FLATTEN, DENSE],
    "pool": [conv(), layer("MaxPooling1D", pool_size=2), FLATTEN, DENSE],
    "pool overlap": [conv(), layer("MaxPooling1D", pool_size=[3], strides=[1], padding="same"), AVERAGE, DENSE],
    "pool gaps": [layer("MaxPooling1D", pool_size=2, strides=4, padding="same"), conv(size=1), FLATTEN, DENSE],
    "batch norm": [FLATTEN, layer("Dense", units=5), NORM, layer("Activation", activation="tanh"), DENSE],
    "batch norm conv": [conv(), layer("BatchNormalization", scale=False, momentum=0.0), AVERAGE, DENSE],
    "batch norm first": [layer("BatchNormalization", center=False, momentum=0.0), conv(), AVERAGE, DENSE],
    "layer norm": [conv(), layer("LayerNormalization"), AVERAGE, DENSE],
    "layer norm plain": [FLATTEN, layer("LayerNormalization", scale=False, center=False, axis=[1]), DENSE],
    "reshape": [layer("Reshape", target_shape=[3, -1]), conv(size=2), FLATTEN, DENSE],
    "sequence out": [conv(padding="same"), conv(2, 1)],
}


@pytest.mark.parametrize("loss", ["mean_squared_error", "huber"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_numerical_differentiation(name: str, loss: str) -> None:
    check_gradient(define(*MODELS[name]), loss)


def test_a_convolution_by_hand() -> None:
    model = define(conv(1, 2, strides=2, padding="same"), shape=(3, 1))
    # windows of "same" with stride 2 over 3 positions: (0, 1), (2, padding)
    weights, rows = np.array([10.0, 1.0, 0.5]), np.array([[[1.0], [2.0], [3.0]]])
    assert predict(model, weights, rows).tolist() == [[[12.5], [30.5]]]


@pytest.mark.parametrize(
    ("sliding", "count", "left", "right"),
    [
        (Sliding(10, 3, 1, "valid"), 8, 0, 0),
        (Sliding(10, 3, 2, "valid"), 4, 0, 0),
        (Sliding(10, 4, 1, "same"), 10, 1, 2),
        (Sliding(10, 3, 2, "same"), 5, 0, 1),
        (Sliding(11, 5, 2, "same"), 6, 2, 2),
        (Sliding(10, 1, 2, "same"), 5, 0, 0),
        (Sliding(4, 4, 1, "valid"), 1, 0, 0),
    ],
)
def test_padding_is_that_of_keras(sliding: Sliding, count: int, left: int, right: int) -> None:
    assert (sliding.count, sliding.left, sliding.right) == (count, left, right)


def test_cutting_and_joining_are_adjoint() -> None:
    rng = np.random.default_rng(0)
    for sliding in (Sliding(10, 4, 1, "same"), Sliding(11, 3, 2, "same"), Sliding(11, 2, 4, "valid")):
        value = rng.normal(size=(2, sliding.length, 3))
        windows = sliding.cut(value, 0.0)
        other = rng.normal(size=windows.shape)
        assert (windows * other).sum() == pytest.approx((value * sliding.join(other)).sum())


def test_of_equal_values_the_first_trains() -> None:
    pool = MaxPooling1D(Sliding(4, 2, 2, "valid"))
    output, memory = pool.forward([], np.ones((1, 4, 1)), True, None)
    assert output.tolist() == [[[1.0], [1.0]]]
    assert pool.backward([], memory, output).reshape(-1).tolist() == [1, 0, 1, 0]


def test_padding_is_never_the_greatest_value() -> None:
    model = define(layer("MaxPooling1D", pool_size=3, strides=1, padding="same"), conv(1, 1), shape=(3, 1))
    rows = -np.ones((1, 3, 1))
    assert predict(model, np.array([1.0, 0.0]), rows).tolist() == rows.tolist()


def test_normalised_values_have_mean_0_and_deviation_1_in_training() -> None:
    rows = np.random.default_rng(0).normal(3, 5, size=(50, 4))
    norm = BatchNormalization(4, 1e-9, True, True, 0.0)
    arrays = [np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)]
    output, _ = norm.forward(arrays, rows, True, None)
    assert (output.mean(axis=0), output.std(axis=0)) == (
        pytest.approx(np.zeros(4), abs=1e-9),
        pytest.approx(np.ones(4)),
    )
    assert norm.forward(arrays, rows, False, None)[0] == pytest.approx(rows)  # the moving statistics
    rowwise, _ = LayerNormalization(4, 1e-9, False, False).forward([], rows, False, None)
    assert rowwise.mean(axis=1) == pytest.approx(np.zeros(50), abs=1e-9)


def test_moving_statistics_follow_the_batches_and_nothing_else_moves_them() -> None:
    model = define(layer("BatchNormalization", momentum=0.75), layer("Dense", units=1), shape=(2,))
    names = [name for one in model.layers for name in one.names]
    assert names == ["gamma", "beta", "moving_mean", "moving_variance", "kernel", "bias"]
    weights = model.initial(0).astype(np.float64)
    rows = np.random.default_rng(0).normal(2, 3, size=(20, 2))
    policy = OptimiserPolicy("adam", 0.1)
    for step in range(1, 4):
        train_step(model, Loss("huber"), Optimiser(policy, model.count, np.float64), weights, rows, np.zeros((20, 1)))
        _, _, mean, variance = model.split(weights)[0]
        share = 0.75**step
        assert mean == pytest.approx((1 - share) * rows.mean(axis=0))
        apart = share * (1 - share) * rows.mean(axis=0) ** 2  # of the mixture of the start and the rows
        assert variance == pytest.approx(share + (1 - share) * rows.var(axis=0) + apart)


def test_training_normalises_as_inference_will_with_what_it_leaves() -> None:
    rng = np.random.default_rng(0)
    norm, rows = BatchNormalization(3, 1e-3, True, True, 0.9), rng.normal([1, -2, 0], [0.2, 1, 2], size=(20, 3))
    arrays = [rng.normal(size=3), rng.normal(size=3), np.array([1.5, 0.0, 0.3]), np.array([0.5, 2.0, 1.0])]
    output, memory = norm.forward(arrays, rows, True, None)
    moves = [np.zeros(3) for _ in arrays]
    norm.moved(arrays, moves, memory)
    after = [array + move for array, move in zip(arrays, moves, strict=True)]
    assert output == pytest.approx(norm.forward(after, rows, False, None)[0])


def test_rows_far_from_the_moving_statistics_stay_within_limits_in_training() -> None:
    norm, rows = BatchNormalization(2, 1e-3, False, False, 0.99), np.array([[1000.0, -100.0], [1100.0, 100.0]])
    output, _ = norm.forward([np.zeros(2), np.ones(2)], rows, True, None)
    assert output.mean(axis=0) == pytest.approx([MAX_SHIFT, 0])
    assert output[:, 1] == pytest.approx([-MAX_STRETCH, MAX_STRETCH])


def test_a_moving_variance_below_zero_counts_as_zero() -> None:
    norm = BatchNormalization(1, 0.25, False, False, 0.9)
    output, _ = norm.forward([np.zeros(1), -np.ones(1)], np.ones((1, 1)), False, None)
    assert output.tolist() == [[2.0]]


def test_all_arrays_start_as_in_keras() -> None:
    model = define(conv(6, 5, kernel_initializer="HeUniform"), NORM, AVERAGE, DENSE)
    kernel, bias = model.split(model.initial(3))[0]
    assert np.abs(kernel).max() <= (6 / 15) ** 0.5
    assert np.abs(kernel).max() > 0.9 * (6 / 15) ** 0.5
    assert bias.tolist() == [0.0] * 6
    assert [array.tolist() for array in model.split(model.initial(3))[1]] == [
        [1.0] * 6,
        [0.0] * 6,
        [0.0] * 6,
        [1.0] * 6,
    ]


def test_shapes_follow_the_layers() -> None:
    model = define(conv(strides=2, padding="same"), layer("Reshape", target_shape=[-1, 8]))
    assert (model.output_shape, model.layers[1]) == ((3, 8), Reshape((3, 8)))
    (first,) = define(conv(5, [3])).layers
    assert isinstance(first, Conv1D)
    assert first.shapes == ((3, 3, 5), (5,))


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ([conv(padding="causal")], "padding"),
        ([conv(strides=3)], "strides"),
        ([conv(size=12)], "window of 12 over 11"),
        ([conv(size=[3, 3])], "kernel_size"),
        ([conv(size=0)], "kernel_size"),
        ([layer("Conv1D", filters=3)], "kernel_size"),
        ([conv(dilation_rate=2)], "dilation_rate"),
        ([conv(dilation_rate=[2])], "dilation_rate"),
        ([conv(groups=3)], "groups"),
        ([conv(data_format="channels_first")], "data_format"),
        ([conv(activation="gelu")], "activation"),
        ([conv(kernel_regularizer={"class_name": "L2"})], "kernel_regularizer"),
        ([conv(bias_initializer="Ones")], "bias_initializer"),
        ([conv(trainable=False)], "trainable"),
        ([conv(dtype="float64")], "float64"),
        ([conv(dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}})], "mixed_float16"),
        ([FLATTEN, conv()], "Conv1D on a shape of (33,)"),
        ([layer("MaxPooling1D", pool_size=20)], "window of 20"),
        ([FLATTEN, layer("MaxPooling1D")], "MaxPooling1D on a shape"),
        ([layer("GlobalAveragePooling1D", keepdims=True)], "keepdims"),
        ([FLATTEN, AVERAGE], "GlobalAveragePooling1D on a shape"),
        ([layer("Reshape", target_shape=[5, 7])], "33 values"),
        ([layer("Reshape", target_shape=[-1, -1])], "target_shape"),
        ([layer("Reshape", target_shape=[-1, 2])], "target_shape"),
        ([layer("Reshape", target_shape=[0])], "target_shape"),
        ([layer("Reshape", target_shape=33)], "target_shape"),
        ([layer("BatchNormalization", axis=1)], "axis"),
        ([layer("BatchNormalization", momentum=1.5)], "momentum"),
        ([layer("BatchNormalization", epsilon=0)], "epsilon"),
        ([layer("BatchNormalization", gamma_initializer="Zeros")], "gamma_initializer"),
        ([layer("BatchNormalization", synchronized=True)], "synchronized"),
        ([layer("LayerNormalization", axis=[1, 2])], "axis"),
        ([layer("LayerNormalization", rms_scaling=True)], "rms_scaling"),
        ([layer("LayerNormalization", beta_constraint={})], "beta_constraint"),
        ([layer("Dropout", rate=0.5, noise_shape=[1])], "noise_shape"),
        ([layer("LSTM", units=3)], "LSTM"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_supported_is_refused_by_name_with_a_remedy(layers: list[Any], named: str) -> None:
    with pytest.raises(ModelError) as caught:
        define(*layers)
    assert named in str(caught.value)
    assert caught.value.remedy or "no field" in caught.value.problem


def test_few_parameters_cannot_ask_for_much_memory() -> None:
    with pytest.raises(ModelError, match="convolution of more than"):
        define(conv(64, 1), shape=(1 << 20, 1))
    with pytest.raises(ModelError, match="convolution of more than"):
        define(conv(1, 1 << 10, padding="same"), shape=(1 << 16, 1))
    with pytest.raises(ModelError, match="pooling over more than"):
        define(layer("MaxPooling1D", pool_size=1 << 10, strides=1), shape=(1 << 16, 1))


def test_classes_need_one_output_each() -> None:
    model = define(conv(activation="softmax"))
    with pytest.raises(ModelError, match=r"put Flatten or GlobalAveragePooling1D"):
        Loss.for_model("sparse_categorical_crossentropy", model)


def test_hubers_loss_by_hand() -> None:
    loss, prediction, target = Loss("huber"), np.array([[0.5, 3.0]]), np.zeros((1, 2))
    assert loss.value(prediction, target) == pytest.approx((0.125 + 2.5) / 2)
    assert loss.gradient(prediction, target).tolist() == [[0.25, 0.5]]
    assert not loss.is_classification


def test_the_anomaly_score_is_one_number_a_row() -> None:
    rows = np.zeros((2, 3, 2))
    output = rows.copy()
    output[1] += 2
    assert reconstruction_error(output, rows).tolist() == [0.0, 4.0]
