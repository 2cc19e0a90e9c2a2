"""What a new swarm is to be: keys of a TOML file and flags, which win; each is a key of the manifest."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from learnae.config.loading import given_values
from learnae.config.places import Place, SwarmPlace
from learnae.errors import ConfigurationError
from learnae.ipld.fields import Fields
from learnae.membership.policy import INVITE, VOUCHED
from learnae.models.optimisers import RATES, OptimiserPolicy
from learnae.peer.learning.training import PRIVATE_STEPS
from learnae.privacy.policy import EACH, MASKED, SHARINGS, TrainingPrivacy
from learnae.privacy.spent import UNITS
from learnae.runtime.private.policy import private_optimiser
from learnae.samples.dp_statistics import layout_of
from learnae.swarm.manifest import OPEN, Manifest, TrainingPolicy
from learnae.weights.codecs import KEYFRAMES, NAMES, WHOLE
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import JUDGED, MEAN, MergePolicy
from learnae.weights.momentum import FREE, MOST

_USUAL_PRIVACY = {item.name: item.default for item in fields(TrainingPrivacy)}
# flags: the key, what argparse reads, and the help; a preset takes those of sections other than [swarm], and name
SETTINGS: dict[str, tuple[str, type, str]] = {
    "--seed": ("swarm.seed", int, "that starting weights are drawn from"),
    "--summaries": ("swarm.summaries", str, "of rows: each member's are seen (each), or totals alone (masked)"),
    "--batch": ("training.batch", int, "rows of an optimiser step"),
    "--steps": ("training.steps", int, "an agent's optimiser steps in one update"),
    "--momentum": ("optimiser.momentum", float, "of momentum"),
    "--beta-1": ("optimiser.beta_1", float, "of adam"),
    "--beta-2": ("optimiser.beta_2", float, "of adam"),
    "--adam-epsilon": ("optimiser.epsilon", float, "of adam"),
    "--merge-step": ("merge.step", float, "how far a merge goes, above 0 to 1"),
    "--merge-rule": (
        "merge.rule",
        str,
        "mean; judged (default, where it can be): what does badly on rows of everybody's kind is not merged; "
        "own: what does badly on own held-out rows; trimmed: of each weight the outer three eighths",
    ),
    "--merge-momentum": (
        "merge.momentum",
        float,
        f"of the way that merges have gone, 0 to {MOST}; beyond {FREE} (default; 0 with privacy.epsilon) it is bounded",
    ),
    "--half-life": ("merge.half_life", int, "ms after which a replica counts half"),
    "--keyframe-codec": ("codec.keyframe", str, f"codec of whole weights: {', '.join(KEYFRAMES)}"),
    "--codec": ("codec.delta", str, f"codec of what changed: {', '.join(NAMES)} (docs/tasks.md)"),
    "--keyframe-every": ("codec.every", int, "updates from one keyframe to the next, at most"),
    "--horizon": ("limits.horizon", int, "ms of silence after which a peer is forgotten"),
    "--skew": ("limits.skew", int, "ms that clocks may be ahead"),
    "--interval": ("limits.interval", int, "ms between two messages of a peer, at least"),
    "--epsilon": ("privacy.epsilon", float, "differential privacy of updates: smaller is stricter, 1 to 8 is usual"),
    "--delta": ("privacy.delta", float, f"of differential privacy (default: {_USUAL_PRIVACY['delta']})"),
    "--protect": ("privacy.protects", str, f"what epsilon is counted for: {' or '.join(UNITS)}"),
    "--releases": (
        "privacy.releases",
        int,
        f"noisy steps that a row takes part in (default: {_USUAL_PRIVACY['releases']})",
    ),
    "--partitions": (
        "privacy.partitions",
        int,
        f"of the rows, one for each noisy step in turn (default: {_USUAL_PRIVACY['partitions']})",
    ),
    "--clip": ("privacy.clip", float, f"norm of a row's gradient, at most (default: {_USUAL_PRIVACY['clip']})"),
}
USUAL_MEMBERSHIP = INVITE
MEMBERSHIPS = (INVITE, VOUCHED, OPEN)
_OF_PARAMETERS = ("parameters", "name", "membership", "founders", "votes")
_OF_A_PRESET = ("preset", "name", "seed", "membership", "founders", "votes", "summaries")


@dataclass(frozen=True, slots=True)
class SwarmKeys:
    """``[swarm]``: a ``preset``, or a Keras ``model`` in a file and what it needs."""

    preset: str = ""
    model: Place = ""
    parameters: Place = ""  # in an .npz file, of a model that members' own programs train
    name: str = ""
    loss: str = ""
    seed: int = 0
    classes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    table: Place = ""  # whose columns they are
    features: SwarmPlace = ""  # a preset's name, or a file
    membership: str = USUAL_MEMBERSHIP
    founders: list[str] = field(default_factory=list)  # members from the beginning besides the owner's key
    votes: int = 0  # that remove a member; 0 for half of the founders, at most three
    summaries: str = EACH


@dataclass(frozen=True, slots=True)
class LimitKeys:
    """``[limits]``: those that are a swarm's own."""

    horizon: int
    skew: int
    interval: int


