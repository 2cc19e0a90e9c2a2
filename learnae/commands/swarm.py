"""``learnae swarm create`` and ``learnae join``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnae.adapters.local import LocalBlockStore
from learnae.adapters.machine import SystemClock
from learnae.cid import RAW, Cid
from learnae.commands.model_file import SEEDED, read_model
from learnae.commands.output import print_fields, print_json
from learnae.config import user_config_directory
from learnae.errors import ConfigurationError, DataError, ManifestError
from learnae.features import MAX_CHANNELS, RAW_KIND, Features, read_features
from learnae.fields import Fields
from learnae.files import create_once
from learnae.frames import FramePolicy
from learnae.headers import CSV, PARQUET, column_names, is_number
from learnae.home import (
    KEY_FILE,
    MANIFEST_FILE,
    STATE_FILE,
    create_named,
    create_swarm,
    find_swarm,
    open_manifest,
    peer_directory,
)
from learnae.identity import Identity, peer_name
from learnae.manifest import Manifest
from learnae.models.normalising import normalises_rows
from learnae.models.optimisers import RATES, USUAL, OptimiserPolicy
from learnae.presets import PRESETS, preset
from learnae.recordings import check_readable
from learnae.starting import start_blocks, start_links
from learnae.state import PeerState
from learnae.wording import shown

_FOR_MODELS = ("loss", "optimiser", "learning_rate", "classes", "columns", "features")
_TARGET = "label"  # of a table, unless trainers set data.label
_MAX_FEATURES_BYTES = 1 << 16
_NO_DATA = {
    "trainer": '# file = "data.npz"    # or .csv, .csv.gz, .parquet: docs/tasks.md',
    "agent": '# kind = "hwmon"         # or bridge, mqtt, iio: docs/agent.md\n# file = "motion.npz"    # a recording',
}


def create(options: argparse.Namespace) -> int:
    """Create a swarm from a preset or a Keras model, and say how to join it."""
    manifest, blocks, start = _manifest(options)
    directory = create_swarm(manifest, options.directory) if options.directory else create_named(manifest)
    store = LocalBlockStore(directory)
    for block in blocks:
        store.put(RAW, block)
    fields = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "model": f"{manifest.model.count} parameters",
        "start": start,
        "directory": str(directory),
    }
    if options.json:
        trained = manifest.features is not None and not manifest.only_keras
        told = {"agents_train": trained, "only_keras": manifest.only_keras}
        print_json({**fields, "columns": list(manifest.columns), **told})
    else:
        print_fields({**fields, **_told_columns(manifest), "agents": _agents(manifest)})
        print(f"\nnext: learnae join {directory if options.directory else manifest.swarm} --name NAME --data FILE")
        print(f"on another machine: learnae join {MANIFEST_FILE}, with a copy of the one in that directory")
    return 0


def _told_columns(manifest: Manifest) -> dict[str, str]:
    """What people must know of their tables' columns."""
    if manifest.features:
        return {}
    return {"columns": shown(manifest.columns) or "not named: all tables must have the same, in the same order"}


def _agents(manifest: Manifest) -> str:
    """What agents can do in the swarm."""
    if manifest.features is None:
        return "none: the swarm has no --features of samples"
    return f"send summaries: {manifest.only_keras}" if manifest.only_keras else "can train it"


def join(options: argparse.Namespace) -> int:
    """Make a peer's key and configuration."""
    directory = find_swarm(options.swarm).resolve()
    manifest = open_manifest(directory)
    if options.role == "agent" and manifest.features is None:
        raise ConfigurationError(f"swarm {manifest.name!r} defines no features", "only trainers can be members of it")
    name = options.name or options.role
    config = options.config or user_config_directory() / f"{options.role}.toml"
    taken = ConfigurationError(f"{config} exists", "for another peer give --config FILE and --name, or edit that file")
    if config.exists():
        raise taken
    if options.data:
        check_readable(options.data)
    _check_place(peer_directory(name), manifest.swarm)
    text = _configuration(options, name, directory)
    identity = Identity.load_or_create(peer_directory(name) / KEY_FILE)
    if not create_once(config, text.encode()):
        raise taken
    program = "trainer-node start" if options.role == "trainer" else "learnae-agent run"
    command = f"{program} --config {config}" if options.config else program
    fields = {
        "peer": peer_name(identity.author),
        "name": name,
        "swarm": str(manifest.swarm),
        "configuration": str(config),
        "start": command,
    }
    if options.json:
        print_json({**fields, "columns": list(manifest.columns)})
    else:
        print_fields({**fields, **_told_columns(manifest)})
        if not options.data:
            what = "[data] file" if options.role == "trainer" else "[source], see docs/agent.md"
            print(f"\nfirst set {what}, in that configuration")
    return 0


