"""Members whose updates are attacked: manifests, rows of the demo's people, and learners that others trap."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from learnae.audit.own_rows import OwnRows, demo_rows
from learnae.audit.victim import published
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.clipping import NormClip
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config, preset
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy

WRIST = preset("wrist", 1)


def person(number: int, manifest: Manifest = WRIST) -> OwnRows:
    """Return the rows of one of the demo's people."""
    found = demo_rows(manifest, number)
    assert found is not None
    return found


def dataset_of(manifest: Manifest, rows: OwnRows) -> Dataset:
    """Return a dataset that trains on all ``rows``."""
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows.rows, rows.targets)
    return data


def updates(
    manifest: Manifest,
    rows: OwnRows,
    count: int,
    start: Vector | None = None,
    received: Callable[[int], Vector | None] = lambda _: None,
    seed: int = 1,
    clips: bool = False,
) -> list[Vector]:
    """Return the start, and what followers have after each of ``count`` updates of one who trains on ``rows``."""
    learner = NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, dataset_of(manifest, rows),
        manifest.training.batch, np.random.default_rng(seed), NormClip(is_on=clips),
    )  # fmt: skip
    begin = manifest.definition.initial(manifest.seed) if start is None else start
    return list(islice(published(manifest, learner, begin, received), count + 1))


def raw_windows(hidden: int, steps: int, batch: int, rate: float, frames: str = "f32") -> Manifest:
    """Return what a hostile author sends round: raw windows go into a Dense layer."""
    config = dense_config(600, (hidden,), 7, "softmax")
    layers: list[dict[str, Any]] = config["config"]["layers"]
    layers[0]["config"]["batch_shape"] = [None, 100, 6]
    layers.insert(1, {"module": "keras.layers", "class_name": "Flatten", "config": {}})
    return replace(
        preset("wrist-cnn", 1),
        name="raw",
        config=config,
        training=TrainingPolicy(steps, batch),
        optimiser=OptimiserPolicy("sgd", learning_rate=rate),
        codec=FramePolicy(frames, frames),
    )
