"""Keras configurations as short as tests can have them, and what they define."""

from __future__ import annotations

from typing import Any

from learnae.models.definition import ModelDefinition


def sequential(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}}
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [first, *layers]}}


def layer(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": config}


def dense(units: int, activation: str = "linear", **config: Any) -> dict[str, Any]:
    return layer("Dense", units=units, activation=activation, **config)


def define(*layers: dict[str, Any], shape: tuple[int, ...] = (4,)) -> ModelDefinition:
    return ModelDefinition.from_config(sequential(*layers, shape=shape))
