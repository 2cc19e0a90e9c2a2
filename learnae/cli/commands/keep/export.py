"""``learnae export``: the swarm's model as a file that other programs read."""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.cli.estimate_choice import choose_estimate
from learnae.cli.output import print_fields, print_json
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm
from learnae.errors import ConfigurationError
from learnae.models.layers.normalisation import as_used
from learnae.peer.learning.versions import PERSONAL
from learnae.runtime.observer import published_spent
from learnae.swarm.manifest import Manifest
from learnae.swarm.model_card import card, shown_by, with_card
from learnae.swarm.predictor import keras_model
from learnae.system.atomic_files import check_target, write_atomic
from learnae.weights.codecs import Vector

_OTHERWISE = ", or export as .safetensors"


def export(options: argparse.Namespace) -> int:
    """Write the estimate of the swarm, or of one peer, or a version, in the format of the file's name."""
    swarm = choose_swarm(options.swarm)
    manifest = swarm.manifest
    writers = {".safetensors": write_safetensors, ".keras": write_keras}
    check_target(options.file, writers, "; .tflite is for learnae-agent export")
    with progress("taking in what is published"):
        estimate, _ = choose_estimate(swarm, options.peer, options.version)
        facts = card(manifest, published_spent(swarm.directory), options.version == PERSONAL)
    with progress(f"writing {options.file.name}"):
        writers[options.file.suffix](manifest, estimate.vector, options.file, facts)
    fields = {"file": str(options.file), "parameters": manifest.model.count, "published": estimate.age()}
    if options.json:
        print_json({**fields, **facts})
    else:
        where = "the file's metadata" if options.file.suffix == ".safetensors" else shown_by(options.file)
        print_fields({**fields, **{name: facts[name] for name in ("swarm", "input", "output")}, "card": where})
    return 0


def write_safetensors(manifest: Manifest, weights: Vector, path: Path, facts: Mapping[str, Any]) -> None:
    """Write arrays named by layer and Keras' name, such as ``layer.0.kernel``, with the card ``facts`` as metadata."""
    try:
        from safetensors.numpy import save  # noqa: PLC0415 - only needed here
    except ImportError as error:
        raise ConfigurationError("safetensors is not installed", "pip install safetensors") from error
    arrays = _named(manifest, weights)
    said = {**facts, "model": manifest.config}
    metadata = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in said.items()}
    write_atomic(path, save(arrays, metadata))


def write_keras(manifest: Manifest, weights: Vector, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a .keras file with the card ``facts`` in it, through Keras itself."""
    model = keras_model(manifest, weights, _OTHERWISE)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.keras"  # Keras writes to a path only, and not at once
        model.save(file)
        write_atomic(path, with_card(file.read_bytes(), facts))


def _named(manifest: Manifest, weights: Vector) -> dict[str, NDArray[Any]]:
    """Return the arrays by layer; of a model that only Keras can train, by Keras' paths."""
    if manifest.only_keras:
        all_weights = keras_model(manifest, weights, _OTHERWISE).weights
        return {weight.path: np.asarray(weight.value, np.float32) for weight in all_weights}
    definition = manifest.definition
    return {
        f"layer.{index}.{name}": np.ascontiguousarray(as_used(name, array))
        for index, (layer, own) in enumerate(zip(definition.layers, definition.split(weights), strict=True))
        for name, array in zip(layer.names, own, strict=True)
    }
