"""The trainer's composition root: the only place here that names concrete adapters."""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from learnae.adapters.local.state_store import LocalStateStore
from learnae.basics.memory import memory_left
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.learning.guard import suspicion_of
from learnae.peer.learning.personal import personal_of
from learnae.peer.learning.training import ENDLESS
from learnae.peer.peer import Options, Peer, Tick
from learnae.peer.publishing_policy import PublishPolicy
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.runtime.admission.application import once_in
from learnae.runtime.costs import FOLLOWED, check_trainable, followed
from learnae.runtime.linked_peer import LinkedPeer, build_peer
from learnae.runtime.links.connect import connect
from learnae.runtime.peer_service import Page, PeerService, Schedule, Worker
from learnae.runtime.private.clipping import update_clip
from learnae.runtime.private.consent import check_consent
from learnae.runtime.private.floors import release_floor
from learnae.runtime.private.learner import as_agreed
from learnae.runtime.private.summaries import addend_of, lessons_of, releasing_of, summary_facts
from learnae.runtime.publishing import LOCAL_SECONDS, publish_policy
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import find_swarm
from learnae.swarm.manifest import Manifest
from learnae.system.paths import CONTRIBUTIONS_FILE
from trainer_node.config import ROLE, TrainerConfig, TrainerTrainSection
from trainer_node.datasets.loading import load_dataset
from trainer_node.engines import JAX, choose_engine, warn_of_an_unseen_gpu
from trainer_node.learning.paced_learner import SLICE_SECONDS, PacedLearner

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 1.0  # until the next tick of a peer that has nothing to train


class TrainerSchedule(Schedule):
    """Ticks, which trains for a slice of time, and pauses so that ``share`` of the time is spent on training.

    ``reread`` gives the configuration as it is now.
    """

    def __init__(self, peer: Peer, learner: PacedLearner, share: float, reread: Callable[[], TrainerConfig]) -> None:
        super().__init__(peer, 0.0)
        self._learner = learner
        self._reread = reread
        self._keep_to(share)

    @override
    def tick(self) -> Tick | None:
        self.pause = _IDLE_SECONDS  # also where the tick fails
        done = super().tick()
        if done and done.trained.steps:
            self.pause = self._learner.last_seconds * (1 / self._share - 1)
        else:
            spare = self.peer.spare() / 1000 or _IDLE_SECONDS
            self.pause = min(_IDLE_SECONDS, self.peer.cadence.policy.every / 1000, spare)
        return done

    @override
    def reload(self) -> None:
        config = self._reread()
        self.peer.cadence.policy = policy_of(config, self.peer.is_private)
        self._keep_to(config.train.share)
        self.pause = 0.0

    def _keep_to(self, share: float) -> None:
        """Train so long at once that a slice and its pause are over when an update is due."""
        self._share = share
        self._learner.slice_seconds = min(SLICE_SECONDS, share * self.peer.cadence.policy.every / 1000)


def policy_of(config: TrainerConfig, is_private: bool) -> PublishPolicy:
    """Return how often a trainer publishes."""
    return publish_policy(
        config.publish, config.mqtt, config.ipfs, config.iota, config.lan, LOCAL_SECONDS[ROLE], metered=is_private
    )


def build(
    config: TrainerConfig,
    reread: Callable[[], TrainerConfig],
    load: Callable[[TrainerConfig, Manifest], Dataset],
) -> Worker:
    """Wire a trainer on what ``load`` gives it, once it is a member; raises ConfigurationError or StateError."""
    return once_in(config.peer.directory(ROLE), ROLE, config.mqtt, config.lan, partial(_build, config, reread, load))


