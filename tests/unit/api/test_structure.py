"""Weights go in and come out in the caller's structure: shapes, types and order of any dict or list of arrays."""

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from learnae.api.structure import Structure
from learnae.errors import ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.outline import Outline
from learnae.models.parameters import ParameterList, config_of
from learnae.swarm.presets import dense_config

KINDS = (np.float16, np.float32, np.float64)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, max_side=3)
FINITE = st.floats(-1000, 1000, width=16)
FLOATS = st.sampled_from(KINDS).flatmap(lambda kind: arrays.arrays(kind, SHAPES, elements=FINITE))
LOCAL = st.sampled_from([np.int64, np.uint8, np.bool_]).flatmap(lambda kind: arrays.arrays(kind, SHAPES))
NAMES = st.text("abc._0", min_size=1, max_size=6)
DENSE = ModelDefinition.from_config(dense_config(3, (), 2, "softmax"))


def of_dict(given: dict[str, Any]) -> Structure:
    shapes = {name: array.shape for name, array in given.items() if array.dtype.kind == "f"}
    return Structure(ParameterList.from_config(config_of(shapes)))


def check_alike(made: Any, given: Any, more: float) -> None:
    assert (type(made), made.dtype, made.shape) == (np.ndarray, given.dtype, given.shape)
    wanted = given if given.dtype.kind != "f" else given.astype(np.float32) + np.float32(more)
    assert np.array_equal(made, wanted.astype(given.dtype))


@given(st.dictionaries(NAMES, FLOATS, min_size=1), st.dictionaries(NAMES, LOCAL), st.sampled_from([0.0, 0.5]))
def test_a_dict_comes_back_alike_and_integers_as_they_were(
    floats: dict[str, Any], local: dict[str, Any], more: float
) -> None:
    given = OrderedDict(sorted({**local, **floats}.items()))
    given._metadata = "as torch has it"  # type: ignore[attr-defined]
    structure = of_dict(given)
    vector, rebuild = structure.read(given)
    back = rebuild(vector + np.float32(more))
    assert (type(back), list(back), back._metadata) == (OrderedDict, list(given), "as torch has it")
    for name, array in given.items():
        check_alike(back[name], array, more)
    again, _ = structure.read(structure.natural(vector))
    assert np.array_equal(again, vector)


@given(st.lists(st.one_of(FLOATS, LOCAL), min_size=1).filter(lambda items: any(a.dtype.kind == "f" for a in items)))
def test_a_list_and_a_tuple_come_back_alike(items: list[Any]) -> None:
    structure = of_dict({str(index): item for index, item in enumerate(items)})
    for sequence in (list(items), tuple(items)):
        vector, rebuild = structure.read(sequence)
        back = rebuild(vector + np.float32(0.5))
        assert type(back) is type(sequence)
        for made, item in zip(back, sequence, strict=True):
            check_alike(made, item, 0.5)


def test_what_was_given_is_not_changed_and_what_comes_back_shares_no_memory() -> None:
    given = [np.ones((3, 2), np.float32), np.zeros(2, np.float32)]
    vector, rebuild = Structure(DENSE).read(given)
    vector += 1
    back = rebuild(vector)
    vector += 1
    assert [array.max() for array in (*given, *back)] == [1, 0, 2, 1]


def test_scalars_come_back_as_scalars() -> None:
    given = {"a": 0.5, "b": np.float32(1.5), "c": np.array(2.5, np.float64)}
    vector, rebuild = Structure(ParameterList.from_config(config_of(dict.fromkeys("abc", ())))).read(given)
    back = rebuild(vector + 1)
    assert (back, [type(value) for value in back.values()]) == (
        {"a": 1.5, "b": 2.5, "c": 3.5},
        [float, np.float32, np.ndarray],
    )


def test_float64_is_exchanged_as_float32_and_float16_is_held_within_what_it_can_hold() -> None:
    structure = Structure(DENSE)
    vector, rebuild = structure.read(np.full(8, 1 + 2.0**-40))
    assert (vector == 1).all()
    assert rebuild(vector).dtype == np.float64
    _, rebuild = structure.read(np.ones(8, np.float16))
    assert rebuild(np.full(8, 70_000, np.float32)).tolist() == [65504.0] * 8


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (np.ones(7), r"weights of shape \(7,\), float64; the model has 8 parameters"),
        (np.ones((8, 1)), "weights of shape"),
        (np.ones(8, np.int64), "of floats"),
        (np.full(8, np.nan), "not all of it are numbers"),
        (np.full(8, 1e39), "not all of it are numbers up to"),
        (np.full(8, -1.1e6), "not all of it are numbers up to"),
        (np.ones(8, np.complex64), "complex64"),
        (np.ones(8, np.longdouble), "exchanged"),
        (np.array(["a"] * 8), "<U1"),
        (np.array([None] * 8), "object"),
        ("weights", "a str"),
        (np.ma.masked_array(np.ones(8), mask=True), "a MaskedArray"),
        (None, "a NoneType"),
        (SimpleNamespace(shape=(8,)), "a SimpleNamespace"),
        ([np.ones((2, 3)), np.zeros(2)], r"array 0 of the weights has shape \(2, 3\); layer.0.kernel of the model has"),
        ([np.ones((3, 2))], "1 array of floats; the model has 2: layer.0.kernel"),
        ([], "0 arrays"),
        ([[1.0] * 6, [0.0] * 2], "a list"),
        ({}, "no array 'layer.0.kernel'"),
        ({"layer.0.kernel": np.ones((3, 2)), 0: np.zeros(2)}, "no array 'layer.0.bias'"),
        ({"layer.0.kernel": np.ones((3, 2)), "layer.0.bias": np.zeros(2, int)}, "'layer.0.bias'.*int64"),
        ({"layer.0.kernel": np.ones((2, 3)), "layer.0.bias": np.zeros(2)}, r"'layer.0.kernel'.*\(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(weights: object, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        Structure(DENSE).read(weights)


def test_a_model_that_only_keras_knows_takes_its_list_and_no_dict() -> None:
    structure = Structure(Outline((3,), (2,), 8, "softmax"))
    vector, rebuild = structure.read([np.ones((3, 2)), np.zeros(2)])
    assert [array.shape for array in rebuild(vector)] == [(3, 2), (2,)]
    with pytest.raises(ModelError, match="only Keras knows"):
        structure.read({"a": np.ones(8)})
    with pytest.raises(ModelError, match="9 values"):
        structure.read([np.ones(9)])
