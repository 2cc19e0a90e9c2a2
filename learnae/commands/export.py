"""``learnae export``: the swarm's model as a file that other programs read."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from learnae.codecs import Vector
from learnae.commands.output import print_fields, print_json
from learnae.errors import ConfigurationError
from learnae.files import write_atomic
from learnae.home import find_swarm, open_manifest, peer_directory
from learnae.manifest import Manifest
from learnae.observer import Observer, estimate_of


def export(options: argparse.Namespace) -> int:
    """Write the consensus estimate of the swarm, or of one peer, in the format of the file's name."""
    directory = find_swarm(options.swarm)
    manifest = open_manifest(directory)
    writers: dict[str, Callable[[Manifest, Vector, Path], None]] = {
        ".safetensors": write_safetensors,
        ".keras": write_keras,
    }
    if options.file.suffix not in writers:
        raise ConfigurationError(f"cannot write {options.file}", f"end its name with {' or '.join(writers)}")
    if not options.file.resolve().parent.is_dir():
        raise ConfigurationError(f"cannot write {options.file}", "there is no such directory")
    if options.peer:
        weights = estimate_of(peer_directory(options.peer), manifest)
    else:
        observer = Observer(directory)
        observer.refresh()
        weights = observer.estimate()
    writers[options.file.suffix](manifest, weights, options.file)
    fields = {"file": str(options.file), "swarm": str(manifest.swarm), "parameters": manifest.model.count}
    print_json(fields) if options.json else print_fields(fields)
    return 0


def write_safetensors(manifest: Manifest, weights: Vector, path: Path) -> None:
    """Arrays by layer and Keras' name, such as ``layer.0.kernel``; the manifest's facts in the metadata."""
    if not _is_installed("safetensors"):
        raise ConfigurationError("safetensors is not installed", "pip install safetensors")
    from safetensors.numpy import save  # noqa: PLC0415 - only needed here

    arrays = {
        f"layer.{index}.{name}": np.ascontiguousarray(array)
        for index, (layer, own) in enumerate(zip(manifest.model.layers, manifest.model.split(weights), strict=True))
        for name, array in zip(layer.names, own, strict=True)
    }
    metadata = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "model": json.dumps(manifest.config),
        "loss": manifest.loss,
        "classes": json.dumps(manifest.classes),
        "features": json.dumps(manifest.features.to_fields() if manifest.features else None),
    }
    write_atomic(path, save(arrays, metadata))


def write_keras(manifest: Manifest, weights: Vector, path: Path) -> None:
    """A .keras file, through Keras itself."""
    for name in ("keras", "jax"):
        if not _is_installed(name):
            remedy = "pip install 'learnae[trainer]', or export as .safetensors"
            raise ConfigurationError(f"{name} is not installed", remedy)
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras  # noqa: PLC0415 - heavy

    model = keras.models.model_from_json(json.dumps(manifest.config))
    model.set_weights([array for layer in manifest.model.split(weights) for array in layer])
    model.save(path)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # somebody has blocked it
        return False
