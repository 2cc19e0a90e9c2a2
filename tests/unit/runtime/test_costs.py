"""What a definition costs is reckoned from it, before any of it is spent."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import tiny_manifest

from learnae.errors import ConfigurationError
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_model import predict
from learnae.runtime.costs import (
    STEP_BYTES,
    Costs,
    check_room,
    check_trainable,
    followed,
    measured_step,
    why_no_step,
)
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import PRESETS, dense_config, preset
from learnae.weights.codecs import codec_named

MIB = 1 << 20


def layered(*layers: tuple[str, dict[str, Any]], shape: tuple[int, ...] = (600, 6)) -> dict[str, Any]:
    kinds = [("InputLayer", {"batch_shape": [None, *shape]}), *layers]
    return {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [{"class_name": kind, "config": config} for kind, config in kinds]},
    }


def hungry(batch: int = 32) -> Manifest:
    """Ask 5 GB for the values of a step, in 10 kB: few parameters, and a wide layer 200 times over."""
    wide = [("Activation", {"activation": "tanh"})] * 200
    config = layered(
        ("Conv1D", {"filters": 16384, "kernel_size": [1]}), *wide,
        ("GlobalAveragePooling1D", {}), ("Dense", {"units": 2, "activation": "softmax"}),
    )  # fmt: skip
    loss = "sparse_categorical_crossentropy"
    return Manifest("hungry", config, loss, training=TrainingPolicy(batch=batch))


def large() -> Manifest:
    """Have 2^27 parameters, and more."""
    config = dense_config(1 << 14, (1 << 13,), 1, "linear")
    return Manifest("large", config, "mean_squared_error", training=TrainingPolicy(batch=1))


def slow() -> Manifest:
    """Hold little, and multiply for minutes."""
    config = layered(
        ("Conv1D", {"filters": 512, "kernel_size": [64], "padding": "same"}), ("Flatten", {}),
        ("Dense", {"units": 1}), shape=(64, 512),
    )  # fmt: skip
    return Manifest("slow", config, "mean_squared_error", training=TrainingPolicy(batch=16))


def test_a_definition_of_ten_kilobytes_that_asks_for_gigabytes_is_not_trained_by_agents() -> None:
    manifest = hungry()
    assert len(manifest.to_bytes()) < 25_000
    assert Costs.of(manifest).step_bytes > 200 * 32 * 600 * 16384 * 4
    assert "agent's at most 256" in why_no_step(manifest, None, 0)
    assert "agent's at most 256" in why_no_step(hungry(batch=1), None, 0)
    assert measured_step(manifest) is None
    with pytest.raises(ConfigurationError, match="of which a step on 32 rows holds"):
        check_trainable(manifest, 64 << 10)


def test_nor_is_one_whose_step_takes_minutes() -> None:
    assert Costs.of(slow()).step_bytes < STEP_BYTES
    assert "multiplications, an agent's at most 1e+10" in why_no_step(slow(), None, 0)


def test_parameters_alone_keep_a_small_machine_out_and_fill_no_more_than_half_of_it() -> None:
    needed = 4 * 4 * large().model.count / MIB
    check_room(large(), needed)
    with pytest.raises(ConfigurationError, match=r"134,234,113 parameters: a member holds 2,048 MiB") as caught:
        check_room(large(), needed - 1)
    assert "more memory" in caught.value.remedy
    assert "training takes" in why_no_step(large(), 1000, 16)
    assert "resources.memory is 2000" in why_no_step(large(), 1000, 2000)
    assert followed(large(), 64, None) == 64
    assert followed(large(), 64, 4096) == 3
    assert followed(large(), 64, 10) == 1
    assert followed(tiny_manifest(), 64, 100) == 64


def test_a_trainer_is_warned_where_training_takes_most_of_the_memory() -> None:
    assert check_trainable(tiny_manifest(), 1.0) == ""
    needed = (6 * 4 * large().model.count + Costs.of(large()).step_bytes) / MIB
    assert check_trainable(large(), None) == check_trainable(large(), 2.01 * needed) == ""
    assert "training swarm 'large' takes" in check_trainable(large(), 1.5 * needed)
    with pytest.raises(ConfigurationError):
        check_trainable(large(), 0.99 * needed)


def test_momentum_of_merges_holds_two_vectors_more() -> None:
    plain = large()
    with_some = replace(plain, merge=replace(plain.merge, momentum=0.3))
    more = Costs.of(with_some).learning_bytes - Costs.of(plain).learning_bytes
    assert more == 2 * 4 * plain.model.count


@pytest.mark.parametrize("name", PRESETS)
def test_presets_cost_little_and_are_measured(name: str) -> None:
    manifest = preset(name, 0)
    costs, codec = Costs.of(manifest), codec_named(manifest.codec.delta)
    assert why_no_step(manifest, 100, 16) == check_trainable(manifest, 100) == ""
    assert costs.update_bytes == pytest.approx(codec.size(manifest.model.count), abs=800)
    assert 0 < (measured_step(manifest) or 0) < 10


EVERY = layered(
    ("Conv1D", {"filters": 8, "kernel_size": [5], "activation": "relu"}),
    ("MaxPooling1D", {"pool_size": [2]}),
    ("BatchNormalization", {}),
    ("Dropout", {"rate": 0.5}),
    ("LayerNormalization", {}),
    ("Reshape", {"target_shape": [-1, 4]}),
    ("GlobalAveragePooling1D", {}),
    ("Flatten", {}),
    ("Dense", {"units": 3, "activation": "softmax"}),
    shape=(40, 6),
)


def test_what_a_layer_holds_is_what_numpy_remembers_of_it_and_its_shape_is_that_of_its_output() -> None:
    model, rng = ModelDefinition.from_config(EVERY), np.random.default_rng(0)
    value, arrays, shape = rng.normal(size=(7, *model.input_shape)).astype(np.float32), model.split(model.initial(0)), (
        model.input_shape
    )  # fmt: skip
    for layer, own in zip(model.layers, arrays, strict=True):
        cost = layer.cost(shape)
        value, memory = layer.forward(own, value, True, rng)
        shape = cost.shape
        assert shape == value.shape[1:], layer
        kept = memory if isinstance(memory, tuple) else (memory,)
        new = sum(part.size for part in kept if isinstance(part, np.ndarray) and part.ndim > 1) / 7
        assert new <= 2 * max(cost.values, np.prod(shape)), layer


def test_rows_are_computed_so_many_at_once_as_memory_is_bounded_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelDefinition.from_config(EVERY)
    rows = np.random.default_rng(1).normal(size=(50, *model.input_shape)).astype(np.float32)
    whole = predict(model, model.initial(0), rows)
    assert model.rows_at_once(1024) == 1024
    monkeypatch.setattr("learnae.models.definition._MOST_VALUES", 7 * model.row_values)
    assert (model.rows_at_once(1024), model.rows_at_once(3)) == (7, 3)
    assert np.allclose(predict(model, model.initial(0), rows), whole, atol=1e-6)
