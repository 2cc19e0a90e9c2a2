"""Many weights at once give what each gives by itself."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.models.definition import ModelDefinition
from learnae.models.layers import Activation, Dense, Dropout, Layer, activate
from learnae.models.reference.numpy_model import predict
from learnae.models.reference.stacked import Stacked, is_stackable
from learnae.swarm.presets import dense_config, preset

FUNCTIONS = ("relu", "tanh", "sigmoid", "linear")


@st.composite
def chains(draw: st.DrawFn) -> ModelDefinition:
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    layers: list[Layer] = []
    for inputs, units in pairwise(widths):
        layers += [Dense(inputs, units, draw(st.booleans()), "GlorotUniform")]
        layers += [Activation(draw(st.sampled_from(FUNCTIONS)))] + [Dropout(0.5)] * draw(st.booleans())
    last = "softmax" if widths[-1] > 1 else "sigmoid"
    layers = [*(layers[:-1] if isinstance(layers[-1], Activation) else layers[:-2]), Activation(last)]
    count = sum(int(np.prod(shape)) for layer in layers for shape in layer.shapes)
    return ModelDefinition(widths[:1], widths[-1:], tuple(layers), count)


@given(chains(), st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_any_chain_of_dense_layers(model: ModelDefinition, weights: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    several = list(rng.normal(size=(weights, model.count)).astype(np.float32))
    entered = rng.normal(size=(rows, *model.input_shape)).astype(np.float32)
    assert is_stackable(model)
    sums = np.concatenate([part.copy() for part in Stacked(model, entered).final_sums(iter(several))])
    for one, vector in zip(sums, several, strict=True):
        expected = predict(model, vector, entered)
        assert activate(model.final_activation, one.T) == pytest.approx(expected, abs=1e-5)


def test_so_many_that_memory_is_bounded_go_one_part_after_another() -> None:
    model = ModelDefinition.from_config(dense_config(30, (64, 32), 7, "softmax"))
    several = [model.initial(seed) for seed in range(20)]
    parts = [part.copy() for part in Stacked(model, np.ones((256, 30), np.float32)).final_sums(several)]
    assert len(parts) > 2
    assert max(part.nbytes for part in parts) * (64 + 32 + 7) / 7 < 1 << 20
    assert sum(map(len, parts)) == 20


def test_other_models_are_none() -> None:
    assert not is_stackable(preset("wrist-cnn", 1).definition)
