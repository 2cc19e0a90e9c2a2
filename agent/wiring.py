"""The agent's composition root: the only place here that names concrete adapters."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.config import AUTO, NONE, NUMPY, TFLITE, AgentConfig, BufferSection, ResourcesSection
from agent.ingestion.buffer import FILE as BUFFER_FILE
from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.chunks import Seal
from agent.ingestion.holdout import Holdout
from agent.ingestion.reader import SourceReader
from agent.ingestion.recorder import Recorder
from agent.labels import GivenLabel, LabelNames
from agent.learning.collector import Collector, Judged, features_of
from agent.learning.governor import Governor
from agent.learning.inference import Inferrer, Predict, ResultFile
from agent.learning.resources import Board, GovernedLearner, governed
from agent.learning.summary_mode import SummaryMode
from agent.sources.factory import opener
from agent.sources.replay import ReplaySource
from agent.sources.section import LIVE, POLLED, REPLAY
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.peer.peer import Options, Peer
from learnae.ports import Learner, Monitor, SampleSource
from learnae.runtime.links.connect import connect
from learnae.runtime.peer_service import PeerService
from learnae.runtime.workspace import Workspace
from learnae.samples.dp_statistics import Statistics
from learnae.swarm.directory import find_swarm, open_manifest
from learnae.swarm.features import Features
from learnae.swarm.manifest import Manifest
from learnae.system.credentials import read_secret
from learnae.system.installation import how_to_install
from learnae.weights.codecs import Vector

if TYPE_CHECKING:
    from agent.learning.tflite_learner import TfliteLearner

_log = logging.getLogger(__name__)

ROLE = "agent"
FOLLOW = 8  # replicas that a board has memory for
_ROWS = 100_000  # of features, kept in memory; the oldest go
_LONGEST_WAIT = 1.0  # seconds between two looks at what has come, however long the peer pauses
_PROBE_LOOK = 0.02  # seconds between two looks at a source that is tried out


@dataclass(frozen=True, slots=True)
class Intake:
    """How readings become rows: the collector reads recordings, the recorder live sources, if there are any."""

    collector: Collector
    recorder: Recorder | None

    def begin(self) -> None:
        """Read live sources from now on."""
        if self.recorder:
            self.recorder.start()

    def end(self) -> None:
        """Put on the disk what has come."""
        if self.recorder:
            self.recorder.stop()

    def status(self) -> dict[str, Any]:
        """For people."""
        recorded = self.recorder.status() if self.recorder else {}
        return {"samples": self.collector.samples, "unlabelled": self.collector.unlabelled, **recorded}


@dataclass(frozen=True, slots=True)
class Oracle:
    """What the swarm's model says of the newest windows, and who is told."""

    inferrer: Inferrer
    results: ResultFile
    monitor: Monitor

    def judge(self, peer: Peer, windows: Sequence[Judged]) -> None:
        """Nothing before the estimate is more than the random weights that every peer begins with."""
        if windows and (peer.steps > 0 or peer.following.replicas):
            found = self.inferrer.infer(peer.estimate(), windows)
            self.results.append(found)
            self.monitor.infer(found)


def build(config: AgentConfig, reread: Callable[[], AgentConfig]) -> PeerService:
    """Wire an agent; raises ConfigurationError or StateError. Live sources are read from now on."""
    swarm = find_swarm(config.swarm.id)
    manifest = open_manifest(swarm)
    dataset = Dataset(manifest.model, manifest.objective, _ROWS, manifest.is_autoencoder)
    onlooking = SummaryMode(features_of(manifest), manifest.class_count)
    # first: a name that is taken is refused before any data is read
    place = Workspace(swarm, config.peer.directory(ROLE))
    intake = build_intake(config, manifest, dataset, place.directory, onlooking)
    intake.begin()
    governor, board = Governor(config.resources, config.train.pause), Board()
    if reason := why_no_training(manifest, config.train.engine) or too_small(config.resources, board):
        onlooking.begin(reason)
    learner, predictor = _learner(onlooking, manifest, dataset, config.train.engine)
    inferrer = Inferrer(manifest, predictor)
    outside = connect(config, place)

    def facts() -> dict[str, Any]:
        return {
            **intake.status(),
            "training_rows": len(dataset.train),
            "held_out_rows": len(dataset.holdout),
            "skipped_rows": dataset.skipped,
            "only_summaries": onlooking.reason,
            "engine": engine_of(learner),
            "inference": inferrer.status(),
            "resources": governor.status(),
            "connections": outside.status(),
        }

    follow = config.peer.follow or FOLLOW
    options = Options(config.peer.name or ROLE, ROLE, follow, facts=facts, statistics=onlooking.statistics)
    peer = place.peer(GovernedLearner(learner, governor), options, outside)
    oracle = Oracle(inferrer, ResultFile(place.directory), place.monitor)
    return _member(place, peer, intake, oracle, governor, board, config.train.pause, reread)


def _member(
    place: Workspace,
    peer: Peer,
    intake: Intake,
    oracle: Oracle,
    governor: Governor,
    board: Board,
    pause: float,
    reread: Callable[[], AgentConfig],
) -> PeerService:
    """The work loop looks at what has come at least once a second, and lets the peer tick when it is time."""
    traffic = peer.replication.traffic

    def collect() -> None:
        intake.collector.collect()
        oracle.judge(peer, intake.collector.newest())

    def read_pause() -> float:
        pause = reread().train.pause
        governor.change_pause(pause)
        return min(pause, _LONGEST_WAIT)

    def listen() -> None:
        if governor.may_listen:
            peer.listen()

    tick = governed(
        peer.tick,
        governor,
        usage=lambda: board.usage(traffic.bytes_out + traffic.bytes_in),
        idle=lambda: place.monitor.report(peer.status()),
    )
    return PeerService(place, peer, min(pause, _LONGEST_WAIT), read_pause, collect, tick, intake.end, listen)


