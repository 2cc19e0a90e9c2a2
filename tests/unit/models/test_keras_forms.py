"""Configurations as versions of Keras write them: all forms of a model are one model, and none hides another."""

import copy
import json
from typing import Any

import pytest
from golden.keras_files import EXPECTED, files
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_configs import dense, layer, sequential
from trees import TREES

from learnae.errors import ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.graph import normalises_rows, token_count
from learnae.models.keras_forms import in_own_form
from learnae.models.keras_model import build_model, outline_of

Config = dict[str, Any]
FILES = [(version, name) for version, models in files().items() for name in models]


def read(given: object) -> ModelDefinition:
    return ModelDefinition.from_config(in_own_form(given))


def test_four_versions_are_kept() -> None:
    assert list(files()) == ["keras-2.15.0", "keras-3.0.5", "keras-3.10.0", "keras-3.4.1"]


@pytest.mark.parametrize(("version", "name"), [each for each in FILES if EXPECTED[each[1]][1]])
def test_agents_train_what_each_version_wrote(version: str, name: str) -> None:
    found = read(json.dumps(files()[version][name]))
    assert found.count == EXPECTED[name][0]
    assert found == read(files()["keras-3.10.0"][name])


@pytest.mark.modules("keras", "jax")
@pytest.mark.parametrize(("version", "name"), FILES)
def test_keras_builds_what_each_version_wrote(version: str, name: str) -> None:
    built = build_model(in_own_form(files()[version][name]))
    assert outline_of(built).count == EXPECTED[name][0]


# -- the forms of one model

