"""``learnae.create_swarm``: a swarm of this machine, whose model is a preset's, Keras', or parameters alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnae.adapters.local.clock import SystemClock
from learnae.api.structure import arrays_by_name
from learnae.cli.commands.swarm.definition import MEMBERSHIPS, with_policies
from learnae.errors import ConfigurationError
from learnae.membership.policy import INVITE
from learnae.models.graph import normalises_rows
from learnae.models.keras_forms import in_own_form
from learnae.runtime.admission.founding import found, owned
from learnae.swarm.manifest import Manifest
from learnae.swarm.own_loop import manifest_of
from learnae.swarm.presets import preset as preset_named
from learnae.weights.codecs import EXACT, WHOLE
from learnae.weights.merge import RULES


def create_swarm(
    name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    model: Any = None,
    preset: str = "",
    loss: str = "",
    membership: str = INVITE,
    rule: str = "",
    codec: str = "",
    directory: str | os.PathLike[str] | None = None,
) -> str:
    """Create a swarm on this machine, and return what ``join`` takes: its id, or the ``directory`` that was named.

    Its model is one of three. ``parameters``, arrays by name such as a ``state_dict``, are what all start from, and all
    that others know of it: members' own programs train it. Arrays of integers stay with each member, and statistics
    such as BatchNorm's are averaged as weights are. ``model`` is a Keras model, or its configuration as a dict, that
    stock trainers and agents train, too, with a ``loss`` such as ``sparse_categorical_crossentropy``; all start from
    weights that are drawn from a seed. ``preset`` is one of ``learnae swarm create``, which has more to choose from.

    ``membership`` says who may speak: ``invite``, ``vouched`` or ``open``. ``rule`` is that of merging: ``trimmed`` for
    parameters alone, else what ``learnae swarm create`` asks for. ``codec`` is of frames, ``q8``; other members must
    accept ``f16`` and ``f32``, which Keras models that normalise first have.

    Raises ConfigurationError, ModelError or ManifestError.
    """
    if membership not in MEMBERSHIPS:
        raise ConfigurationError(f"membership is {membership!r}", f"use {', '.join(MEMBERSHIPS)}")
    manifest, blocks = defined(name, parameters, model, preset, loss, rule, codec)
    owner, manifest = owned(manifest, membership)
    swarm = found(manifest, owner, blocks, Path(directory) if directory is not None else None)
    return str(swarm.directory if directory is not None else manifest.swarm)


def defined(
    name: str, parameters: Mapping[str, Any] | None, model: Any, preset: str, loss: str, rule: str = "", codec: str = ""
) -> tuple[Manifest, list[bytes]]:
    """Return the manifest of an open swarm as ``create_swarm`` has it, and the blocks of its starting weights."""
    if not name.strip():
        raise ConfigurationError("a swarm without a name", "give one")
    given = [each for each in (parameters, model, preset or None) if each is not None]
    if len(given) != 1:
        raise ConfigurationError("a swarm is made from one of parameters, model and preset", "give one of them")
    for what, value, known in (("rule", rule or RULES[0], RULES), ("codec", codec or WHOLE[0], WHOLE)):
        if value not in known:
            raise ConfigurationError(f"{what} is {value!r}", f"use {', '.join(known)}")
    now, blocks = SystemClock().now(), list[bytes]()
    if parameters is not None:
        manifest, blocks = manifest_of(arrays_by_name(parameters), name, now)
    elif preset:
        manifest = replace(preset_named(preset, now), name=name)
    else:
        config = _config_of(model)
        manifest = Manifest(name, config, loss, created=now)
        codec = codec or (EXACT[0] if normalises_rows(config) else "")
    asked: dict[str, Mapping[str, Any]] = {"swarm": {"preset": preset}, "merge": {"rule": rule} if rule else {}}
    if codec:
        asked["codec"] = {"keyframe": codec, "delta": codec}
    return with_policies(manifest, asked), blocks


def _config_of(model: Any) -> Any:
    """Return the configuration of a Keras model, or the one that is given; raises ConfigurationError."""
    if hasattr(model, "to_json"):
        return in_own_form(json.loads(model.to_json()))
    if isinstance(model, Mapping):
        return in_own_form(dict(model))
    raise ConfigurationError(f"model is a {type(model).__name__}", "give a Keras model, or its configuration as a dict")
