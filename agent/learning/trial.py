"""``python -m agent.learning.trial``: one step in TFLite, for ``learnae doctor``."""

import sys

import numpy as np

from agent.learning.tflite_learner import TfliteLearner
from learnae.cli.commands.look.trials import tell
from learnae.models.dataset import Dataset
from learnae.swarm.presets import preset


def _step() -> None:
    manifest = preset("hepmass", 0)
    dataset = Dataset(manifest.model, manifest.objective)
    dataset.add(np.zeros((1, *manifest.model.input_shape), np.float32), np.zeros((1, 1), np.float32))
    rng = np.random.default_rng(0)
    learner = TfliteLearner(
        manifest.definition, manifest.objective, manifest.optimiser, dataset, manifest.training.batch, rng
    )
    learner.train(1)
    assert np.isfinite(learner.weights()).all(), "a step gives no numbers"


if __name__ == "__main__":
    tell(dict.fromkeys(sys.argv[1:], _step))
