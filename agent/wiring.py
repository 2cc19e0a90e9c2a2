"""The agent's composition root: the only place here that names concrete adapters."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from agent.config import AgentConfig
from agent.ingestion.buffer import FILE as BUFFER_FILE
from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.chunks import Seal
from agent.ingestion.database import read_positions
from agent.ingestion.reader import ReaderLimits, SourceReader
from agent.ingestion.recorder import Holdout, Recorder
from agent.labels import GivenLabel, LabelNames, write_label
from agent.learning.collector import Collector, SummaryMode, features_of
from agent.learning.engine_choice import choose_learner, engine_of, why_no_training
from agent.learning.governor import Governor
from agent.learning.inference import Inferrer, ResultFile
from agent.learning.resources import Board, GovernedLearner
from agent.learning.schedule import AgentSchedule, Intake, Oracle, tick_pause
from agent.learning.threshold import Threshold
from agent.sources.factory import opener, replay
from agent.sources.live import Open
from agent.sources.section import BRIDGE, LIVE, POLLED, REPLAY, SourceSection
from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.memory import groups_of
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.peer.learning.guard import suspicion_of
from learnae.peer.learning.personal import personal_of
from learnae.peer.learning.training import ENDLESS
from learnae.peer.peer import Options
from learnae.peer.publishing_policy import PublishPolicy
from learnae.runtime.admission.application import once_in
from learnae.runtime.costs import FOLLOWED, followed
from learnae.runtime.linked_peer import LinkedPeer, build_peer
from learnae.runtime.links.connect import connect
from learnae.runtime.peer_service import Page, PeerService, Worker
from learnae.runtime.private.clipping import update_clip
from learnae.runtime.private.consent import check_consent
from learnae.runtime.private.floors import release_floor
from learnae.runtime.private.learner import as_agreed
from learnae.runtime.private.policy import training_privacy
from learnae.runtime.private.summaries import addend_of, lessons_of, releasing_of, summary_facts
from learnae.runtime.publishing import LOCAL_SECONDS, publish_policy
from learnae.runtime.workspace import Workspace
from learnae.samples.dp_statistics import Statistics, layout_of, most_rows
from learnae.swarm.directory import find_swarm
from learnae.swarm.manifest import Manifest
from learnae.system.credentials import read_secret
from learnae.system.installation import how_to_install
from learnae.system.lazy_imports import without
from learnae.system.paths import CONTRIBUTIONS_FILE
from learnae.weights.codecs import Vector

ROLE = "agent"
_OWN_UPDATES = 4 * 24  # hours: a quarter of a day's bytes is aimed at for own updates
_ROWS = 100_000  # of features, kept in memory; the oldest go
_ROWS_BYTES = 256 << 20  # of them, however long one is
_NEVER_LATER = ReaderLimits(enough=ReaderLimits().queue)  # only a bridge remembers what it was not asked
_PROBE_LOOK = 0.02  # seconds between two looks at a source that is tried out


def build(config: AgentConfig, reread: Callable[[], AgentConfig]) -> Worker:
    """Wire an agent, once it is a member; raises ConfigurationError or StateError."""
    return once_in(config.peer.directory(ROLE), ROLE, config.mqtt, config.lan, partial(_build, config, reread))


def _build(config: AgentConfig, reread: Callable[[], AgentConfig]) -> PeerService:
    """Wire a member; live sources are read from now on."""
    if config.dashboard.listen:
        with without("ssl"):  # asyncio imports it if it can, 3 MB for nothing; now, before any other thread needs it
            import learnae.dashboard.live  # noqa: F401, PLC0415 - a server, which few have a use for
    swarm = find_swarm(config.swarm.id)
    manifest = swarm.manifest
    manifest.check_known()
    check_consent(manifest, config.privacy)
    is_private = training_privacy(manifest, config.privacy) is not None
    policy = policy_of(config, is_private)
    most = max(1, min(_ROWS, _ROWS_BYTES // (4 * math.prod(manifest.model.input_shape))))
    dataset = Dataset(manifest.model, manifest.objective, most, manifest.is_autoencoder)
    summary_mode, layout = SummaryMode(), layout_of(manifest)
    statistics = Statistics(layout, most_rows(manifest)) if layout else None
    # first: a name that is taken is refused before any data is read
    workspace = Workspace(swarm, config.peer.directory(ROLE), config.peer.history)
    intake = build_intake(config, manifest, dataset, workspace.directory, summary_mode, workspace.name, statistics)
    intake.begin()
    governor, board = Governor(config.resources, tick_pause(policy)), Board(groups=groups_of())
    if reason := why_no_training(manifest, config.train.engine, config.resources, board):
        summary_mode.begin(reason)
    learner, predictor = choose_learner(
        summary_mode, manifest, dataset, config.train.engine, config.privacy.clip, is_private
    )
    private = as_agreed(learner, dataset, manifest, config.privacy, workspace.directory)

    def is_alone() -> bool:
        return bool(summary_mode.reason)

    directory = workspace.directory
    releasing = releasing_of(manifest, directory, statistics, is_alone, is_private) if statistics else None
    lessons = lessons_of(manifest, dataset)

    def why_none_held_out() -> str:
        keeps_none = "this agent sends summaries and keeps no rows"
        return keeps_none if summary_mode.reason else intake.why_unmeasured(0)

    threshold = Threshold(config.inference.percentile, dataset.holdout, why_none_held_out)
    inferrer = Inferrer(manifest, predictor, threshold)
    shown = config.privacy.inference
    links = connect(
        workspace,
        config.mqtt,
        config.ipfs,
        config.exchange,
        config.iota,
        config.lan,
        shown,
        config.resources.answers_per_second,
    )

    def facts() -> dict[str, Any]:
        return {
            **intake.status(),
            "training_rows": len(dataset.train),
            "held_out_rows": len(dataset.holdout),
            "skipped_rows": dataset.skipped,
            "unmeasured": intake.why_unmeasured(len(dataset.holdout)),
            "only_summaries": summary_mode.reason,
            **summary_facts(manifest, releasing, lessons),
            "engine": engine_of(learner),
            "inference": inferrer.status(),
            "resources": governor.status(),
            "connections": workspace.store.states() | links.status(),
        }

    follow = config.peer.follow or followed(manifest, FOLLOWED[ROLE], board.memory())
    options = Options(
        config.peer.name or ROLE,
        ROLE,
        follow,
        steps=ENDLESS,
        publish=policy,
        patience=config.train.stop_when,
        rows=lambda: len(dataset.train),
        chance=lambda: dataset.chance_loss,
        facts=facts,
        summaries=releasing,
        lessons=lessons,
        contributions=LocalStateStore(workspace.directory / CONTRIBUTIONS_FILE),
        held_out=dataset.holdout,
        update_clip=update_clip(manifest, config.privacy.clip),
        addend=addend_of(manifest, statistics, releasing),
        privacy=private.spent,
        recall=private.recall,
        suspicion=suspicion_of(manifest, dataset, config.privacy.draws),
        floors=release_floor(config.privacy, dataset),
        personal=personal_of(manifest, dataset, workspace.store, config.train.personal),
        hears=config.peer.hears,
    )
    governed = GovernedLearner(private.learner, governor, manifest.training.steps)
    linked = build_peer(workspace, governed, options, links)
    oracle = Oracle(inferrer, ResultFile(workspace.directory), linked.monitor)
    schedule = AgentSchedule(linked.peer, intake, oracle, governor, board, lambda: policy_of(reread(), is_private))
    return PeerService(linked, schedule, page=_page(config, linked))


def _page(config: AgentConfig, linked: LinkedPeer) -> Page | None:
    """Make the page, where one is configured."""
    if not config.dashboard.listen:
        return None
    from learnae.dashboard.live import live_page  # noqa: PLC0415 - a server, which few have a use for
    from learnae.dashboard.parts import Offers  # noqa: PLC0415

    manifest, classes = linked.peer.manifest, list[str]()
    if manifest.class_count and any(section.kind in LIVE for section in config.all_sources().values()):
        classes = [label_names(manifest).name(number) for number in range(manifest.class_count)]
    hour, day = config.publish.bytes_per_hour, config.resources.bytes_per_day
    offers = Offers(tuple(classes), bytes_per_day=day, bytes_per_hour=hour)
    return live_page(config.dashboard, linked, config.mqtt, config.lan, offers, partial(give_label, config))


def give_label(config: AgentConfig, label: str, seconds: float | None) -> None:
    """Tell the agent of ``config`` what its readings are from now on; raises ConfigurationError, NotWrittenError."""
    if label:
        manifest = find_swarm(config.swarm.id).manifest
        if not manifest.needs_labels:
            raise ConfigurationError(f"swarm {manifest.name!r} learns without labels", "there is nothing to label")
        label_names(manifest).check(label)
        recordings = {name: section.file for name, section in config.all_sources().items() if section.kind == REPLAY}
        if len(recordings) == len(config.all_sources()):
            raise ConfigurationError(
                f"this agent reads only recordings, whose labels are their own: {', '.join(recordings.values())}",
                "put them into the file's column label",
            )
    write_label(config.peer.directory(ROLE), label, seconds)


def policy_of(config: AgentConfig, is_private: bool) -> PublishPolicy:
    """Return how often an agent publishes."""
    metered = is_private or config.resources.bytes_per_day > 0
    aim = config.resources.bytes_per_day // _OWN_UPDATES
    return publish_policy(
        config.publish, config.mqtt, config.ipfs, config.iota, config.lan, LOCAL_SECONDS[ROLE], metered, aim
    )


def write_inference(model: ModelDefinition, weights: Vector, int8: bool, rows: Vector | None = None) -> bytes:
    """Write a .tflite file for inference; raises ModelError, or ConfigurationError without the extra."""
    try:
        from agent.tflite.inference.export import inference_program  # noqa: PLC0415 - an extra

        return inference_program(model, weights, int8, rows)
    except ImportError as error:
        raise ConfigurationError(f"{error.name or error} is not installed", how_to_install("agent")) from error


def build_intake(
    config: AgentConfig,
    manifest: Manifest,
    dataset: Dataset,
    directory: Path | None = None,
    summary_mode: SummaryMode | None = None,
    peer: str = "",
    statistics: Statistics | None = None,
) -> Intake:
    """Wire sources, windows and features into ``dataset`` and ``statistics``; raises ConfigurationError.

    Live sources are recorded in ``directory``, and left out without one; at a broker they are known as those of
    ``peer``.
    """
    features, names = features_of(manifest), label_names(manifest)
    recordings = {}
    live: dict[str, tuple[Open, SourceSection]] = {}
    holdouts = {}
    for name, section in config.all_sources().items():
        if section.kind == REPLAY:
            recordings[name] = replay(section, features, manifest)
            continue
        assert section.kind in LIVE
        client_id = section.client_id_at(config.mqtt, peer, name)
        live[name] = opener(section, features, names, config.mqtt, client_id), section  # also checks the section
        holdouts[name] = Holdout(section.holdout, features)
    undated = {name for name, recording in recordings.items() if not recording.is_dated}
    if directory is None or not live:
        return Intake(
            Collector(recordings, manifest, dataset, None, summary_mode, undated=undated, statistics=statistics),
            None,
            names,
            recordings,
        )
    stored = config.buffer
    seal = Seal(read_secret(stored.key, "buffer.key")) if stored.key else None
    size = int(stored.megabytes * 1_000_000)
    buffer = SampleBuffer(directory / BUFFER_FILE, len(features.channels), stored.readings, size, seal)
    readers = [
        SourceReader(
            name,
            open_source,
            features.rate,
            section.kind in POLLED,
            buffer.position(name),
            ReaderLimits() if section.kind == BRIDGE else _NEVER_LATER,
        )
        for name, (open_source, section) in live.items()
    ]
    collector = Collector(recordings, manifest, dataset, buffer, summary_mode, undated=undated, statistics=statistics)
    return Intake(collector, Recorder(readers, buffer, holdouts, GivenLabel(directory, names)), names, recordings)


def probe_sources(
    config: AgentConfig, manifest: Manifest, names: LabelNames, seconds: float
) -> dict[str, dict[str, Any]]:
    """Read each live source for some ``seconds``: its state, and how many readings came. Nothing is kept.

    Labels that are no classes are counted in ``names``.
    """
    features, found = features_of(manifest), {}
    positions = read_positions(config.peer.directory(ROLE) / BUFFER_FILE)
    for name, section in config.all_sources().items():
        if section.kind in LIVE:
            known = section.client_id_at(config.mqtt, "", name)
            client_id = f"{known}-check" if known else ""  # the agent may be running
            open_source = opener(section, features, names, config.mqtt, client_id)
            position = positions.get(name, "") if section.kind in POLLED else ""  # only which sensors they are
            reader = SourceReader(name, open_source, features.rate, True, position)
            reader.start()
            for _ in range(round(seconds / _PROBE_LOOK)):  # counted: a board that stands still meanwhile costs one
                if reader.samples or reader.failures:
                    break
                time.sleep(_PROBE_LOOK)
            found[name] = reader.status()
            reader.stop()
    return found


def label_names(manifest: Manifest) -> LabelNames:
    """Return the labels that the swarm knows."""
    return LabelNames(manifest.classes, max(2, manifest.model.output_shape[-1]))
