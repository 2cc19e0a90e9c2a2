"""The trainer's composition root: the only place here that names concrete adapters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from learnae.adapters.machine import Place
from learnae.errors import ConfigurationError
from learnae.home import find_swarm, open_manifest
from learnae.manifest import Manifest
from learnae.member import Member
from learnae.models.dataset import Dataset
from learnae.models.numpy_learner import NumpyLearner
from learnae.peer import Options
from trainer_node.config import TrainerConfig
from trainer_node.datasets import load_dataset

ROLE = "trainer"
FOLLOW = 64  # replicas that a workstation has memory for


def build(
    config: TrainerConfig,
    reread: Callable[[], TrainerConfig],
    load: Callable[[TrainerConfig, Manifest], Dataset],
) -> Member:
    """Wire a trainer on what ``load`` gives it; raises ConfigurationError or StateError."""
    swarm = find_swarm(config.swarm.id)
    manifest = open_manifest(swarm)
    dataset = load(config, manifest)
    place = Place(swarm, config.peer.directory(ROLE))
    learner = NumpyLearner(
        manifest.model,
        manifest.objective,
        manifest.optimiser,
        dataset,
        manifest.training.batch,
        np.random.default_rng(),
    )
    peer = place.peer(learner, Options(config.peer.name or ROLE, ROLE, config.peer.follow or FOLLOW))
    return Member(place, peer, config.train.pause, lambda: reread().train.pause, lambda: None)


def load_configured(config: TrainerConfig, manifest: Manifest) -> Dataset:
    """The rows of ``data.file``; raises ConfigurationError."""
    if not config.data.file:
        raise ConfigurationError("there is no data to train on", "give --data FILE, or set data.file")
    return load_dataset(config.data, manifest)
