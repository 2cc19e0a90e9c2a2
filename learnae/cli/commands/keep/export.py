"""``learnae export``: the swarm's model as a file that other programs read."""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.cli.output import print_fields, print_json
from learnae.cli.swarm_choice import choose_swarm
from learnae.errors import ConfigurationError
from learnae.models.keras_model import build_model, set_flat
from learnae.models.layers.normalisation import as_used
from learnae.runtime.observer import estimate_of, published_estimate
from learnae.swarm.manifest import Manifest
from learnae.swarm.model_card import card, shown_by, with_card
from learnae.system.atomic_files import check_target, write_atomic
from learnae.system.installation import how_to_install
from learnae.system.paths import peer_directory
from learnae.weights.codecs import Vector


def export(options: argparse.Namespace) -> int:
    """Write the consensus estimate of the swarm, or of one peer, in the format of the file's name."""
    swarm = choose_swarm(options.swarm)
    manifest = swarm.manifest
    writers: dict[str, Callable[[Manifest, Vector, Path], None]] = {
        ".safetensors": write_safetensors,
        ".keras": write_keras,
    }
    check_target(options.file, writers, "; .tflite is for learnae-agent export")
    weights = (
        estimate_of(peer_directory(options.peer), manifest) if options.peer else published_estimate(swarm.directory)
    )
    writers[options.file.suffix](manifest, weights, options.file)
    facts = card(manifest)
    fields = {"file": str(options.file), "parameters": manifest.model.count}
    if options.json:
        print_json({**fields, **facts})
    else:
        where = "the file's metadata" if options.file.suffix == ".safetensors" else shown_by(options.file)
        print_fields({**fields, **{name: facts[name] for name in ("swarm", "input", "output")}, "card": where})
    return 0


def write_safetensors(manifest: Manifest, weights: Vector, path: Path) -> None:
    """Write arrays named by layer and Keras' name, such as ``layer.0.kernel``, with the card as metadata."""
    if not _is_installed("safetensors"):
        raise ConfigurationError("safetensors is not installed", "pip install safetensors")
    from safetensors.numpy import save  # noqa: PLC0415 - only needed here

    arrays = _named(manifest, weights)
    facts = {**card(manifest), "model": manifest.config}
    metadata = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
    write_atomic(path, save(arrays, metadata))


def write_keras(manifest: Manifest, weights: Vector, path: Path) -> None:
    """Write a .keras file with the card in it, through Keras itself."""
    _need_keras()
    model = build_model(manifest.config)
    set_flat(model, weights)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.keras"  # Keras writes to a path only, and not at once
        model.save(file)
        write_atomic(path, with_card(file.read_bytes(), manifest))


def _named(manifest: Manifest, weights: Vector) -> dict[str, NDArray[Any]]:
    """Return the arrays by layer; of a model that only Keras can train, by Keras' paths."""
    if manifest.only_keras:
        _need_keras()
        model = build_model(manifest.config)
        set_flat(model, weights)
        return {weight.path: np.asarray(weight.value, np.float32) for weight in model.weights}
    definition = manifest.definition
    return {
        f"layer.{index}.{name}": np.ascontiguousarray(as_used(name, array))
        for index, (layer, own) in enumerate(zip(definition.layers, definition.split(weights), strict=True))
        for name, array in zip(layer.names, own, strict=True)
    }


def _need_keras() -> None:
    for name in ("keras", "jax"):
        if not _is_installed(name):
            remedy = f"{how_to_install('trainer')}, or export as .safetensors"
            raise ConfigurationError(f"{name} is not installed", remedy)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # its import has been blocked
        return False