def why_no_training(manifest: Manifest, engine: str) -> str:
    """Why this agent sends summaries and does not train; empty if nothing keeps it from training."""
    if engine == NONE:
        return 'train.engine is "none"'
    return manifest.only_keras


def too_small(resources: ResourcesSection, board: Board) -> str:
    """Why this board has no room for training; empty if it has."""
    memory = board.memory()
    if memory is None or memory >= resources.memory:
        return ""
    return f"{memory:.0f} MiB of memory are available, and resources.memory is {resources.memory}"


def build_learner(
    manifest: Manifest, dataset: Dataset, rng: np.random.Generator, engine: str = AUTO
) -> NumpyLearner | TfliteLearner:
    """TFLite where a runtime is installed that can train the swarm's model, else NumPy.

    Raises ConfigurationError if the configured ``engine`` cannot.
    """
    arguments = (manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng)
    if engine == NUMPY:
        return NumpyLearner(*arguments)
    try:
        from agent.learning.tflite_learner import TfliteLearner  # noqa: PLC0415 - an extra, and a heavy one

        return TfliteLearner(*arguments)
    except ImportError as error:
        reason = f"{error.name or error} is not installed; {how_to_install('agent')}"
    except ConfigurationError as error:
        reason = str(error)
    if engine == TFLITE:
        raise ConfigurationError(f"cannot train with TFLite: {reason}", "set train.engine to numpy or auto")
    _log.info("training with NumPy: %s", reason)
    return NumpyLearner(*arguments)


def engine_of(learner: Learner) -> str:
    """What trains here, by its name in the configuration."""
    if isinstance(learner, PassiveLearner):
        return NONE
    return NUMPY if isinstance(learner, NumpyLearner) else TFLITE


def write_inference(model: ModelDefinition, weights: Vector, int8: bool, rows: Vector | None = None) -> bytes:
    """A .tflite file for inference; raises ModelError, or ConfigurationError without the extra."""
    try:
        from agent.tflite.inference.export import inference_program  # noqa: PLC0415 - an extra

        return inference_program(model, weights, int8, rows)
    except ImportError as error:
        raise ConfigurationError(f"{error.name or error} is not installed", how_to_install("agent")) from error


def _learner(
    onlooking: SummaryMode, manifest: Manifest, dataset: Dataset, engine: str
) -> tuple[Learner, Predict | None]:
    """The learner, and what computes the model, if anything here can: who looks on has a model to look with, too."""
    if onlooking.reason:
        onlooker = PassiveLearner(manifest.model.count)
        if manifest.only_keras:
            return onlooker, None
        return onlooker, lambda weights, rows: predict(manifest.definition, weights, rows)
    learner = build_learner(manifest, dataset, np.random.default_rng(), engine)
    return learner, learner.predict


def build_intake(
    config: AgentConfig,
    manifest: Manifest,
    dataset: Dataset,
    directory: Path | None = None,
    onlooking: SummaryMode | None = None,
) -> Intake:
    """Sources, windows and features into ``dataset``, or into statistics; raises ConfigurationError.

    Live sources are recorded in ``directory``, and left out without one.
    """
    features, names = features_of(manifest), label_names(manifest)
    recordings: dict[str, SampleSource] = {}
    live, holdouts = {}, {}
    for name, section in config.all_sources().items():
        if section.kind == REPLAY:
            recordings[name] = ReplaySource(
                Path(section.file), features, section.speed, section.holdout, classes=manifest.classes
            )
            continue
        assert section.kind in LIVE
        live[name] = opener(section, features, names, config.mqtt), section.kind in POLLED  # also checks the section
        holdouts[name] = Holdout(section.holdout, features)
    buffer = build_buffer(config.buffer, features, directory) if directory and live else None

    def statistics() -> Statistics | None:
        if onlooking is None:
            return None
        if manifest.needs_labels:
            onlooking.note_labels(collector.labelled, collector.unlabelled)
        return onlooking.statistics()

    collector = Collector(recordings, manifest, dataset, buffer, statistics)
    if directory is None or buffer is None:
        return Intake(collector, None)
    feeds = [
        SourceReader(name, open_source, features.rate, polled, buffer.position(name))
        for name, (open_source, polled) in live.items()
    ]
    return Intake(collector, Recorder(feeds, buffer, holdouts, GivenLabel(directory, names)))


def build_buffer(section: BufferSection, features: Features, directory: Path) -> SampleBuffer:
    """The buffer of the agent whose directory this is; raises ConfigurationError if its key does not fit."""
    seal = Seal(read_secret(section.key, "buffer.key")) if section.key else None
    size = int(section.megabytes * 1_000_000)
    return SampleBuffer(directory / BUFFER_FILE, len(features.channels), section.readings, size, seal)


def probe_sources(config: AgentConfig, manifest: Manifest, seconds: float) -> dict[str, dict[str, Any]]:
    """What each live source says within some ``seconds``: its state, and how many readings came. Nothing is kept."""
    features, found = features_of(manifest), {}
    for name, section in config.all_sources().items():
        if section.kind in LIVE:
            feed = SourceReader(
                name, opener(section, features, label_names(manifest), config.mqtt), features.rate, True
            )
            feed.start()
            for _ in range(round(seconds / _PROBE_LOOK)):  # counted: a board that stands still meanwhile costs one
                if feed.samples or feed.failures:
                    break
                time.sleep(_PROBE_LOOK)
            found[name] = feed.status()
            feed.stop()
    return found


def label_names(manifest: Manifest) -> LabelNames:
    """What labels the swarm knows."""
    return LabelNames(manifest.classes, max(2, manifest.model.output_shape[-1]))
