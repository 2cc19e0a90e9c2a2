"""Keras configurations as short as tests can have them, what they define, and whether gradients are right."""

from typing import Any

import numpy as np
import pytest

from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.reference.numpy_model import differentiate, predict


def sequential(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [first, *layers]}}


def layer(kind: str, /, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def dense(units: int, activation: Any = "linear", **config: Any) -> dict[str, Any]:
    return layer("Dense", units=units, activation=activation, **config)


def define(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> ModelDefinition:
    return ModelDefinition.from_config(sequential(*layers, shape=shape))


def batch(model: ModelDefinition, loss: str, rows: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(rows, *model.input_shape))
    if loss == "sparse_categorical_crossentropy":
        return inputs, rng.integers(0, model.output_shape[0], rows)
    targets = 2 * rng.normal(size=(rows, *model.output_shape))
    return inputs, (targets > 0).astype(float) if loss == "binary_crossentropy" else targets


def check_gradient(model: ModelDefinition, loss: str, dropout_seed: int | None = None) -> None:
    """Compare the gradient of every weight with numerical differentiation."""
    inputs, targets = batch(model, loss)
    weights = np.random.default_rng(2).normal(size=model.count) * 0.7

    def at(vector: Any) -> tuple[float, Any]:
        rng = None if dropout_seed is None else np.random.default_rng(dropout_seed)
        found = differentiate(model, Loss(loss), vector, inputs, targets, rng)
        return found.loss, found.gradient

    value, gradient = at(weights)
    numerical = np.empty_like(weights)
    for index in range(model.count):
        step = np.zeros_like(weights)
        step[index] = 1e-6
        numerical[index] = (at(weights + step)[0] - at(weights - step)[0]) / 2e-6
    assert gradient == pytest.approx(numerical, abs=1e-7, rel=1e-5)
    assert np.abs(gradient).max() > 1e-3
    normalises = "moving_mean" in [name for each in model.layers for name in each.names]
    if dropout_seed is None and not normalises:
        assert value == pytest.approx(Loss(loss).value(predict(model, weights, inputs), targets))