@dataclass(frozen=True, slots=True)
class FeatureKeys:
    """``[features]``: in the manifest's form."""

    kind: str
    channels: list[str]
    rate: float
    window: int
    hop: int
    shift: list[float]
    scale: list[float]
    ahead: int


@dataclass(frozen=True, slots=True)
class Definition:
    """All sections."""

    swarm: SwarmKeys
    training: TrainingPolicy
    optimiser: OptimiserPolicy
    merge: MergePolicy
    codec: FramePolicy
    limits: LimitKeys
    features: FeatureKeys
    privacy: TrainingPrivacy


def read_definition(options: argparse.Namespace, flags: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return what the file and the flags say, by section and key; raises ConfigurationError."""
    more = {key: getattr(options, flag.strip("-").replace("-", "_")) for flag, (key, _, _) in SETTINGS.items()}
    values = given_values(Definition, options.file, {**flags, **more})
    swarm = values.setdefault("swarm", {})
    for name in ("classes", "columns", "founders"):
        if not all(isinstance(text, str) for text in swarm.get(name, [])):
            raise ConfigurationError(f"swarm.{name} holds what is no text", 'write names: ["a", "b"]')
    origins = [key for key in ("preset", "model", "parameters") if swarm.get(key)]
    if len(origins) != 1:
        raise ConfigurationError(
            "a swarm is made from a preset or from a model" + (", not both" if origins else ""),
            "give --preset or --model, or one of them in the file of --from; --parameters for a program of your own",
        )
    _check_membership(swarm)
    if "features" in swarm and "features" in values:
        raise ConfigurationError("swarm.features and [features] are both given", "leave one of them out")
    if swarm.get("parameters"):
        _check_own_loop(values)
    if swarm.get("preset") and (
        given := [key for key in swarm if key not in _OF_A_PRESET] + ["features"] * ("features" in values)
    ):
        shown = ", ".join(f"--{key}" for key in sorted(given, key=list(SwarmKeys.__dataclass_fields__).index))
        raise ConfigurationError(f"a preset takes no {shown}", "leave that out, or give --model")
    return values


def _check_own_loop(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ConfigurationError for what says how a model is trained that members' own programs train."""
    given = [key for key in values["swarm"] if key not in _OF_PARAMETERS]
    given += [section for section in ("training", "optimiser", "features", "privacy") if values.get(section)]
    if given:
        raise ConfigurationError(
            f"--parameters and {given[0]}", "leave that out: members' own programs train the model as they like"
        )


def _check_membership(swarm: Mapping[str, Any]) -> None:
    membership = swarm.get("membership", USUAL_MEMBERSHIP)
    if membership not in MEMBERSHIPS:
        raise ConfigurationError(f"swarm.membership is {membership!r}", f"use {', '.join(MEMBERSHIPS)}")
    if membership == OPEN and swarm.get("founders"):
        raise ConfigurationError("swarm.founders of an open swarm", "leave them out: all who reach it are members")
    if membership == OPEN and swarm.get("votes"):
        raise ConfigurationError("swarm.votes of an open swarm", "leave it out: no member is ever removed from one")
    summaries = swarm.get("summaries", EACH)
    if summaries not in SHARINGS:
        raise ConfigurationError(f"swarm.summaries is {summaries!r}", f"use {', '.join(SHARINGS)}")
    if membership == OPEN and summaries == MASKED:
        raise ConfigurationError(
            "masked summaries in an open swarm, where one program may be all members of a sum but one",
            f"let members be invited (--membership {INVITE}), or let each summary be seen (--summaries {EACH})",
        )


def with_policies(manifest: Manifest, values: Mapping[str, Mapping[str, Any]]) -> Manifest:
    """Return ``manifest`` with the policies that are given; another optimiser has its own usual learning rate.

    With differential privacy, what is usual is another: Adam, few steps, and windows that do not overlap for a preset.
    Replicas are judged where each member's summary can tell of its classes, unless the mean is asked for. Merges have
    momentum, as far as that needs no bound.
    """
    optimiser, rates = dict(values.get("optimiser", {})), dict(RATES)
    privacy = _privacy(values.get("privacy", {}))
    if privacy:
        usual = private_optimiser(manifest)
        rates[usual.name] = usual.learning_rate
        manifest = _as_private(manifest, is_preset=bool(values["swarm"].get("preset")))
        if not {"name", "learning_rate"} & optimiser.keys():
            optimiser |= {"name": usual.name, "learning_rate": usual.learning_rate}
    can_judge = bool(manifest.class_count and not manifest.only_keras and layout_of(manifest))
    is_seen = values["swarm"].get("summaries", EACH) == EACH
    rule = JUDGED if can_judge and is_seen and not privacy else MEAN  # noise in weights: not measured
    usual_merge = {"rule": rule, "momentum": 0.0 if privacy else FREE}
    if manifest.is_own_loop:  # momentum was measured with peers' own training alone
        usual_merge = {}
    codec = replace(manifest.codec, **values.get("codec", {}))
    if codec.delta in NAMES and codec.delta not in WHOLE and "BatchNormalization" in str(manifest.config):
        raise ConfigurationError(
            f"codec.delta {codec.delta} for a model with BatchNormalization, whose variances it would make negative",
            f"use {', '.join(WHOLE)}, or LayerNormalization",
        )
    name = optimiser.get("name", manifest.optimiser.name)
    if name != manifest.optimiser.name and name in rates:
        optimiser.setdefault("learning_rate", rates[name])
    return replace(
        manifest,
        seed=values["swarm"].get("seed", manifest.seed),
        training=replace(manifest.training, **values.get("training", {})),
        optimiser=replace(manifest.optimiser, **optimiser),
        merge=replace(manifest.merge, **{**usual_merge, **values.get("merge", {})}),
        codec=codec,
        limits=replace(manifest.limits, **values.get("limits", {})),
        privacy=replace(manifest.privacy, training=privacy),
    )


def _privacy(given: Mapping[str, Any]) -> TrainingPrivacy | None:
    """Return what ``[privacy]`` says, None if it says nothing; raises ConfigurationError."""
    if not given:
        return None
    if "epsilon" not in given:
        raise ConfigurationError(f"privacy.{next(iter(given))} without privacy.epsilon", "give --epsilon, such as 4")
    return TrainingPrivacy.from_fields(Fields({**_USUAL_PRIVACY, **given}, "privacy", ConfigurationError))


def _as_private(manifest: Manifest, is_preset: bool) -> Manifest:
    features, steps = manifest.features, min(PRIVATE_STEPS, manifest.training.steps)
    if is_preset and features:  # else a reading is in several rows, and its noise is that much larger
        features = replace(features, hop=features.span)
    codec = replace(manifest.codec, delta="q8") if manifest.codec.delta == "q4" else manifest.codec  # as measured
    return replace(manifest, features=features, training=replace(manifest.training, steps=steps), codec=codec)
