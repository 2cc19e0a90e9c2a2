"""The trainer's composition root: the only place here that names concrete adapters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options
from learnae.ports import Learner
from learnae.runtime.links.connect import connect
from learnae.runtime.peer_service import PeerService
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import find_swarm, open_manifest
from learnae.swarm.manifest import Manifest
from trainer_node.config import TrainerConfig, TrainerTrainSection
from trainer_node.datasets.loading import load_dataset
from trainer_node.engines import JAX, choose_engine, warn_of_an_unseen_gpu
from trainer_node.learning.jax_learner import JaxLearner

ROLE = "trainer"
FOLLOW = 64  # replicas that a workstation has memory for


def build(
    config: TrainerConfig,
    reread: Callable[[], TrainerConfig],
    load: Callable[[TrainerConfig, Manifest], Dataset],
) -> PeerService:
    """Wire a trainer on what ``load`` gives it; raises ConfigurationError or StateError."""
    swarm = find_swarm(config.swarm.id)
    manifest = open_manifest(swarm)
    # first: a name that is taken is refused before any data is read
    place = Workspace(swarm, config.peer.directory(ROLE))
    dataset = load(config, manifest)
    learner, facts = build_learner(config.train, manifest, dataset)
    outside = connect(config, place)
    rows = {"training_rows": len(dataset.train), "skipped_rows": dataset.skipped}
    options = Options(
        config.peer.name or ROLE,
        ROLE,
        config.peer.follow or FOLLOW,
        steps=local_steps(config.train, manifest, len(dataset.train)),
        facts=lambda: {**facts, **rows, "connections": outside.status()},
    )
    peer = place.peer(learner, options, outside)
    return PeerService(place, peer, config.train.pause, lambda: reread().train.pause, lambda: None)


def build_learner(train: TrainerTrainSection, manifest: Manifest, dataset: Dataset) -> tuple[Learner, dict[str, Any]]:
    """The learner of the engine that is configured and installed, and what the status says of it."""
    engine, rng = choose_engine(train.engine, train.precision), np.random.default_rng()
    if engine == JAX:
        jax = JaxLearner.for_manifest(manifest, dataset, rng, train.precision)
        warn_of_an_unseen_gpu(jax.device)
        return jax, {"engine": engine, "device": jax.device, "precision": train.precision}
    plain = NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng
    )
    return plain, {"engine": engine, "device": "cpu", "precision": "float32"}


def local_steps(train: TrainerTrainSection, manifest: Manifest, rows: int) -> int:
    """Optimiser steps between two merges; 0 for as many as the manifest says."""
    return math.ceil(train.epochs * rows / manifest.training.batch) if train.epochs else train.steps


def load_configured(config: TrainerConfig, manifest: Manifest) -> Dataset:
    """The rows of ``data.file``; raises ConfigurationError."""
    if not config.data.file:
        raise ConfigurationError("there is no data to train on", "give --data FILE, or set data.file")
    return load_dataset(config.data, manifest)