def _check_place(directory: Path, swarm: Cid) -> None:
    """Raise ConfigurationError if the peer of ``directory`` has learnt in another swarm than ``swarm``."""
    try:
        state = PeerState.read(directory / STATE_FILE)
    except OSError:  # it has not run yet
        return
    if state.swarm != swarm:
        raise ConfigurationError(f"peer {directory.name!r} is in swarm {state.swarm}", "give this one another --name")


def _configuration(options: argparse.Namespace, name: str, directory: Path) -> str:
    section = "data" if options.role == "trainer" else "source"
    file = str(options.data.resolve()) if options.data else ""
    data = f"file = {_toml(file)}" if file else _NO_DATA[options.role]
    return f"[peer]\nname = {_toml(name)}\n\n[swarm]\nid = {_toml(str(directory))}\n\n[{section}]\n{data}\n"


def _toml(text: str) -> str:
    """A TOML string: as in JSON, but for what JSON writes as surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{text!r} is not UTF-8, as a configuration is", "rename it") from error
    return json.dumps(text, ensure_ascii=False)


def _manifest(options: argparse.Namespace) -> tuple[Manifest, list[bytes], str]:
    """The swarm's definition, the blocks of its starting weights if there are any, and what to say of these."""
    now = SystemClock().now()
    if options.preset:
        _check_unchanged(options)
        manifest = preset(options.preset, now)
        return replace(manifest, name=options.name or manifest.name), [], SEEDED
    if not options.loss:
        raise ConfigurationError("a model needs a loss", "give --loss, such as sparse_categorical_crossentropy")
    model = read_model(options.model)
    blocks = [] if model.weights is None else start_blocks(model.weights)
    manifest = Manifest(
        name=options.name or options.model.stem,
        config=model.config,
        loss=options.loss,
        created=now,
        classes=_names(options.classes) if options.classes else (),
        columns=() if options.columns is None else _columns(options.columns),
        features=_features(options.features) if options.features else None,
        optimiser=_optimiser(options),
        codec=_codec(model.config),
        outline=model.outline,
        start=start_links(blocks),
    )
    _check_classes(manifest)
    return manifest, blocks, model.start


def _optimiser(options: argparse.Namespace) -> OptimiserPolicy:
    name = options.optimiser or USUAL
    return OptimiserPolicy(name, RATES[name] if options.learning_rate is None else options.learning_rate)


def _check_unchanged(options: argparse.Namespace) -> None:
    """A preset is as it is: what would change it is for a model."""
    given = [name for name in _FOR_MODELS if getattr(options, name) is not None]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigurationError(f"a preset takes no {flags}", "leave that out, or give --model")


def _check_classes(manifest: Manifest) -> None:
    names, count = manifest.classes, manifest.class_count
    if names and (len(names) != count or len(set(names)) != count or "" in names):
        raise ConfigurationError(f"--classes {','.join(names)}", f"the model tells {count} classes apart: name each")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _columns(text: str) -> tuple[str, ...]:
    """The names of features: as they are given, or all in a table's header but the target's. Raises DataError."""
    if not text.endswith((*CSV, *PARQUET)):
        return _names(text)
    names = tuple(name for name in column_names(Path(text)) if name != _TARGET)
    numbers = [name for name in names if is_number(name)]
    if numbers:  # every member of the swarm reads what is written here
        raise DataError(
            f"a column of {text} is called {numbers[0]}: its first line may be data",
            "begin the file with names, or give these: --columns A,B,…",
        )
    return names


def _codec(config: Mapping[str, Any]) -> FramePolicy:
    """Exact where the first layer normalises: its statistics are as large as the features, and q8 rounds 256
    neighbours to 1/127 of the largest of them (adr 59)."""
    return FramePolicy("f32", "f32") if normalises_rows(config) else FramePolicy()


def _features(text: str) -> Features | None:
    """Those of a preset, or of a JSON file in the manifest's form; raises ManifestError.

    A raw window in a file needs no constants: its samples are then taken as they are.
    """
    if text in PRESETS:
        return preset(text, 0).features
    try:
        with Path(text).open("rb") as file:
            found = json.loads(file.read(_MAX_FEATURES_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(
            f"cannot read features from {text}: {error}", "give a preset's name or a JSON file"
        ) from error
    fields = Fields(found, "features", ManifestError)
    if fields.value("kind") == RAW_KIND:
        channels = len(fields.texts("channels", MAX_CHANNELS))
        fields = Fields({"shift": [0.0] * channels, "scale": [1.0] * channels, **found}, "features", ManifestError)
    return read_features(fields)
