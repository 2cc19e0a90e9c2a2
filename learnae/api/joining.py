"""``learnae.join``: from a swarm, or an invite code, to a peer that one's own program trains."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.lock import Lock
from learnae.adapters.local.state_store import LocalStateStore
from learnae.api.rows import dataset_of
from learnae.api.shared_learner import CallersLoss, ClaimedRows, SharedLearner
from learnae.api.shared_peer import SharedPeer
from learnae.basics.memory import memory_left
from learnae.config.loading import load_config
from learnae.config.privacy_section import PrivacySection
from learnae.config.sections import (
    ExchangeSection,
    IotaSection,
    IpfsSection,
    LanSection,
    MqttSection,
    PeerSection,
    PublishSection,
)
from learnae.errors import ConfigurationError, StateError
from learnae.membership.codes.invite_code import is_code, parse
from learnae.membership.policy import VOUCHED
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import evaluate
from learnae.peer.learning.guard import suspicion_of
from learnae.peer.peer import Options
from learnae.privacy.clipping import UpdateClip
from learnae.privacy.floors import Floors, ReleaseFloor
from learnae.protocol.bodies import Metrics
from learnae.protocol.identity import Identity
from learnae.runtime.costs import FOLLOWED, check_room, followed
from learnae.runtime.link_set import LinkSet
from learnae.runtime.linked_peer import build_peer
from learnae.runtime.links.connect import connect
from learnae.runtime.private.consent import KEYS, check_consent
from learnae.runtime.private.floors import release_floor
from learnae.runtime.private.summaries import addend_of, lessons_of, releasing_of, summary_facts
from learnae.runtime.publishing import LOCAL_SECONDS, publish_policy
from learnae.runtime.registrar import Registrar
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import Swarm, find_swarm
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import writing
from learnae.system.paths import CONTRIBUTIONS_FILE, KEY_FILE, LOCK_FILE, peer_directory
from learnae.system.private_files import make_private
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS

ROLE = "trainer"  # what it counts as for members: it has a trainer's resources
_TURN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ShareConfig:
    """The sections of a trainer's configuration that a peer of one's own program has, too."""

    peer: PeerSection = field(default_factory=PeerSection)
    privacy: PrivacySection = field(default_factory=PrivacySection)
    publish: PublishSection = field(default_factory=PublishSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    ipfs: IpfsSection = field(default_factory=IpfsSection)
    lan: LanSection = field(default_factory=LanSection)
    exchange: ExchangeSection = field(default_factory=ExchangeSection)
    iota: IotaSection = field(default_factory=IotaSection)


def join(
    swarm: str | os.PathLike[str] = "",
    *,
    name: str = "python",
    data: Any = None,
    holdout: float = 0.3,
    loss: Callable[[Any], object] | None = None,
    like: Any = None,
    config: str | os.PathLike[str] | None = None,
    settings: Mapping[str, object] | None = None,
    accept: Collection[str] = (),
    wait: float = 60.0,
) -> SharedPeer:
    """Become a member of a swarm with a training loop of one's own, and return the peer: see its ``share``.

    ``swarm`` is an invite code, or its id, its name, its directory or a copy of its ``manifest.cbor``; empty for the
    only one here. ``name`` is this peer's: who joins under it again goes on from what it has saved.

    ``data`` are rows and targets, as arrays (n, ...) and (n, ...) that fit the swarm's model, and stay here; the last
    ``holdout`` share of each class is held out, and weights are measured and judged on it. ``loss`` is in place of
    that, and for models of which the swarm knows the parameters alone: a function of weights, in the structure of
    ``like`` or of what is shared, that returns their loss on rows that were held out, or a dict of metrics as ``share``
    takes them. In swarms whose rule is ``trimmed`` or ``own`` the weights of others are then judged by it before they
    are merged. Without ``data`` and ``loss`` nothing of rows is known here but what ``share`` is told.

    Links, floors and how often is published are those of a trainer's configuration, ``trainer.toml`` in the usual
    places or the file ``config``; ``settings`` go before it: ``{"mqtt.broker": "mqtt://hub", "publish.every": 10.0}``.
    ``accept`` names what is refused without it: ``exact_frames``, ``raw_windows``, ``foreign_start``. At most ``wait``
    seconds are waited until this peer is let in and knows what the others do.

    Raises InUseError where another process has a peer of this name, ConfigurationError, ManifestError or ModelError for
    a swarm that cannot be joined so, and StateError where it is no member in time.
    """
    found, private = _configured(config, settings, accept)
    directory = peer_directory(name)
    if is_code(os.fspath(swarm)):
        here, found = _let_in(os.fspath(swarm), directory, found, wait)
    else:
        here = find_swarm(os.fspath(swarm))
    manifest = here.manifest
    if manifest.privacy.training or private.epsilon:
        raise ConfigurationError(
            f"updates in {manifest.name!r} are to be differentially private",
            "only Learnae's own trainers and agents can add that noise: trainer-node start",
        )
    check_consent(manifest, private)
    check_room(manifest, memory_left())
    _ask_in(here, directory)
    workspace = Workspace(here, directory, found.peer.history)
    links = LinkSet()
    try:
        rows = dataset_of(data, holdout, manifest) if data is not None else None
        if rows is not None and loss is not None:
            raise ConfigurationError("data and loss are both given", "leave one of them out")
        links = connect(workspace, found.mqtt, found.ipfs, found.exchange, found.iota, found.lan, private.inference)
        made = _composed(name, rows, loss, found, manifest, workspace, links)
        linked = build_peer(workspace, made.learner, made.options, links)
        peer = SharedPeer(linked, made.learner, made.note_samples, made.rows, made.loss, like)
    except BaseException:
        links.close()
        workspace.store.close()
        workspace.release()
        raise
    try:
        peer.begin(wait)
    except BaseException:
        peer.close()
        raise
    return peer


def _configured(
    config: str | os.PathLike[str] | None, settings: Mapping[str, object] | None, accept: Collection[str]
) -> tuple[ShareConfig, PrivacySection]:
    for key in settings or {}:
        if key.count(".") != 1:
            raise ConfigurationError(f"settings holds {key!r}", 'use names such as "mqtt.broker"')
    unknown = [key for key in ([accept] if isinstance(accept, str) else accept) if key not in KEYS]
    if unknown:
        raise ConfigurationError(f"accept holds {unknown[0]!r}", f"give {', '.join(KEYS)}, or some of them, in a list")
    found = load_config(ShareConfig, ROLE, Path(config) if config is not None else None, settings, others=True)
    given: dict[str, Any] = dict.fromkeys(accept, True)
    return found, replace(found.privacy, **given)


def _let_in(text: str, directory: Path, config: ShareConfig, wait: float) -> tuple[Swarm, ShareConfig]:
    """Ask the members whom a code names until this peer is one; return the swarm, and the links that lead there.

    Raises StateError where no member has let it in within ``wait`` seconds.
    """
    from learnae.runtime.admission.joining import Call  # noqa: PLC0415 - for codes alone
    from learnae.runtime.admission.reaching import links_of  # noqa: PLC0415 - as above

    code, deadline = parse(text), time.monotonic() + wait
    with writing(directory):
        make_private(directory)
    lock = Lock(directory / LOCK_FILE)
    try:
        identity = Identity.load_or_create(directory / KEY_FILE)
        mqtt, lan = config.mqtt, config.lan
        if not mqtt.broker and not lan.peers.strip():
            mqtt, found = links_of(code, MqttSection(prefix=mqtt.prefix), [], directory)
            lan = replace(lan, peers=found.peers)
        call = Call(mqtt, lan, code, identity, ROLE)
        try:
            while not call.applicant.is_in:
                call.applicant.turn()
                if time.monotonic() >= deadline:
                    raise StateError(f"{call.applicant.describe()} ({call.state()})", "call learnae.join again")
                time.sleep(_TURN_SECONDS)
            swarm = call.applicant.swarm
        finally:
            call.close()
    finally:
        lock.release()
    assert swarm is not None
    return swarm, replace(config, mqtt=mqtt, lan=lan)


def _ask_in(swarm: Swarm, directory: Path) -> None:
    """Let the peer in, if a key of this machine may; where members vouch, say that it wants to come in."""
    if not swarm.manifest.is_sealed:
        return
    with writing(directory):
        make_private(directory)
    identity = Identity.load_or_create(directory / KEY_FILE)
    with closing(LocalBlockStore(swarm.directory)) as store:
        registrar = Registrar(swarm.directory, swarm.manifest, store)
        if not registrar.let_in(identity, ROLE) and registrar.policy.kind == VOUCHED:
            registrar.ask(identity)
        registrar.announce()


@dataclass(frozen=True, slots=True)
class _Composed:
    learner: SharedLearner
    loss: CallersLoss | None
    options: Options
    note_samples: Callable[[int], None]
    rows: int


def _composed(
    name: str,
    rows: Dataset | None,
    function: Callable[[Any], object] | None,
    config: ShareConfig,
    manifest: Manifest,
    workspace: Workspace,
    links: LinkSet,
) -> _Composed:
    """Return the learner and the options of a peer on ``rows``: floors, clip and judges as trainers have them."""
    has_model = not manifest.only_keras
    loss = CallersLoss(function, lambda: learner) if function is not None else None
    measure = loss.measure if loss is not None else None
    if rows is not None and has_model and len(rows.holdout):
        measure = partial(_measured, manifest, rows)
    moments = manifest.definition.moments if has_model else NO_MOMENTS
    learner = SharedLearner(manifest.model.count, moments, measure)
    floors, note_samples = _floors(config.privacy, rows)
    releasing = releasing_of(manifest, workspace.directory, rows) if rows is not None else None
    lessons = None
    if not manifest.is_own_loop:
        lessons = lessons_of(manifest, rows if rows is not None else Dataset(manifest.model, manifest.objective, 1))
    count = len(rows.train) if rows is not None else 0
    options = Options(
        name,
        ROLE,
        config.peer.follow or followed(manifest, FOLLOWED[ROLE], memory_left()),
        steps=1,
        publish=publish_policy(
            config.publish, config.mqtt, config.ipfs, config.iota, config.lan, LOCAL_SECONDS[ROLE], metered=False
        ),
        rows=lambda: count,
        update_clip=UpdateClip() if config.privacy.clip else None,
        facts=lambda: {
            "engine": "of its owner's program",
            "training_rows": count,
            **({} if measure else {"unmeasured": "it is told no metrics"} if learner.told is None else {}),
            **summary_facts(manifest, releasing, lessons),
            "connections": workspace.store.states() | links.status(),
        },
        suspicion=suspicion_of(manifest, rows, config.privacy.draws) if rows is not None else None,
        floors=floors,
        summaries=releasing,
        lessons=lessons,
        contributions=LocalStateStore(workspace.directory / CONTRIBUTIONS_FILE),
        held_out=rows.holdout if rows is not None else None,
        addend=addend_of(manifest, rows, releasing),
        loss=loss,
        may_merge=lambda: learner.is_free,
    )
    return _Composed(learner, loss, options, note_samples, count)


def _measured(manifest: Manifest, rows: Dataset, weights: Vector) -> Metrics | None:
    held_out = rows.holdout
    return evaluate(manifest.definition, manifest.objective, weights, held_out.rows, held_out.targets)


def _floors(section: PrivacySection, rows: Dataset | None) -> tuple[ReleaseFloor, Callable[[int], None]]:
    """Return what holds updates back, and what tells it of rows that a loop has trained on."""
    if rows is not None:
        train = rows.train
        return release_floor(section, rows), lambda samples: train.draw(np.arange(samples))
    claimed = ClaimedRows(max(section.rows, section.draws))
    return ReleaseFloor(Floors(section.rows, section.draws, section.merge_first), claimed), claimed.draw
