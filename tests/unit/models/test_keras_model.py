"""Models that only Keras can build: what is let through, what a manifest must say of them, and that they learn."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_configs import define, layer, sequential

from learnae.cli.commands.swarm.model_file import read_model
from learnae.errors import ConfigurationError, ModelError
from learnae.models.dataset import Dataset
from learnae.models.keras_model import build_model, flat, import_keras, moments_of, outline_of, set_flat
from learnae.models.layers.normalisation import MOVING_MEAN, MOVING_VARIANCE
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.outline import Outline
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest, TrainingPolicy
from trainer_node.config import TrainerTrainSection
from trainer_node.learning.jax_learner import JaxLearner
from trainer_node.wiring import build_learner

pytestmark = pytest.mark.modules("keras", "jax")
POLICY = OptimiserPolicy("adam", 0.02)


def residual(final: str = "softmax") -> Any:
    """Two ways through a recurrent network: neither Sequential nor of whitelisted layers."""
    keras = import_keras()
    layers = keras.layers
    begin = keras.Input((12, 2))
    seen = layers.Bidirectional(layers.LSTM(6))(begin)
    beside = layers.Dense(12, activation="relu")(layers.GlobalAveragePooling1D()(begin))
    joined = layers.Dropout(0.1)(layers.Add()([seen, beside]))
    return keras.Model(begin, layers.Dense(3, activation=final)(joined))


def config_of(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(model.to_json())
    return found


def swarm_of(model: Any, **changes: Any) -> Manifest:
    settings: dict[str, Any] = {
        "name": "free",
        "config": config_of(model),
        "loss": "sparse_categorical_crossentropy",
        "training": TrainingPolicy(40, 16),
        "optimiser": POLICY,
        "outline": outline_of(model),
        "start": start_links(start_blocks(flat(model.get_weights()))),
    }
    return Manifest(**{**settings, **changes})


def waves(manifest: Manifest, count: int = 240) -> Dataset:
    """Sines of three frequencies."""
    rng = np.random.default_rng(4)
    labels = np.arange(count) % 3
    phase = np.arange(12) * (0.3 + 0.5 * labels[:, None]) + rng.uniform(0, 6, (count, 1))
    rows = np.stack([np.sin(phase), np.cos(phase)], axis=2) + rng.normal(size=(count, 12, 2)) / 10
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows[60:], labels[60:])
    data.add(rows[:60], labels[:60], holdout=True)
    return data


def test_a_functional_model_learns_and_starts_where_it_is_told() -> None:
    model = residual()
    manifest = Manifest.from_bytes(swarm_of(model).to_bytes())
    learner, facts = build_learner(TrainerTrainSection(), manifest, waves(manifest))
    assert facts["engine"] == "jax"
    start = flat(model.get_weights())
    learner.load(start)
    np.testing.assert_array_equal(learner.weights(), start)
    before = learner.evaluate(start)
    for _ in range(4):
        learner.train(40)
    after = learner.evaluate(learner.weights())
    assert before is not None
    assert after is not None
    assert after.accuracy is not None
    assert after.accuracy > 0.9
    assert after.loss < before.loss / 2


def test_a_vector_is_the_weights_in_keras_order() -> None:
    model = residual()
    vector = np.arange(model.count_params(), dtype=np.float32)
    set_flat(model, vector)
    np.testing.assert_array_equal(flat(model.get_weights()), vector)
    learner = JaxLearner.for_manifest(swarm_of(model), waves(swarm_of(model)), np.random.default_rng(0))
    learner.load(vector)
    np.testing.assert_array_equal(learner.weights(), vector)


def test_mixed_precision_reaches_into_a_functional_model() -> None:
    built = build_model(config_of(residual()), "mixed_bfloat16")
    types = {layer.name: layer.compute_dtype for layer in built.layers}
    last = built.outputs[0]._keras_history.operation.name
    assert types[last] == "float32"
    assert "bfloat16" in set(types.values())
    assert {str(weight.dtype) for weight in built.weights} == {"float32"}


def test_the_numpy_engine_refuses_it_by_name() -> None:
    manifest = swarm_of(residual())
    with pytest.raises(ModelError, match=r"only Keras can train .*'Functional'"):
        build_learner(TrainerTrainSection(engine="numpy"), manifest, waves(manifest))


def test_an_outline_is_what_keras_sees() -> None:
    assert outline_of(residual("softmax")) == Outline((12, 2), (3,), 507, "softmax")
    keras = import_keras()
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Softmax()])
    assert outline_of(plain) == Outline((5,), (4,), 24, "softmax")
    recurrent = keras.Sequential([keras.Input((5, 1)), keras.layers.GRU(4, return_sequences=True)])
    assert outline_of(recurrent).final_activation == "tanh"


@pytest.mark.parametrize(
    "changes",
    [{"input_shape": (12, 3)}, {"output_shape": (4,)}, {"final_activation": "linear"}, {"count": 508}],
)
def test_a_manifest_that_lies_about_its_model_is_not_trained(changes: dict[str, Any]) -> None:
    model = residual()
    told = {name: getattr(outline_of(model), name) for name in Outline.__dataclass_fields__} | changes
    loss = "mean_squared_error" if "final_activation" in changes else "sparse_categorical_crossentropy"
    manifest = swarm_of(model, outline=Outline(**told), loss=loss)
    with pytest.raises(ModelError, match="Keras"):
        JaxLearner.for_manifest(manifest, Dataset(manifest.model, manifest.objective), np.random.default_rng(0))


def test_the_loss_must_fit_what_the_model_ends_with() -> None:
    with pytest.raises(ModelError, match="linear"):
        swarm_of(residual("linear"))


def test_moving_statistics_are_found_wherever_keras_puts_them() -> None:
    keras = import_keras()
    begin = keras.Input((4, 3))
    inner = keras.layers.TimeDistributed(keras.layers.BatchNormalization(scale=False))(begin)
    joined = keras.layers.Add()([keras.layers.BatchNormalization()(inner), begin])
    model = keras.Model(begin, keras.layers.Dense(1)(keras.layers.Flatten()(joined)))
    set_flat(model, np.arange(model.count_params(), dtype=np.float32))
    named = {weight.path: np.asarray(weight.value).tolist() for weight in model.weights}
    for found, name in ((moments_of(model).means, MOVING_MEAN), (moments_of(model).variances, MOVING_VARIANCE)):
        assert found.tolist() == [place for path in named if path.endswith(name) for place in named[path]]
        assert len(found) == 6
    plain = define(layer("BatchNormalization"), layer("Dense", units=2), layer("BatchNormalization", center=False))
    assert plain.moments.means.tolist() == [*range(8, 12), *range(28, 30)]
    assert plain.moments.variances.tolist() == [*range(12, 16), *range(30, 32)]


# -- what another peer's configuration may name


def test_what_keras_writes_is_built() -> None:
    keras = import_keras()
    model = keras.Sequential([
        keras.Input((20, 3)),
        keras.layers.Conv1D(4, 3, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.Bidirectional(keras.layers.GRU(5)),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    built = build_model({"class_name": "Sequential", "config": keras.saving.serialize_keras_object(model)["config"]})
    assert [array.shape for array in built.get_weights()] == [array.shape for array in model.get_weights()]


def layer_of(config: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(layer for layer in config["config"]["layers"] if layer["class_name"] == kind)
    return found


with_layer = partial(sequential, shape=(6,))


def refused_layer(kind: str, **settings: Any) -> dict[str, Any]:
    return with_layer({"module": "keras.layers", **layer(kind, **settings)})


def deep(config: dict[str, Any], *path: Any) -> Any:
    for key in path:
        config = config[key]
    return config


EVIL = {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"}
NESTED: dict[str, Any] = {}
for _ in range(100):
    NESTED = {"config": NESTED}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (refused_layer("StringLookup", vocabulary="/etc/passwd"), "StringLookup is not allowed"),
        (refused_layer("TextVectorization", vocabulary="/etc/passwd"), "TextVectorization is not allowed"),
        (refused_layer("Lambda", function="code"), "Lambda is not allowed"),
        (refused_layer("Dense", units=1 << 40), "parameters"),
        (refused_layer("Dense", units=-1), "Keras cannot build"),
        (refused_layer("Dense", units="many"), "Keras cannot build"),
        (refused_layer("Dense", units=1, activation=EVIL), "builtins.function is not allowed"),
        (refused_layer("Dense", units=1, activation={**EVIL, "module": "keras.utils"}), "keras.utils.function is not"),
        (refused_layer("TFSMLayer", filepath="/tmp"), "TFSMLayer is not allowed"),
        (refused_layer("NoSuchLayer"), "Keras has no layer"),
        (with_layer({"module": "os", "class_name": "system", "config": {}}), "os.system is not allowed"),
        (with_layer({"module": "keras.utils", "class_name": "get_file", "config": {}}), "get_file is not allowed"),
        (with_layer(EVIL), "builtins.function is not allowed"),
        (with_layer({"module": "keras", "class_name": "Model", "config": {}}), "keras.Model is not allowed"),
        (with_layer({"class_name": "Dense", "registered_name": "p>Dense", "config": {}}), "Dense is not allowed"),
        (with_layer({"class_name": "Dense"}), "it must be a map"),
        (with_layer("Dense"), "it must be a map"),
        (with_layer(NESTED), "nests too deep"),
        (refused_layer("LSTM", units=2, stateful=True), "stateful"),
        (refused_layer("TimeDistributed", layer={"class_name": "Lambda", "config": {}}), "Lambda"),
        ({"module": "keras.src.models.functional", "class_name": "Sequential", "config": {"layers": []}}, "allowed"),
        ({"module": "os", "class_name": "Functional", "config": {}}, "os.Functional is not allowed"),
        ({"class_name": "Functional", "config": {"layers": [{"class_name": "InputLayer", "config": {}}]}}, "Keras"),
        ({"class_name": "Functional", "config": {}}, "with layers"),
        ({"class_name": "Model", "config": {"layers": [1]}}, "Keras has no"),
    ],
    ids=lambda value: str(value)[:100],
)  # fmt: skip
def test_what_is_not_keras_own_or_too_large_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_model(config)


def test_code_deep_inside_a_functional_model_is_refused() -> None:
    for kind, inner in (("Dense", ("config",)), ("Bidirectional", ("config", "layer", "config"))):
        config = config_of(residual())
        deep(layer_of(config, kind), *inner).update(activation=EVIL)
        with pytest.raises(ModelError, match="is not allowed"):
            build_model(config)
    config = config_of(residual())
    layer_of(config, "Bidirectional").update(registered_name="mine>Bidirectional")
    with pytest.raises(ModelError, match="is not allowed"):
        build_model(config)


def test_a_model_of_a_trillion_weights_costs_no_memory() -> None:
    config = refused_layer("Dense", units=1 << 20)
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 1 << 20]
    with pytest.raises(ModelError, match="a model of 1099512676352 parameters"):
        build_model(config)


@pytest.mark.parametrize("is_inner", [False, True])
def test_a_deep_model_is_built_once_and_not_anew_with_each_layer(
    monkeypatch: pytest.MonkeyPatch, is_inner: bool
) -> None:
    keras = import_keras()
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, activation="gelu") for _ in range(30))])
    if is_inner:
        begin = keras.Input((4,))
        model = keras.Model(begin, model(begin))
    config, built = config_of(model), []
    build = keras.Sequential.build

    def counted(self: Any, *arguments: Any) -> Any:
        built.append(self)
        return build(self, *arguments)

    monkeypatch.setattr(keras.Sequential, "build", counted)
    again = build_model(config)
    assert 2 <= len(built) <= 4, "to count its weights, and to have them"
    assert [weight.path.split("/")[-2:] for weight in again.weights] == [
        weight.path.split("/")[-2:] for weight in model.weights
    ]
    again.set_weights(model.get_weights())
    rows = np.random.default_rng(5).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(again.predict(rows, verbose=0), model.predict(rows, verbose=0))


def test_rows_have_one_input_and_known_sizes() -> None:
    keras = import_keras()
    one, two = keras.Input((2,)), keras.Input((2,))
    both = keras.Model([one, two], keras.layers.Dense(1)(keras.layers.Concatenate()([one, two])))
    with pytest.raises(ModelError, match="2 inputs"):
        outline_of(both)
    endless = keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(3)])
    with pytest.raises(ModelError, match="every size"):
        outline_of(endless)


# -- files


def test_a_file_gives_configuration_outline_and_weights(tmp_path: Path) -> None:
    model = residual()
    model.save(tmp_path / "model.keras")
    (tmp_path / "model.json").write_text(model.to_json())
    saved, drawn = read_model(tmp_path / "model.keras"), read_model(tmp_path / "model.json")
    assert saved.weights is not None
    np.testing.assert_array_equal(saved.weights, flat(model.get_weights()))
    assert saved.outline == drawn.outline == outline_of(model)
    assert drawn.weights is not None
    assert drawn.weights.shape == saved.weights.shape
    assert not np.array_equal(drawn.weights, saved.weights)
    assert (saved.start, drawn.start) == ("the weights in the file", "weights as Keras draws them")


def test_a_whitelisted_model_starts_from_the_weights_in_its_file(tmp_path: Path) -> None:
    keras = import_keras()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
    model.save(tmp_path / "model.keras")
    found = read_model(tmp_path / "model.keras")
    assert found.outline is None
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, flat(model.get_weights()))


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    residual().save(path)
    data = bytearray(path.read_bytes())
    middle = data.find(b"model.weights.h5")
    data[middle + 100 : middle + 400] = bytes(300)
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"cannot read .*model\.keras"):
        read_model(path)


def test_a_variance_below_zero_is_written_as_zero() -> None:
    """Merging can give one; a program that reads an exported file would make NaN of it."""
    keras = import_keras()
    begin = keras.Input((3,))
    model = keras.Model(begin, keras.layers.BatchNormalization()(begin))
    gain, shift, mean = np.ones(3), np.zeros(3), np.zeros(3)
    set_flat(model, np.concatenate([gain, shift, mean, [-0.5, 0.0, 2.0]]).astype(np.float32))
    assert model.get_weights()[3].tolist() == [0.0, 0.0, 2.0]
    assert np.isfinite(model.predict(np.ones((1, 3)), verbose=0)).all()


def test_the_layer_that_keras_cannot_build_is_named() -> None:
    config = config_of(residual())
    layer_of(config, "Dense")["config"]["activation"] = "softmaxx"
    with pytest.raises(ModelError, match=r"^Keras cannot build the model, layer \d \(Dense\): .*softmaxx; use Keras'"):
        build_model(config)


def test_a_step_that_memory_has_no_room_for_is_refused_before_it_is_taken() -> None:
    keras = import_keras()
    wide = [keras.layers.Conv2D(256, 1), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((64, 64, 1)), *wide])
    manifest = swarm_of(model, loss="mean_squared_error", training=TrainingPolicy(batch=10**6))
    dataset = Dataset(manifest.model, manifest.objective)
    with pytest.raises(ConfigurationError, match=r"a step of swarm .* holds .* of memory are free"):
        JaxLearner.for_manifest(manifest, dataset, np.random.default_rng(0))