PLAIN = sequential(
    dense(5, "relu", kernel_initializer="HeUniform", name="one"),
    layer("BatchNormalization", name="two", momentum=0.9),
    dense(3, "softmax", name="three"),
)
MODULES = st.sampled_from([
    "", "keras.layers", "keras.layers.core.dense", "keras.src.layers.core.dense", "tensorflow.keras.layers",
    "tf_keras.src.layers.core", "tensorflow.python.keras.layers",
])  # fmt: skip
TYPES = st.sampled_from([
    None, "float32", "mixed_float16", {"class_name": "Policy", "config": {"name": "mixed_float16"}},
    {"module": "keras.mixed_precision", "class_name": "Policy", "config": {"name": "float32"}, "registered_name": None},
    {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "bfloat16"}, "registered_name": None},
])  # fmt: skip
HE = st.sampled_from([
    "he_uniform", "HeUniform", {"class_name": "HeUniform", "config": {"seed": 3, "dtype": "float32"}},
    {"module": "keras.initializers", "class_name": "HeUniform", "config": {"seed": None}, "registered_name": None},
    {"class_name": "VarianceScaling", "config": {"scale": 2, "mode": "fan_in", "distribution": "uniform", "seed": 1}},
])  # fmt: skip
RELU = st.sampled_from([
    "relu", {"module": "keras.activations", "class_name": "function", "config": "relu", "registered_name": "relu"},
    {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"},
])  # fmt: skip


@st.composite
def forms(draw: st.DrawFn) -> Any:
    """PLAIN, as some version of Keras or tf.keras would write it."""
    model = copy.deepcopy(PLAIN)
    first, one, two, _ = layers = model["config"]["layers"]
    for each in layers:
        if module := draw(MODULES):
            each.update(module=module, registered_name=None)
        if kind := draw(TYPES):
            each["config"]["dtype"] = kind
        each["build_config"] = {"input_shape": [None, 4]}
    one["config"].update(
        activation=draw(RELU), kernel_initializer=draw(HE), bias_initializer=draw(st.sampled_from(["zeros", "Zeros"]))
    )
    two["class_name"] = draw(st.sampled_from(["BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"]))
    two["config"].update(
        draw(st.sampled_from([{}, {"axis": [1]}, {"axis": -1, "renorm": False, "virtual_batch_size": None}]))
    )
    shape = first["config"].pop("batch_shape")
    old = draw(st.sampled_from(["batch_input_shape", "batch_shape"]))
    first["config"].update({old: shape, "sparse": False, "ragged": False, "name": "in"})
    form = draw(st.sampled_from(["sequential", "list", "first layer", "both", "functional", "Model"]))
    if form in ("first layer", "both"):
        one["config"][old] = shape
    if form == "first layer":
        layers.remove(first)
    if form == "list":
        model["config"] = layers
    if form in ("functional", "Model"):
        model = draw(functional(layers, "Model" if form == "Model" else "Functional"))
    model.update(
        draw(st.sampled_from([{}, {"keras_version": "2.9.0", "backend": "tensorflow"}, {"compile_config": {}}]))
    )
    for _ in range(draw(st.integers(0, 2))):
        model = json.dumps(model)
    return model


@st.composite
def functional(draw: st.DrawFn, layers: list[Config], kind: str) -> Config:
    """The chain of ``layers`` as a graph, in the form of Keras 2 or 3, and in any order."""
    is_new = draw(st.booleans())
    for index, each in enumerate(layers):
        each["name"] = each["config"]["name"]
        before = layers[index - 1]["config"]["name"]
        history = {"shape": [None, 4], "dtype": "float32", "keras_history": [before, 0, 0]}
        new = {"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {"training": None}}
        each["inbound_nodes"] = [] if index == 0 else [new] if is_new else [[[before, 0, 0, {}]]]
    ends = {"input_layers": ["in", 0, 0], "output_layers": ["three", 0, 0]} if is_new and draw(st.booleans()) else {
        "input_layers": [["in", 0, 0]], "output_layers": [["three", 0, 0]]}  # fmt: skip
    module = draw(st.sampled_from(["keras.src.models.functional", "keras.src.engine.functional", None]))
    config = {"name": "model", "trainable": True, "layers": draw(st.permutations(layers)), **ends}
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


@settings(max_examples=150)
@given(forms())
def test_all_forms_of_a_model_are_one_model(form: object) -> None:
    assert read(form) == ModelDefinition.from_config(PLAIN)


FOREIGN = st.sampled_from([
    {"registered_name": "Custom>Dense"}, {"module": "my.layers"}, {"module": "kerasy.layers"},
    {"module": "my.layers", "registered_name": "Custom>Dense"}, {"module": "keras.utils"}, {"registered_name": 1},
    {"module": "keras.layers", "registered_name": "p>Dense"}, {"module": ["keras.layers"]},
])  # fmt: skip
PLACES = [("config", "layers", 1), ("config", "layers", 1, "config", "kernel_initializer"), ("config", "layers", 0), ()]


@given(FOREIGN, st.sampled_from(PLACES), st.booleans())
def test_what_is_not_keras_own_is_never_taken_for_it(foreign: Config, place: tuple[Any, ...], is_wire: bool) -> None:
    model = copy.deepcopy(PLAIN)
    model["config"]["layers"][1]["config"]["kernel_initializer"] = {"class_name": "HeUniform", "config": {}}
    part = model
    for step in place:
        part = part[step]
    part.update(foreign)
    with pytest.raises(ModelError, match="not Keras' own") as caught:
        (ModelDefinition.from_config if is_wire else in_own_form)(model)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (sequential(layer("LSTM", units=2, time_major=True, name="l")), r"layer 1 \(LSTM 'l'\).time_major True"),
        (sequential(dense(2, dtype="int8_from_float32")), r"layer 1 \(Dense\).dtype 'int8_from_float32'"),
        (sequential(dense(2, dtype={"module": "my", "class_name": "Policy"})), r"\(Dense\).dtype: my.Policy"),
        (sequential(layer("BatchNormalization", renorm=True)), r"\(BatchNormalization\).renorm True"),
        (sequential(dense(2, batch_input_shape=[None, 5])), r"layer 1.batch_shape \[None, 5\]"),
        (sequential(dense(2), dense(2, batch_input_shape=[None, 4])), "layer 2.batch_shape"),
        (sequential(dense(2, init="uniform", W_regularizer=None)), "options of Keras 1: W_regularizer, init"),
        (sequential(dense(2, name="a"), dense(2, name="a")), "several layers of the name 'a'"),
        (sequential(dense(2, batch_input_shape="4")), r"layer 1 \(Dense\).batch_input_shape '4'"),
        ({**sequential(dense(2, "hard_sigmoid")), "keras_version": "2.4.0"}, r"\(Dense\).activation hard_sigmoid"),
        (sequential(dense(2, {"class_name": "function", "module": "my", "config": "relu"})), "my.relu is not"),
        ({"class_name": "Sequential", "config": [{"class_name": "Dense"}]}, r"layer 0 \(Dense\).config is None"),
        ({"class_name": "Sequential", "config": {"layers": "x"}}, "list of 1 to"),
        ({"class_name": "MyModel", "config": {}}, "model class 'MyModel'"),
        ("no JSON", "no JSON"),
        ('"[1]"', "must be a map"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_layer_and_key(model: object, named: str) -> None:
    with pytest.raises(ModelError, match=named) as caught:
        in_own_form(model)
    assert caught.value.remedy


def test_an_option_that_is_not_known_is_refused() -> None:
    with pytest.raises(ModelError, match=r"layer 1\.config\.spectral True is not known of Dense"):
        read(sequential(dense(2, spectral=True)))
    assert read(sequential(dense(2, spectral=None))).count == 10


@settings(max_examples=150)
@given(
    st.sampled_from(
        ["class_name", "config", "module", "inbound_nodes", "dtype", "kernel_initializer", "activation", "axis"]
    ),
    TREES,
)
def test_anything_is_a_model_or_a_model_error(name: str, value: Any) -> None:
    for place in (("config", "layers", 1), ("config", "layers", 1, "config"), ("config",), ()):
        model = copy.deepcopy(PLAIN)
        model["class_name"] = "Functional" if name == "inbound_nodes" else "Sequential"
        part: Any = model
        for step in place:
            part = part[step]
        part[name] = value
        try:
            form = in_own_form(model)
            normalises_rows(form), token_count(form)
            ModelDefinition.from_config(form)
        except ModelError:
            pass
        normalises_rows(model), token_count(model)  # a manifest's is asked unchecked


def graph(*edges: tuple[str, str, str]) -> Config:
    """A functional model of (name, class, source)."""
    layers = [{"class_name": kind, "config": {"name": name, "input_dim": 7, "batch_shape": [None, 4]}, "name": name,
               "inbound_nodes": [[[source, 0, 0, {}]]] if source else []} for name, kind, source in edges]  # fmt: skip
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [[edges[-1][0], 0, 0]]}
    return {"class_name": "Functional", "config": {"layers": layers, **ends}}


def test_what_sees_the_rows_first_is_found_in_any_graph() -> None:
    embedding = layer("Embedding", input_dim=50, output_dim=4)
    assert token_count(sequential(embedding)) == 50
    assert (
        token_count(sequential(layer("Reshape", target_shape=[2, 2]), layer("TimeDistributed", layer=embedding))) == 50
    )
    assert token_count(sequential(dense(2), embedding)) is None
    assert token_count(graph(("e", "Embedding", "r"), ("r", "Reshape", "i"), ("i", "InputLayer", ""))) == 7
    assert token_count(graph(("i", "InputLayer", ""), ("d", "Dense", "i"), ("e", "Embedding", "d"))) is None
    assert normalises_rows(PLAIN) is False
    assert normalises_rows(sequential(sequential(layer("BatchNormalization")), dense(2)))
    both = [("i", "InputLayer", ""), ("b", "BatchNormalization", "i"), ("d", "Dense", "b")]
    assert normalises_rows(graph(*both))
    assert not normalises_rows(graph(*both, ("e", "Dense", "i")))
