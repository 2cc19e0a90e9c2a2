"""``learnae swarm create``."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.swarm.cost_note import check_affordable
from learnae.cli.commands.swarm.data_look import look_into
from learnae.cli.commands.swarm.definition import USUAL_MEMBERSHIP, read_definition, with_policies
from learnae.cli.commands.swarm.join import LABEL, check_vacant, join, mqtt_section
from learnae.cli.commands.swarm.model_file import SEEDED, read_model
from learnae.cli.output import columns_note, membership_note, membership_of, print_fields, print_json, privacy_note
from learnae.config.loading import user_config_directory
from learnae.errors import ConfigurationError, DataError, ManifestError
from learnae.ipld.fields import Fields
from learnae.models.graph import normalises_rows
from learnae.models.optimisers import RATES, USUAL, OptimiserPolicy
from learnae.privacy.policy import EACH
from learnae.runtime.admission.founding import found, owned
from learnae.runtime.private.policy import check_agreed
from learnae.swarm.features import MAX_CHANNELS, RAW_KIND, Features, read_features
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest
from learnae.swarm.own_loop import manifest_of, read_parameters
from learnae.swarm.presets import PRESETS, preset
from learnae.system.paths import MANIFEST_FILE, OWNER_FILE
from learnae.tables.forms import is_number
from learnae.tables.opening import check_readable, is_called_table, open_table
from learnae.weights.frames import FramePolicy

_TARGET = "label"  # of a table, unless trainers set data.label
_MAX_FEATURES_BYTES = 1 << 16
_ROLE = "trainer"
_USUAL_PEER = {"role": _ROLE, "name": None, "label": None, "config": None, "accept": ""}


def create(options: argparse.Namespace) -> int:
    """Create a swarm from a preset or a Keras model, and say how to join it."""
    if options.data or options.lan or options.start or options.broker:
        _check_peer(options)
    flags = {f"swarm.{name}": getattr(options, name) for name in ("preset", "loss", "name", "features")}
    flags["swarm.parameters"] = None if options.parameters is None else str(options.parameters)
    flags["swarm.model"] = None if options.model is None else str(options.model)
    flags["swarm.classes"] = None if options.classes is None else _names(options.classes)
    if options.columns is not None:
        flags["swarm.columns"] = _columns(options.columns)
    flags.update({"swarm.membership": options.membership, "swarm.votes": options.votes})
    flags["swarm.founders"] = options.founder or None
    flags.update({"optimiser.name": options.optimiser, "optimiser.learning_rate": options.learning_rate})
    values = read_definition(options, flags)
    manifest, blocks, start = _of_values(values)
    manifest = with_policies(manifest, values)
    check_agreed(manifest)
    if options.data:
        check_affordable(manifest, _ROLE)
        look_into(options.data, LABEL, manifest)  # refuses what could not be joined with, before there is a swarm
    membership = values["swarm"].get("membership", USUAL_MEMBERSHIP)
    founders, votes = values["swarm"].get("founders", ()), values["swarm"].get("votes", 0)
    summary = replace(manifest.privacy.summary, sharing=values["swarm"].get("summaries", EACH))
    owner, manifest = owned(manifest, membership, founders, votes, summary)
    swarm = found(manifest, owner, blocks, options.directory)
    facts = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "model": f"{manifest.model.count} parameters",
        "start": start,
        "directory": str(swarm.directory),
    }
    if options.json:
        trained = manifest.features is not None and not manifest.only_keras
        told = {"agents_train": trained, "only_keras": manifest.only_keras, "membership": membership_of(manifest)}
        told["privacy"] = manifest.privacy.to_fields()
        print_json({**facts, "columns": list(manifest.columns), **told})
    else:
        private = privacy_note(manifest) if manifest.privacy.training else {}
        agents = {"agents": _agents(manifest)}
        print_fields({**facts, **columns_note(manifest), **agents, **membership_note(manifest), **private})
        if owner:
            print(f"\nits owner's key is {swarm.directory / OWNER_FILE}: keep it, as in learnae backup")
        joined = swarm.directory if options.directory else manifest.swarm
        if options.data:
            print()
            return join(argparse.Namespace(**vars(options) | _USUAL_PEER, swarm=str(joined)))
        if manifest.is_own_loop:
            print(f"\nnext, in Python: learnae.join({str(joined)!r}, name=NAME)    (docs/api.md)")
            return 0
        print(f"\nnext: learnae join {joined} --name NAME --data FILE")
        elsewhere = f"learnae join {MANIFEST_FILE}, with a copy of the one in that directory"
        elsewhere = "the line that learnae invite says here" if owner else elsewhere
        print(f"on another machine: {elsewhere}")
    return 0


def _of_values(values: Mapping[str, Mapping[str, Any]]) -> tuple[Manifest, list[bytes], str]:
    """Return the manifest of what was asked for, the blocks of its starting weights, and what to say of these."""
    swarm = values["swarm"]
    if swarm.get("preset"):
        return _of_preset(swarm), [], SEEDED
    if swarm.get("parameters"):
        return (*_of_parameters(swarm), "the arrays in the file")
    return _of_model(values)


def _agents(manifest: Manifest) -> str:
    if manifest.is_own_loop:
        return f"none, and no trainers: {manifest.only_keras}"
    if manifest.features is None:
        return "none: the swarm has no --features of samples"
    return f"send summaries: {manifest.only_keras}" if manifest.only_keras else "can train it"


def _check_peer(options: argparse.Namespace) -> None:
    """Refuse before there is a swarm what could not join it; raises ConfigurationError or DataError."""
    if not options.data:
        raise ConfigurationError("--lan, --broker and --start are for a peer of this machine", "give --data FILE, too")
    if options.json:
        raise ConfigurationError("--json tells of the swarm alone", "leave out --data, then: learnae join --json")
    check_readable(options.data)
    mqtt_section(options)
    check_vacant(user_config_directory() / f"{_ROLE}.toml")


def _of_preset(swarm: Mapping[str, Any]) -> Manifest:
    """Return the preset's manifest, perhaps renamed."""
    manifest = preset(swarm["preset"], SystemClock().now())
    return replace(manifest, name=swarm.get("name") or manifest.name)


