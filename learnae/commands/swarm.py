"""``learnae swarm create`` and ``learnae join``."""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

from learnae.adapters.machine import SystemClock
from learnae.commands.output import print_fields, print_json
from learnae.config import user_config_directory
from learnae.errors import ConfigurationError, ModelError
from learnae.files import create_once
from learnae.home import KEY_FILE, create_swarm, find_swarm, open_manifest, peer_directory
from learnae.identity import Identity, peer_name
from learnae.manifest import Manifest
from learnae.models.optimisers import OptimiserPolicy
from learnae.presets import preset

_MAX_CONFIG_BYTES = 1 << 20


def create(options: argparse.Namespace) -> int:
    """Create a swarm from a preset or a Keras model, and say how to join it."""
    manifest = _manifest(options)
    directory = create_swarm(manifest, options.directory)
    fields = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "model": f"{manifest.model.count} parameters",
        "directory": str(directory),
    }
    if options.json:
        print_json(fields)
    else:
        print_fields(fields)
        print(f"\nnext: learnae join {directory if options.directory else manifest.swarm} --name NAME --data FILE")
    return 0


def join(options: argparse.Namespace) -> int:
    """Make a peer's key and configuration."""
    directory = find_swarm(options.swarm).resolve()
    name = options.name or options.role
    config = options.config or user_config_directory() / f"{options.role}.toml"
    if config.exists():
        raise ConfigurationError(f"{config} exists", "give --config FILE for another peer, or edit that file")
    identity = Identity.load_or_create(peer_directory(name) / KEY_FILE)
    create_once(config, _configuration(options, name, directory).encode())
    program = "trainer-node start" if options.role == "trainer" else "learnae-agent run"
    command = f"{program} --config {config}" if options.config else program
    fields = {
        "peer": peer_name(identity.author),
        "name": name,
        "swarm": str(open_manifest(directory).swarm),
        "configuration": str(config),
        "start": command,
    }
    if options.json:
        print_json(fields)
    else:
        print_fields(fields)
    return 0


def _configuration(options: argparse.Namespace, name: str, directory: Path) -> str:
    section = "data" if options.role == "trainer" else "source"
    file = str(options.data.resolve()) if options.data else ""
    data = f"file = {_toml(file)}" if file else '# file = "..."'
    return f"[peer]\nname = {_toml(name)}\n\n[swarm]\nid = {_toml(str(directory))}\n\n[{section}]\n{data}\n"


def _toml(text: str) -> str:
    """A TOML string: as in JSON, but for what JSON writes as surrogate pairs."""
    return json.dumps(text, ensure_ascii=False)


def _manifest(options: argparse.Namespace) -> Manifest:
    now = SystemClock().now()
    if options.preset:
        return preset(options.preset, now)
    if not options.loss:
        raise ConfigurationError("a model needs a loss", "give --loss, such as sparse_categorical_crossentropy")
    return Manifest(
        name=options.name or options.model.stem,
        config=_model_config(options.model),
        loss=options.loss,
        created=now,
        classes=tuple(options.classes.split(",")) if options.classes else (),
        optimiser=OptimiserPolicy(options.optimiser, options.learning_rate),
    )


def _model_config(path: Path) -> Any:
    """The configuration in a Keras JSON or .keras file; weights in the file are not used."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        if len(data) > _MAX_CONFIG_BYTES:
            raise ModelError(f"the configuration in {path} is too large", f"at most {_MAX_CONFIG_BYTES} bytes are read")
        return json.loads(data)
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(f"cannot read {path}: {error}", "give model.to_json() or a .keras file") from error
