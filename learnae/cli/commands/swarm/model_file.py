"""Models from Keras' files: the configuration, and the weights that a .keras file holds."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnae.cli.commands.swarm.weights_file import check_weights
from learnae.errors import ConfigurationError, ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.keras_forms import in_own_form
from learnae.models.keras_model import absent_of_keras, build_model, flat, outline_of, weights_in
from learnae.models.outline import Outline
from learnae.system.installation import how_to_install
from learnae.tables.opening import check_readable
from learnae.weights.codecs import Vector

SEEDED = "drawn from the seed"
_MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a swarm takes from a file. ``outline`` is set for a model that only Keras can train.

    ``weights`` (count,) are what all peers start from; None if they draw them from the seed.
    ``start`` tells people which of the two it is.
    """

    config: Any
    outline: Outline | None
    weights: Vector | None
    start: str


def read_model(path: Path) -> ModelFile:
    """Read a Keras JSON or .keras file; raises ModelError, or ConfigurationError where Keras is needed and absent."""
    raw, has_weights = _read(path)
    config, outline = in_own_form(raw), None
    try:
        count = ModelDefinition.from_config(config).count
    except ModelError as error:
        outline = _outline(config, error)
        count = outline.count
    if has_weights and not absent_of_keras():
        check_weights(path, count)
        build_model(raw)  # Keras reads the file's own configuration: nothing unchecked gets there
        weights, start = weights_in(path), "the weights in the file"
    elif outline:
        weights, start = flat(build_model(config).get_weights()), "weights as Keras draws them"
    elif has_weights:
        return ModelFile(config, None, None, f"{SEEDED}; to read the weights in the file: {how_to_install('trainer')}")
    else:
        return ModelFile(config, None, None, SEEDED)
    if len(weights) != count:
        raise ModelError(f"{path} holds {len(weights)} weights, its model has {count}", "save the model again")
    return ModelFile(config, outline, weights, start)


def _outline(config: dict[str, Any], error: ModelError) -> Outline:
    """Return the outline of a model beyond the whitelist; ``error`` says why it is."""
    if absent_of_keras():
        raise ConfigurationError(
            f"only Keras can train this model: {error.problem}", how_to_install("trainer")
        ) from error
    return outline_of(build_model(config))


def _read(path: Path) -> tuple[Any, bool]:
    """Return the configuration in a Keras JSON or .keras file, and whether it has weights beside it."""
    check_readable(path)
    try:
        if has_weights := zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MAX_CONFIG_BYTES + 1)
        if len(data) > _MAX_CONFIG_BYTES:
            raise ModelError(f"the configuration in {path} is too large", f"at most {_MAX_CONFIG_BYTES} bytes are read")
        return json.loads(data), has_weights
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(f"cannot read {path}: {error}", "give model.to_json() or a .keras file") from error