def _of_parameters(swarm: Mapping[str, Any]) -> tuple[Manifest, list[bytes]]:
    """Return the manifest of a model that members' own programs train, and the blocks of its starting weights."""
    path = Path(swarm["parameters"])
    return manifest_of(read_parameters(path), swarm.get("name") or path.stem, SystemClock().now())


def _of_model(values: Mapping[str, Mapping[str, Any]]) -> tuple[Manifest, list[bytes], str]:
    """Return the manifest of the model in a file, the blocks of its starting weights, and what to say of these."""
    swarm = values["swarm"]
    if not swarm.get("loss"):
        raise ConfigurationError("a model needs a loss", "give --loss, such as sparse_categorical_crossentropy")
    path = Path(swarm["model"])
    model = read_model(path)
    blocks = [] if model.weights is None else start_blocks(model.weights)
    columns = swarm.get("columns")
    manifest = Manifest(
        name=swarm.get("name") or path.stem,
        config=model.config,
        loss=swarm["loss"],
        created=SystemClock().now(),
        classes=tuple(swarm.get("classes", ())),
        columns=tuple(_columns(swarm["table"]) if columns is None and "table" in swarm else columns or ()),
        features=_read_features(values["features"]) if "features" in values else _features(swarm.get("features", "")),
        optimiser=OptimiserPolicy(USUAL, RATES[USUAL]),
        codec=_codec(model.config),
        outline=model.outline,
        start=start_links(blocks),
    )
    names, count = manifest.classes, manifest.class_count
    if names and (len(names) != count or len(set(names)) != count or "" in names):
        raise ConfigurationError(f"--classes {','.join(names)}", f"the model tells {count} classes apart: name each")
    return manifest, blocks, model.start


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _columns(text: str) -> list[str]:
    """Return the names of features: as they are given, or all in a table's header but the target's.

    Raises DataError.
    """
    if not is_called_table(text):
        return _names(text)
    names = [name for name in open_table(Path(text)).names if name != _TARGET]
    numbers = [name for name in names if is_number(name)]
    if numbers:  # every member of the swarm reads what is written here
        raise DataError(
            f"a column of {text} is called {numbers[0]}: its first line may be data",
            "begin the file with names, or give these: --columns A,B,…",
        )
    return names


def _codec(config: Mapping[str, Any]) -> FramePolicy:
    """Return exact codecs where the first layer normalises: its statistics are as large as the features.

    q8 would round 256 neighbours to 1/127 of the largest of them (adr 59); q4 would make variances negative.
    """
    if normalises_rows(config):
        return FramePolicy("f32", "f32")
    return FramePolicy(delta="q8") if "BatchNormalization" in str(config) else FramePolicy()


def _features(text: str) -> Features | None:
    """Return the features of a preset, or of a JSON file in the manifest's form; raises ManifestError.

    None for no text.
    """
    if not text or text in PRESETS:
        return preset(text, 0).features if text else None
    try:
        with Path(text).open("rb") as file:
            found = json.loads(file.read(_MAX_FEATURES_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(
            f"cannot read features from {text}: {error}", "give a preset's name or a JSON file"
        ) from error
    return _read_features(found)


def _read_features(found: Any) -> Features:
    """Read features in the manifest's form; raises ManifestError.

    A raw window needs no constants: its samples are then taken as they are.
    """
    features = Fields(found, "features", ManifestError)
    if features.value("kind") == RAW_KIND:
        channels = len(features.texts("channels", MAX_CHANNELS))
        features = Fields({"shift": [0.0] * channels, "scale": [1.0] * channels, **found}, "features", ManifestError)
    return read_features(features)
