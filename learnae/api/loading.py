"""``learnae.load``: a trained model from a file or a swarm, ready to predict with."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.api.structure import Structure
from learnae.cli.commands.swarm.model_file import read_model
from learnae.cli.estimate_choice import choose_estimate
from learnae.cli.swarm_choice import choose_swarm
from learnae.errors import ConfigurationError, DataError, ModelError
from learnae.models.definition import ModelDefinition
from learnae.models.keras_model import build_model, set_flat
from learnae.models.outline import Model
from learnae.models.reference.numpy_model import predict
from learnae.peer.learning.versions import PERSONAL
from learnae.runtime.observer import published_spent
from learnae.swarm.model_card import CARD_FILE, card
from learnae.system.installation import how_to_install
from learnae.weights.codecs import Vector

_MOST_CARD_BYTES = 1 << 20
_AT_ONCE = 1024  # rows


class LoadedModel:
    """A trained model; ``card`` says what it takes and gives, as ``learnae export`` writes it; empty where none does.

    ``time`` is when the newest update that it is made of was published, in Unix seconds; None for a file.
    """

    def __init__(
        self, model: Model, config: Any, vector: Vector, card: dict[str, Any], time: float | None = None
    ) -> None:
        self.card = card
        self.time = time
        self._model = model
        self._config = config
        self._vector = vector
        self._keras: Any = None

    def weights(self) -> Any:
        """Return its weights: a list of arrays as Keras has them, or a dict of parameters by name."""
        return Structure(self._model).natural(self._vector)

    def predict(self, rows: Any) -> NDArray[np.float32]:
        """Return what the model says of rows (n, *input), as (n, *output) float32; with NumPy, or else with Keras.

        Rows are as the model takes them: of a swarm with features, ``Manifest.features.extract(windows)``. Raises
        DataError for rows of another shape, ModelError for a model that only its members' programs know.
        """
        if not self._model.input_shape:
            raise ModelError("of this model only the parameters are known", "load its weights into your own: weights()")
        array = np.asarray(rows)
        if array.dtype.kind not in "fiub" or array.shape[1:] != self._model.input_shape or not array.ndim:
            raise DataError(
                f"rows of shape {array.shape}, {array.dtype}",
                f"the model takes (n, *{self._model.input_shape}) numbers",
            )
        array = array.astype(np.float32)
        parts = [self._one(array[start : start + _AT_ONCE]) for start in range(0, len(array), _AT_ONCE)]
        return np.concatenate([np.zeros((0, *self._model.output_shape), np.float32), *parts])

    def _one(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(self._model, ModelDefinition):
            return np.asarray(predict(self._model, self._vector, rows), np.float32)
        if self._keras is None:
            self._keras = build_model(self._config)
            set_flat(self._keras, self._vector)
        return np.asarray(self._keras.predict_on_batch(rows), np.float32)


def load(source: str | os.PathLike[str] = "", *, version: str = "", peer: str = "") -> LoadedModel:
    """Load the model in a ``.keras`` file, or of a swarm by its id, name or directory; empty for the only one here.

    Of a swarm it is what its peers have published, the estimate that the ``peer`` of that name here saved last, or a
    ``version`` that it keeps: ``best``, ``v1`` and so on, ``personal``. Reading a file takes Keras, predicting none.
    Raises ConfigurationError, ModelError or ManifestError.
    """
    path = Path(os.fspath(source))
    if path.suffix == ".keras":
        return _of_file(path)
    if path.suffix in (".safetensors", ".tflite", ".h5", ".json"):
        raise ConfigurationError(f"{path} is no .keras file", "give what learnae export FILE.keras writes, or a swarm")
    swarm = choose_swarm(os.fspath(source))
    manifest = swarm.manifest
    estimate, _ = choose_estimate(swarm, peer or None, version or None)
    facts = card(manifest, published_spent(swarm.directory), version == PERSONAL)
    return LoadedModel(manifest.model, manifest.config, estimate.vector, facts, estimate.time / 1000)


def _of_file(path: Path) -> LoadedModel:
    found = read_model(path)
    if found.weights is None:
        raise ConfigurationError(f"the weights in {path} cannot be read without Keras", how_to_install("trainer"))
    model: Model = found.outline or ModelDefinition.from_config(found.config)
    return LoadedModel(model, found.config, found.weights, _card_in(path))


def _card_in(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(CARD_FILE) as file:
            found = json.loads(file.read(_MOST_CARD_BYTES))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return {}  # Keras itself writes none
    return found if isinstance(found, dict) else {}
