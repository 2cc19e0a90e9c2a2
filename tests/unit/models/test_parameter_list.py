"""A model that is its parameters alone comes from a stranger: bounded, plain, and like nothing but itself."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import ManifestError, ModelError
from learnae.ipld import dagcbor
from learnae.models.parameters import MAX_ARRAYS, ParameterList, config_of
from learnae.swarm.manifest import Manifest
from learnae.swarm.own_loop import manifest_of

PLAIN = {"name": "w", "shape": [2]}


def config(*parameters: object, **more: object) -> dict[str, Any]:
    return {"class_name": "Parameters", "config": {"parameters": list(parameters), **more}}


@given(st.dictionaries(st.text("ab.", min_size=1), st.lists(st.integers(1, 9), max_size=4).map(tuple), min_size=1))
def test_what_was_defined_is_read_in_its_order(shapes: dict[str, tuple[int, ...]]) -> None:
    found = ParameterList.from_config(config_of(shapes))
    assert dict(found.places) == shapes
    assert [name for name, _ in found.places] == list(shapes)
    vector = np.arange(found.count, dtype=np.float32)
    assert np.array_equal(np.concatenate([part.ravel() for part in found.split(vector).values()]), vector)


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        (config(), "1 to 4096 arrays"),
        (config(*[{"name": str(n), "shape": [1]} for n in range(MAX_ARRAYS + 1)]), "1 to 4096 arrays"),
        (config(PLAIN, PLAIN), "one name"),
        (config({"name": "", "shape": [2]}), "the name ''"),
        (config({"name": " w", "shape": [2]}), "the name ' w'"),
        (config({"name": "w\x1b[2J", "shape": [2]}), "printable"),
        (config({"name": "w" * 257, "shape": [2]}), "256"),
        (config({"name": "ä" * 200, "shape": [2]}), "256 bytes"),
        (config({"name": 1, "shape": [2]}), "printable"),
        (config({"name": "w", "shape": [1 << 29]}), "integer"),
        (config({"name": "w", "shape": [1 << 28, 2]}), "a model of"),
        (config({"name": "w", "shape": [1 << 20] * 8}), "a model of"),
        (config({"name": "w", "shape": [1] * 9}), "at most 8 sizes"),
        (config({"name": "w", "shape": [0]}), "integer"),
        (config({"name": "w", "shape": [-1]}), "integer"),
        (config({"name": "w", "shape": [True]}), "integer"),
        (config({"name": "w", "shape": [2.0]}), "integer"),
        (config({"name": "w", "shape": "2"}), "sizes"),
        (config({"name": "w", "shape": None}), "sizes"),
        (config({"name": "w"}), "no field 'shape'"),
        (config({"name": "w", "shape": [2], "init": "ones"}), "more than names and shapes"),
        (config(PLAIN, loss="mine"), "more than names and shapes"),
        ({**config(PLAIN), "module": "keras"}, "more than names and shapes"),
        ({"class_name": "Parameters", "config": []}, "a map"),
        ({"class_name": "Parameters"}, "no field 'config'"),
        (config("w"), "a map"),
        (config([PLAIN]), "a map"),
    ],
)
def test_a_hostile_definition_is_refused_by_place(parameters: object, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        ParameterList.from_config(parameters)
    made, _ = manifest_of({"w": np.ones(2)}, "mine", 1)
    fields = dagcbor.decode(made.to_bytes())
    with pytest.raises(ModelError, match=why):
        Manifest.from_bytes(dagcbor.encode({**fields, "model": parameters}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"start": []}, "no starting weights"),
        ({"loss": "huber"}, "loss huber in a swarm whose model is its parameters alone"),
        ({"classes": ["a"]}, "classes in a swarm"),
        ({"columns": ["a"]}, "columns in a swarm"),
        ({"outline": {"input": [1], "output": [1], "count": 2, "final": "linear"}}, "an outline in a swarm"),
        ({"merge": {"step": 1.0, "half_life": 60_000, "rule": "judged"}}, "cannot be judged"),
        (
            {
                "privacy": {
                    "training": {"epsilon": 4.0, "delta": 1e-5, "releases": 8, "clip": 1.0, "protects": "window",
                                 "partitions": 1},
                    "summary": {"epsilon": 8.0, "delta": 1e-5, "form": "diagonal", "sharing": "each", "releases": 1,
                                "rows": 100, "beside_training": False},
                },
            },
            "differential privacy in a swarm",
        ),
    ],
)  # fmt: skip
def test_a_manifest_says_nothing_else_of_such_a_model(changes: dict[str, Any], why: str) -> None:
    made, _ = manifest_of({"w": np.ones(2)}, "mine", 1)
    assert Manifest.from_bytes(made.to_bytes()).swarm == made.swarm
    fields = dagcbor.decode(made.to_bytes())
    with pytest.raises(ManifestError, match=why):
        Manifest.from_bytes(dagcbor.encode({**fields, **changes}))


def test_peers_that_know_models_say_what_to_join_with() -> None:
    made, _ = manifest_of({"w": np.ones((2, 3)), "seen": np.array(7)}, "mine", 1)
    assert (made.task, made.class_count, made.model.count, made.needs_labels) == ("own loop", 0, 6, False)
    for ask in (lambda: made.definition, lambda: made.objective, made.check_known):
        with pytest.raises(ModelError, match=r"only the parameters are known: members' own programs train it; .*join"):
            ask()


@pytest.mark.parametrize("arrays", [{}, {"n": np.array(1)}, {"w": np.ones(0)}, {"w": np.array([np.inf])}])
def test_arrays_that_are_no_start_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        manifest_of(arrays, "mine", 1)
