"""How near rows come to where a gradient jumps, and batches that keep away from there."""

from typing import Any

import numpy as np
import pytest

from bench.learners.parity import MARGIN, distances, smooth_batch
from learnae.models.definition import ModelDefinition
from learnae.swarm.presets import dense_config


def over_time(*layers: tuple[str, dict[str, Any]]) -> ModelDefinition:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4, 1]}}
    named = [{"class_name": kind, "config": config} for kind, config in layers]
    return ModelDefinition.from_config({"class_name": "Sequential", "config": {"layers": [first, *named]}})


def test_a_relu_is_as_near_as_its_smallest_input() -> None:
    model = ModelDefinition.from_config(dense_config(2, (2,), 1, "linear"))
    weights = np.array([1, 0, 0, 1, 0.5, 0, 1, 1, 0])  # the identity, and 0.5 more for the first unit
    assert distances(model, weights, np.array([[1.0, 2.0], [-0.25, 3.0], [7.0, -0.125]])).tolist() == [1.5, 0.25, 0.125]


def test_a_maximum_is_as_near_as_its_two_greatest_unless_both_are_equal() -> None:
    model = over_time(("MaxPooling1D", {"pool_size": 2}), ("Flatten", {}), ("Dense", {"units": 1}))
    rows = np.array([[5, 4, 1, -1], [0, 0, 3, 3], [2, 2.5, 0, 0]], np.float64)[:, :, None]
    assert distances(model, np.ones(model.count), rows).tolist() == [1, np.inf, 0.5]


def test_without_an_edge_nothing_is_near() -> None:
    model = ModelDefinition.from_config(dense_config(2, (), 1, "sigmoid"))
    assert distances(model, np.zeros(3), np.zeros((2, 2))).tolist() == [np.inf, np.inf]


def test_rows_near_an_edge_are_replaced_and_others_kept() -> None:
    model = ModelDefinition.from_config(dense_config(1, (1,), 1, "linear"))
    weights = np.array([1.0, 0.0, 1.0, 0.0])
    rows = np.where(np.arange(100) % 2, MARGIN / 2, 1.0)[:, None].astype(np.float32)
    drawn = np.random.default_rng(3).integers(0, 100, 16)
    chosen = smooth_batch(model, weights, rows, 16, np.random.default_rng(3))
    assert (chosen % 2 == 0).all()
    assert (chosen == drawn)[drawn % 2 == 0].all()
    with pytest.raises(RuntimeError, match="away from every edge"):
        smooth_batch(model, weights, rows[1::2], 16, np.random.default_rng(3))