def _build(
    config: TrainerConfig,
    reread: Callable[[], TrainerConfig],
    load: Callable[[TrainerConfig, Manifest], Dataset],
) -> PeerService:
    swarm = find_swarm(config.swarm.id)
    swarm.manifest.check_known()
    check_consent(swarm.manifest, config.privacy)
    left = memory_left()
    if warning := check_trainable(swarm.manifest, left):
        _log.warning("%s", warning)
    # first: a name that is taken is refused before any data is read
    workspace = Workspace(swarm, config.peer.directory(ROLE), config.peer.history)
    dataset = load(config, swarm.manifest)
    engine, facts = build_learner(config.train, swarm.manifest, dataset, config.privacy.clip)
    private = as_agreed(engine, dataset, swarm.manifest, config.privacy, workspace.directory)
    learner = PacedLearner(private.learner, swarm.manifest.training.steps)
    shown = config.privacy.inference
    links = connect(workspace, config.mqtt, config.ipfs, config.exchange, config.iota, config.lan, shown)
    releasing = releasing_of(swarm.manifest, workspace.directory, dataset, is_private=private.is_private)
    lessons = lessons_of(swarm.manifest, dataset)
    rows = {"training_rows": len(dataset.train), "skipped_rows": dataset.skipped}
    unmeasured = {} if len(dataset.holdout) else {"unmeasured": "no rows are held out: data.holdout"}
    options = Options(
        config.peer.name or ROLE,
        ROLE,
        config.peer.follow or followed(swarm.manifest, FOLLOWED[ROLE], left),
        steps=local_steps(config.train, swarm.manifest, len(dataset.train)),
        first_steps=first_steps(config.train, swarm.manifest, len(dataset.train)),
        publish=policy_of(config, private.is_private),
        patience=config.train.stop_when,
        rows=lambda: len(dataset.train),
        chance=lambda: dataset.chance_loss,
        rests=True,
        update_clip=update_clip(swarm.manifest, config.privacy.clip),
        privacy=private.spent,
        recall=private.recall,
        facts=lambda: {
            **facts,
            **rows,
            **unmeasured,
            **summary_facts(swarm.manifest, releasing, lessons),
            "training_seconds": round(learner.seconds, 3),
            "connections": workspace.store.states() | links.status(),
        },
        suspicion=suspicion_of(swarm.manifest, dataset, config.privacy.draws),
        floors=release_floor(config.privacy, dataset),
        personal=personal_of(swarm.manifest, dataset, workspace.store, config.train.personal),
        summaries=releasing,
        lessons=lessons,
        contributions=LocalStateStore(workspace.directory / CONTRIBUTIONS_FILE),
        held_out=dataset.holdout,
        addend=addend_of(swarm.manifest, dataset, releasing),
        hears=config.peer.hears,
    )
    linked = build_peer(workspace, learner, options, links)
    schedule = TrainerSchedule(linked.peer, learner, config.train.share, reread)
    return PeerService(linked, schedule, page=_page(config, linked))


def _page(config: TrainerConfig, linked: LinkedPeer) -> Page | None:
    """Make the page, where one is configured."""
    if not config.dashboard.listen:
        return None
    from learnae.dashboard.live import live_page  # noqa: PLC0415 - a server, which few have a use for
    from learnae.dashboard.parts import Offers  # noqa: PLC0415

    offers = Offers(bytes_per_hour=config.publish.bytes_per_hour)
    return live_page(config.dashboard, linked, config.mqtt, config.lan, offers)


def build_learner(
    train: TrainerTrainSection, manifest: Manifest, dataset: Dataset, clip: bool = False
) -> tuple[Learner, dict[str, Any]]:
    """Make the learner of the engine that is configured and installed, and what the status says of it.

    With ``clip`` it bounds each row's gradient, where rows have their own.
    """
    engine, rng = choose_engine(train.engine, train.precision), np.random.default_rng()
    norms = NormClip(is_on=clip)
    if engine == JAX:
        from trainer_node.learning.jax_learner import JaxLearner  # noqa: PLC0415 - half a megabyte, of use to few

        jax = JaxLearner.for_manifest(manifest, dataset, rng, train.precision, norms)
        warn_of_an_unseen_gpu(jax.device)
        return jax, {"engine": engine, "device": jax.device, "precision": train.precision}
    plain = NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng, norms
    )
    return plain, {"engine": engine, "device": "cpu", "precision": "float32"}


def local_steps(train: TrainerTrainSection, manifest: Manifest, rows: int) -> int:
    """Return the optimiser steps between two merges."""
    return math.ceil(train.epochs * rows / manifest.training.batch) if train.epochs else train.steps or ENDLESS


def first_steps(train: TrainerTrainSection, manifest: Manifest, rows: int) -> int:
    """Return the optimiser steps of the first cycles, as many as between any two merges of the manifest at least."""
    steps = math.ceil(train.first_epochs * rows / manifest.training.batch)
    return max(manifest.training.steps, steps) if steps else 0


def load_configured(config: TrainerConfig, manifest: Manifest) -> Dataset:
    """Load the rows of ``data.file``; raises ConfigurationError."""
    if not config.data.file:
        raise ConfigurationError("there is no data to train on", "give --data FILE, or set data.file")
    return load_dataset(config.data, manifest)
