"""The learners that are compared, each as a function that trains: nothing heavy is imported before it is built."""

import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from learnae.models.dataset import Dataset
from learnae.swarm.manifest import Manifest

NUMPY, FUSED, FIT, TORCH, TFLITE = "NumPy", "JAX fused", "keras.fit", "PyTorch eager", "TFLite"
DENSE, CONVOLUTIONS = "hepmass", "wrist-cnn"  # 27-64-64-1; two convolutions over 100 moments of six channels


@dataclass(frozen=True, slots=True)
class Contestant:
    """``train`` takes a number of steps, all that belongs to them included; ``device`` says where."""

    train: Callable[[int], object]
    device: str = "cpu"


def is_installed(name: str) -> bool:
    """Return True if everything that a contestant needs can be imported."""
    return all(any(map(_exists, need.split("|"))) for need in _NEEDS[name])


def needs(name: str) -> str:
    """Return what a contestant imports, for people."""
    return " and ".join(need.replace("|", " or ") for need in _NEEDS[name])


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a part of its path is missing
        return False


def numpy_learner(swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    """Build the reference learner."""
    module: Any = importlib.import_module("learnae.models.reference.numpy_learner")
    return _learner(module.NumpyLearner, swarm, data, batch)


def tflite_learner(swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    """Build the agents' learner, on the runtime that it takes here."""
    train = _learner(importlib.import_module("agent.learning.tflite_learner").TfliteLearner, swarm, data, batch).train
    runtimes = [name for name in ("tflite_runtime", "ai_edge_litert") if f"{name}.interpreter" in sys.modules]
    return Contestant(train, f"cpu with {' and '.join(runtimes)}")


def _learner(kind: Any, swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    learner = kind(swarm.definition, swarm.objective, swarm.optimiser, data, batch, np.random.default_rng(1))
    learner.load(swarm.definition.initial(1))
    return Contestant(learner.train)


def jax_fused(swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    """Build the trainers' learner."""
    module: Any = importlib.import_module("trainer_node.learning.jax_learner")
    learner = module.JaxLearner(swarm.config, swarm.objective, swarm.optimiser, data, batch, np.random.default_rng(1))
    learner.load(swarm.definition.initial(1))
    return Contestant(learner.train, learner.device)


def keras_fit(swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    """Build Keras' ``fit`` as it is, on the same model and backend."""
    module: Any = importlib.import_module("learnae.models.keras_model")
    keras = module.import_keras()
    model = module.build_model(swarm.config)
    optimiser_of: Any = importlib.import_module("trainer_node.learning.jax_functions").keras_optimiser
    model.compile(optimizer=optimiser_of(keras, swarm.optimiser), loss=swarm.loss)
    rows, targets = np.array(data.train.rows), np.array(data.train.targets)

    def train(steps: int) -> None:
        for begun in range(0, steps, -(-len(rows) // batch)):
            count = min((steps - begun) * batch, len(rows))
            model.fit(rows[:count], targets[:count], batch_size=batch, verbose=0)

    device: Any = importlib.import_module("jax").devices()[0]
    return Contestant(train, device.platform)


def torch_eager(swarm: Manifest, data: Dataset, batch: int) -> Contestant:
    """Build the usual loop for the dense network, with all rows on the device."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)  # more make steps as small as these slower
    device = "cuda" if torch.cuda.is_available() else "cpu"
    units = (27, 64, 64, 1)
    layers = [
        part
        for inputs, outputs in itertools.pairwise(units)
        for part in (torch.nn.Linear(inputs, outputs), torch.nn.ReLU())
    ]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    loss = torch.nn.BCEWithLogitsLoss()
    policy = swarm.optimiser
    optimiser = torch.optim.SGD(model.parameters(), policy.learning_rate, policy.momentum)
    rows = torch.tensor(np.array(data.train.rows), device=device)
    targets = torch.tensor(np.array(data.train.targets), device=device)

    def train(steps: int) -> None:
        order = torch.randint(len(rows), (steps, batch), device=device)
        for chosen in order:
            optimiser.zero_grad()
            loss(model(rows[chosen]), targets[chosen]).backward()
            optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return Contestant(train, device)


CONTESTANTS: dict[str, Callable[[Manifest, Dataset, int], Contestant]] = {
    NUMPY: numpy_learner,
    FUSED: jax_fused,
    FIT: keras_fit,
    TORCH: torch_eager,
    TFLITE: tflite_learner,
}
_NEEDS: dict[str, tuple[str, ...]] = {
    NUMPY: ("numpy",),
    FUSED: ("keras", "jax"),
    FIT: ("keras", "jax"),
    TORCH: ("torch",),
    TFLITE: ("agent.learning.tflite_learner", "flatbuffers", "ai_edge_litert|tflite_runtime"),
}
