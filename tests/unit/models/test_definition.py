"""What a model's definition is read from, what is refused, and what its weights start from."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_configs import define, dense, layer, sequential
from trees import TREES

from learnae.errors import ModelError
from learnae.models.definition import MAX_LAYERS, ModelDefinition
from learnae.models.layers import Activation, Dense, Dropout, Flatten
from learnae.models.outline import MAX_PARAMETERS

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
        ([dense(3, kernel_initializer="Zeros"), dense(2)], "nothing learns"),
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


def test_a_linear_model_may_start_from_zeros() -> None:
    assert not define(dense(3, kernel_initializer="Zeros")).initial(1).any()


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
