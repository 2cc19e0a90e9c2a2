"""``python -m trainer_node.learning.trial``: a step in JAX, a model saved and loaded, for ``learnae doctor``."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from learnae.cli.commands.look.trials import tell
from learnae.models.dataset import Dataset
from learnae.models.keras_model import build_model, flat, weights_in
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from trainer_node.learning.jax_learner import JaxLearner


def _step() -> None:
    manifest = _manifest()
    dataset = Dataset(manifest.model, manifest.objective)
    dataset.add(np.zeros((1, *manifest.model.input_shape), np.float32), np.zeros((1, 1), np.float32))
    learner = JaxLearner.for_manifest(manifest, dataset, np.random.default_rng(0))
    learner.train(1)
    assert np.isfinite(learner.weights()).all(), "a step gives no numbers"


def _load() -> None:
    model = build_model(_manifest().config)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "model.keras"
        model.save(file)
        loaded = weights_in(file)
    assert np.array_equal(loaded, flat(model.get_weights())), "a saved model is loaded as another"


def _manifest() -> Manifest:
    return preset("hepmass", 0)


if __name__ == "__main__":
    trials = {"jax": _step, "keras": _load}
    tell({part: trials[part] for part in sys.argv[1:]})
