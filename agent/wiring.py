"""The agent's composition root: the only place here that names concrete adapters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from agent.collector import Collector
from agent.config import AUTO, NONE, NUMPY, TFLITE, AgentConfig
from agent.onlooking import Onlooking
from agent.sources.replay import ReplaySource
from learnae.adapters.machine import Place
from learnae.codecs import Vector
from learnae.connect import connect
from learnae.errors import ConfigurationError, ManifestError
from learnae.features import Features
from learnae.home import find_swarm, open_manifest
from learnae.manifest import Manifest
from learnae.member import Member
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.numpy_learner import NumpyLearner
from learnae.models.onlooker import Onlooker
from learnae.peer import Options
from learnae.ports import Learner
from learnae.summary import Statistics

_log = logging.getLogger(__name__)

ROLE = "agent"
FOLLOW = 8  # replicas that a board has memory for
_ROWS = 100_000  # of features, kept in memory; the oldest go


def build(config: AgentConfig, reread: Callable[[], AgentConfig]) -> Member:
    """Wire an agent; raises ConfigurationError or StateError."""
    swarm = find_swarm(config.swarm.id)
    manifest = open_manifest(swarm)
    dataset = Dataset(manifest.model, manifest.objective, _ROWS)
    onlooking = Onlooking(features_of(manifest), manifest.class_count)
    collector = build_collector(config, manifest, dataset, onlooking.statistics)
    place = Place(swarm, config.peer.directory(ROLE))
    if reason := why_no_training(manifest, config.train.engine):
        onlooking.begin(reason)
    learner = _learner(onlooking, manifest, dataset, config.train.engine)
    outside = connect(config, place)
    options = Options(
        config.peer.name or ROLE,
        ROLE,
        config.peer.follow or FOLLOW,
        facts=lambda: {
            "samples": collector.samples,
            "only_summaries": onlooking.reason,
            "connections": outside.status(),
        },
        statistics=onlooking.statistics,
    )
    peer = place.peer(learner, options, outside)
    return Member(place, peer, config.train.pause, lambda: reread().train.pause, collector.collect)


def why_no_training(manifest: Manifest, engine: str) -> str:
    """Why this agent sends summaries and does not train; empty if nothing keeps it from training."""
    if engine == NONE:
        return 'train.engine is "none"'
    return manifest.only_keras


def build_learner(manifest: Manifest, dataset: Dataset, rng: np.random.Generator, engine: str = AUTO) -> Learner:
    """TFLite where a runtime is installed that can train the swarm's model, else NumPy.

    Raises ConfigurationError if the configured ``engine`` cannot.
    """
    arguments = (manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng)
    if engine == NUMPY:
        return NumpyLearner(*arguments)
    try:
        from agent.tflite_learner import TfliteLearner  # noqa: PLC0415 - an extra, and a heavy one

        return TfliteLearner(*arguments)
    except ImportError as error:
        reason = f"{error.name or error} is not installed; pip install 'learnae[agent]'"
    except ConfigurationError as error:
        reason = str(error)
    if engine == TFLITE:
        raise ConfigurationError(f"cannot train with TFLite: {reason}", "set train.engine to numpy or auto")
    _log.info("training with NumPy: %s", reason)
    return NumpyLearner(*arguments)


def write_inference(model: ModelDefinition, weights: Vector, int8: bool) -> bytes:
    """A .tflite file for inference; raises ModelError, or ConfigurationError without its writer."""
    try:
        from agent.tflite.export import inference_program  # noqa: PLC0415 - an extra

        return inference_program(model, weights, int8)
    except ImportError as error:
        raise ConfigurationError(f"{error.name or error} is not installed", "pip install 'learnae[agent]'") from error


def _learner(onlooking: Onlooking, manifest: Manifest, dataset: Dataset, engine: str) -> Learner:
    if onlooking.reason:
        return Onlooker(manifest.model.count)
    return build_learner(manifest, dataset, np.random.default_rng(), engine)


def build_collector(
    config: AgentConfig,
    manifest: Manifest,
    dataset: Dataset,
    statistics: Callable[[], Statistics | None] = lambda: None,
) -> Collector:
    """Source, windows and features into ``dataset``, or into statistics; raises ConfigurationError."""
    features = features_of(manifest)
    if not config.source.file:
        raise ConfigurationError("there is no source of samples", "set source.file to a recording")
    source = ReplaySource(Path(config.source.file), features, config.source.speed, config.source.holdout)
    return Collector(source, features, dataset, manifest.is_autoencoder, statistics)


def features_of(manifest: Manifest) -> Features:
    """The swarm's features; raises ManifestError for a swarm of trainers only."""
    if manifest.features is None:
        raise ManifestError(f"swarm {manifest.name!r} defines no features", "only trainers can be members of it")
    return manifest.features
