"""The trainer's composition root: the only place here that names concrete adapters."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.overriding import override
from learnae.peer.peer import Options, Peer
from learnae.ports import Learner
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.links.connect import connect
from learnae.runtime.peer_service import PeerService, Schedule
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import find_swarm
from learnae.swarm.manifest import Manifest
from trainer_node.config import TrainerConfig, TrainerTrainSection
from trainer_node.datasets.loading import load_dataset
from trainer_node.engines import JAX, choose_engine, warn_of_an_unseen_gpu
from trainer_node.learning.jax_learner import JaxLearner

ROLE = "trainer"
FOLLOW = 64  # replicas that a workstation has memory for


class TrainerSchedule(Schedule):
    """Ticks as the configuration says, which ``reread`` gives as it is now."""

    def __init__(self, peer: Peer, pause: float, reread: Callable[[], TrainerConfig]) -> None:
        super().__init__(peer, pause)
        self._reread = reread

    @override
    def reload(self) -> None:
        self.pause = self._reread().train.pause


def build(
    config: TrainerConfig,
    reread: Callable[[], TrainerConfig],
    load: Callable[[TrainerConfig, Manifest], Dataset],
) -> PeerService:
    """Wire a trainer on what ``load`` gives it; raises ConfigurationError or StateError."""
    swarm = find_swarm(config.swarm.id)
    # first: a name that is taken is refused before any data is read
    workspace = Workspace(swarm, config.peer.directory(ROLE), config.peer.history)
    dataset = load(config, swarm.manifest)
    learner, facts = build_learner(config.train, swarm.manifest, dataset)
    links = connect(workspace, config.mqtt, config.ipfs, config.exchange, config.iota)
    rows = {"training_rows": len(dataset.train), "skipped_rows": dataset.skipped}
    options = Options(
        config.peer.name or ROLE,
        ROLE,
        config.peer.follow or FOLLOW,
        steps=local_steps(config.train, swarm.manifest, len(dataset.train)),
        facts=lambda: {**facts, **rows, "connections": workspace.store.states() | links.status()},
    )
    linked = build_peer(workspace, learner, options, links)
    return PeerService(linked, TrainerSchedule(linked.peer, config.train.pause, reread))


def build_learner(train: TrainerTrainSection, manifest: Manifest, dataset: Dataset) -> tuple[Learner, dict[str, Any]]:
    """Make the learner of the engine that is configured and installed, and what the status says of it."""
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
    """Return the optimiser steps between two merges; 0 for as many as the manifest says."""
    return math.ceil(train.epochs * rows / manifest.training.batch) if train.epochs else train.steps


def load_configured(config: TrainerConfig, manifest: Manifest) -> Dataset:
    """Load the rows of ``data.file``; raises ConfigurationError."""
    if not config.data.file:
        raise ConfigurationError("there is no data to train on", "give --data FILE, or set data.file")
    return load_dataset(config.data, manifest)
