"""What a new swarm is to be: keys of a TOML file and flags, which win; each is a key of the manifest."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from learnae.config.loading import given_values
from learnae.config.places import Place, SwarmPlace
from learnae.errors import ConfigurationError
from learnae.membership.policy import INVITE, VOUCHED
from learnae.models.optimisers import RATES, OptimiserPolicy
from learnae.privacy.policy import EACH, MASKED, SHARINGS
from learnae.swarm.manifest import OPEN, Manifest, TrainingPolicy
from learnae.weights.frames import FramePolicy
from learnae.weights.merge import MergePolicy

# flags: the key, what argparse reads, and the help; a preset takes those of sections other than [swarm], and name
SETTINGS: dict[str, tuple[str, type, str]] = {
    "--seed": ("swarm.seed", int, "that starting weights are drawn from"),
    "--summaries": ("swarm.summaries", str, "of rows: each member's are seen (each), or totals alone (masked)"),
    "--batch": ("training.batch", int, "rows of an optimiser step"),
    "--steps": ("training.steps", int, "an agent's optimiser steps in one update"),
    "--momentum": ("optimiser.momentum", float, "of momentum"),
    "--beta-1": ("optimiser.beta_1", float, "of adam"),
    "--beta-2": ("optimiser.beta_2", float, "of adam"),
    "--epsilon": ("optimiser.epsilon", float, "of adam"),
    "--merge-step": ("merge.step", float, "how far a merge goes, above 0 to 1"),
    "--half-life": ("merge.half_life", int, "ms after which a replica counts half"),
    "--keyframe": ("codec.keyframe", str, "codec of whole weights: f32, f16, q8"),
    "--delta": ("codec.delta", str, "codec of what changed"),
    "--keyframe-every": ("codec.every", int, "updates from one keyframe to the next, at most"),
    "--horizon": ("limits.horizon", int, "ms of silence after which a peer is forgotten"),
    "--skew": ("limits.skew", int, "ms that clocks may be ahead"),
    "--interval": ("limits.interval", int, "ms between two messages of a peer, at least"),
}
USUAL_MEMBERSHIP = INVITE
MEMBERSHIPS = (INVITE, VOUCHED, OPEN)
_OF_A_PRESET = ("preset", "name", "seed", "membership", "votes", "summaries")


@dataclass(frozen=True, slots=True)
class SwarmKeys:
    """``[swarm]``: a ``preset``, or a Keras ``model`` in a file and what it needs."""

    preset: str = ""
    model: Place = ""
    name: str = ""
    loss: str = ""
    seed: int = 0
    classes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    table: Place = ""  # whose columns they are
    features: SwarmPlace = ""  # a preset's name, or a file
    membership: str = USUAL_MEMBERSHIP
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


def read_definition(options: argparse.Namespace, flags: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Return what the file and the flags say, by section and key; raises ConfigurationError."""
    more = {key: getattr(options, flag.strip("-").replace("-", "_")) for flag, (key, _, _) in SETTINGS.items()}
    values = given_values(Definition, options.file, {**flags, **more})
    swarm = values.setdefault("swarm", {})
    for name in ("classes", "columns"):
        if not all(isinstance(text, str) for text in swarm.get(name, [])):
            raise ConfigurationError(f"swarm.{name} holds what is no text", 'write names: ["a", "b"]')
    if bool(swarm.get("preset")) == bool(swarm.get("model")):
        raise ConfigurationError(
            "a swarm is made from a preset or from a model" + (", not both" if swarm.get("model") else ""),
            "give --preset or --model, or one of them in the file of --from",
        )
    _check_membership(swarm)
    if "features" in swarm and "features" in values:
        raise ConfigurationError("swarm.features and [features] are both given", "leave one of them out")
    if swarm.get("preset") and (
        given := [key for key in swarm if key not in _OF_A_PRESET] + ["features"] * ("features" in values)
    ):
        shown = ", ".join(f"--{key}" for key in sorted(given, key=list(SwarmKeys.__dataclass_fields__).index))
        raise ConfigurationError(f"a preset takes no {shown}", "leave that out, or give --model")
    return values


def _check_membership(swarm: Mapping[str, Any]) -> None:
    membership = swarm.get("membership", USUAL_MEMBERSHIP)
    if membership not in MEMBERSHIPS:
        raise ConfigurationError(f"swarm.membership is {membership!r}", f"use {', '.join(MEMBERSHIPS)}")
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
    """Return ``manifest`` with the policies that are given; another optimiser has its own usual learning rate."""
    optimiser = dict(values.get("optimiser", {}))
    name = optimiser.get("name", manifest.optimiser.name)
    if name != manifest.optimiser.name and name in RATES:
        optimiser.setdefault("learning_rate", RATES[name])
    return replace(
        manifest,
        seed=values["swarm"].get("seed", manifest.seed),
        training=replace(manifest.training, **values.get("training", {})),
        optimiser=replace(manifest.optimiser, **optimiser),
        merge=replace(manifest.merge, **values.get("merge", {})),
        codec=replace(manifest.codec, **values.get("codec", {})),
        limits=replace(manifest.limits, **values.get("limits", {})),
    )
