"""``learnae swarm create``."""

import argparse
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.clock import SystemClock
from learnae.cli.commands.swarm.model_file import SEEDED, read_model
from learnae.cli.output import columns_note, print_fields, print_json
from learnae.errors import ConfigurationError, DataError, ManifestError
from learnae.ipld.cid import RAW
from learnae.ipld.fields import Fields
from learnae.models.graph import normalises_rows
from learnae.models.optimisers import RATES, USUAL, OptimiserPolicy
from learnae.swarm.directory import MANIFEST_FILE, create_named, create_swarm
from learnae.swarm.features import MAX_CHANNELS, RAW_KIND, Features, read_features
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import PRESETS, preset
from learnae.tables.numbers import is_number
from learnae.tables.opening import is_called_table, open_table
from learnae.weights.frames import FramePolicy

_TARGET = "label"  # of a table, unless trainers set data.label
_MAX_FEATURES_BYTES = 1 << 16
_OF_A_MODEL = ("loss", "optimiser", "learning_rate", "classes", "columns", "features")  # options


def create(options: argparse.Namespace) -> int:
    """Create a swarm from a preset or a Keras model, and say how to join it."""
    if options.preset:
        manifest, blocks, start = _of_preset(options), list[bytes](), SEEDED
    else:
        manifest, blocks, start = _of_model(options)
    swarm = create_swarm(manifest, options.directory) if options.directory else create_named(manifest)
    with closing(LocalBlockStore(swarm.directory)) as store:
        for block in blocks:
            store.put(RAW, block)
    facts = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "model": f"{manifest.model.count} parameters",
        "start": start,
        "directory": str(swarm.directory),
    }
    if options.json:
        trained = manifest.features is not None and not manifest.only_keras
        told = {"agents_train": trained, "only_keras": manifest.only_keras}
        print_json({**facts, "columns": list(manifest.columns), **told})
    else:
        agents = f"send summaries: {manifest.only_keras}" if manifest.only_keras else "can train it"
        if manifest.features is None:
            agents = "none: the swarm has no --features of samples"
        print_fields({**facts, **columns_note(manifest), "agents": agents})
        joined = swarm.directory if options.directory else manifest.swarm
        print(f"\nnext: learnae join {joined} --name NAME --data FILE")
        print(f"on another machine: learnae join {MANIFEST_FILE}, with a copy of the one in that directory")
    return 0


def _of_preset(options: argparse.Namespace) -> Manifest:
    """Return the preset's manifest, perhaps renamed. Raises ConfigurationError for flags that would change it."""
    if given := [f"--{name.replace('_', '-')}" for name in _OF_A_MODEL if getattr(options, name) is not None]:
        raise ConfigurationError(f"a preset takes no {', '.join(given)}", "leave that out, or give --model")
    manifest = preset(options.preset, SystemClock().now())
    return replace(manifest, name=options.name or manifest.name)


def _of_model(options: argparse.Namespace) -> tuple[Manifest, list[bytes], str]:
    """Return the manifest of the model in a file, the blocks of its starting weights, and what to say of these."""
    if not options.loss:
        raise ConfigurationError("a model needs a loss", "give --loss, such as sparse_categorical_crossentropy")
    model = read_model(options.model)
    blocks = [] if model.weights is None else start_blocks(model.weights)
    optimiser, rate = options.optimiser or USUAL, options.learning_rate
    manifest = Manifest(
        name=options.name or options.model.stem,
        config=model.config,
        loss=options.loss,
        created=SystemClock().now(),
        classes=_names(options.classes) if options.classes else (),
        columns=() if options.columns is None else _columns(options.columns),
        features=_features(options.features) if options.features else None,
        optimiser=OptimiserPolicy(optimiser, RATES[optimiser] if rate is None else rate),
        codec=_codec(model.config),
        outline=model.outline,
        start=start_links(blocks),
    )
    names, count = manifest.classes, manifest.class_count
    if names and (len(names) != count or len(set(names)) != count or "" in names):
        raise ConfigurationError(f"--classes {','.join(names)}", f"the model tells {count} classes apart: name each")
    return manifest, blocks, model.start


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _columns(text: str) -> tuple[str, ...]:
    """Return the names of features: as they are given, or all in a table's header but the target's.

    Raises DataError.
    """
    if not is_called_table(text):
        return _names(text)
    names = tuple(name for name in open_table(Path(text)).names if name != _TARGET)
    numbers = [name for name in names if is_number(name)]
    if numbers:  # every member of the swarm reads what is written here
        raise DataError(
            f"a column of {text} is called {numbers[0]}: its first line may be data",
            "begin the file with names, or give these: --columns A,B,…",
        )
    return names


def _codec(config: Mapping[str, Any]) -> FramePolicy:
    """Return exact codecs where the first layer normalises: its statistics are as large as the features.

    q8 would round 256 neighbours to 1/127 of the largest of them (adr 59).
    """
    return FramePolicy("f32", "f32") if normalises_rows(config) else FramePolicy()


def _features(text: str) -> Features | None:
    """Return the features of a preset, or of a JSON file in the manifest's form; raises ManifestError.

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
    features = Fields(found, "features", ManifestError)
    if features.value("kind") == RAW_KIND:
        channels = len(features.texts("channels", MAX_CHANNELS))
        features = Fields({"shift": [0.0] * channels, "scale": [1.0] * channels, **found}, "features", ManifestError)
    return read_features(features)
