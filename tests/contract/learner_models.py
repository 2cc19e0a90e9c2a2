"""Small models, one for each layer and option of the whitelist, that every learner must train alike."""

import importlib.util
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from keras_configs import dense, layer, sequential
from numpy.typing import NDArray

from bench.learners.parity import smooth_batch
from learnae.models.definition import ModelDefinition
from learnae.models.layers import BatchNormalization, Conv1D, Dense
from learnae.models.losses import FINAL_ACTIVATIONS, Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.reference.numpy_model import train_step

RUNTIMES = ("tflite_runtime", "ai_edge_litert")
BATCH = 16
STEPS = 50

OPTIMISERS = {
    "sgd": OptimiserPolicy("sgd", 0.05),
    "momentum": OptimiserPolicy("momentum", 0.02),
    "adam": OptimiserPolicy("adam", 0.001),
}
TOLERANCE = {"sgd": 1e-6, "momentum": 1e-6, "adam": 1e-4}


def require(*modules: str) -> None:
    """Skip the module that asks unless one of ``modules`` is installed; fail where engines are required."""
    if any(importlib.util.find_spec(name) for name in modules):
        return
    reason = f"none of {', '.join(modules)} is installed"
    if os.environ.get("LEARNAE_REQUIRE_ENGINES") == "1":
        pytest.fail(f"{reason}, but LEARNAE_REQUIRE_ENGINES=1", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def conv(filters: int, size: int, **config: Any) -> dict[str, Any]:
    return layer("Conv1D", filters=filters, kernel_size=size, **config)


def pool(size: int, **config: Any) -> dict[str, Any]:
    return layer("MaxPooling1D", pool_size=size, **config)


FLATTEN, AVERAGE = layer("Flatten"), layer("GlobalAveragePooling1D")
VECTOR, SEQUENCE = (5,), (13, 3)

# name: (layers before the last Dense, shape of an example)
BODIES: dict[str, tuple[list[dict[str, Any]], tuple[int, ...]]] = {
    "dense": ([dense(8)], VECTOR),
    "dense-relu": ([dense(8, "relu")], VECTOR),
    "dense-sigmoid": ([dense(8, "sigmoid")], VECTOR),
    "dense-tanh": ([dense(8, "tanh", kernel_initializer="HeUniform")], VECTOR),
    "dense-softmax": ([dense(8, "softmax")], VECTOR),
    "dense-no-bias": ([dense(8, "relu", use_bias=False), dense(6, "relu", use_bias=False)], VECTOR),
    "none": ([], VECTOR),
    "activations": ([layer("Activation", activation="tanh"), dense(6), layer("ReLU")], VECTOR),
    "activation-first": ([layer("ReLU"), layer("Activation", activation="softmax"), dense(6)], VECTOR),
    "conv-valid": ([conv(6, 3, activation="relu"), FLATTEN], SEQUENCE),
    "conv-same": ([conv(6, 4, padding="same", activation="tanh"), FLATTEN], SEQUENCE),
    "conv-valid-stride": ([conv(6, 3, strides=2, activation="relu"), FLATTEN], SEQUENCE),
    "conv-same-stride": ([conv(6, 5, strides=2, padding="same"), FLATTEN], SEQUENCE),
    "conv-same-stride-even": ([conv(6, 2, strides=2, padding="same", use_bias=False), FLATTEN], (12, 3)),
    "conv-wide": ([conv(4, 1, activation="relu"), conv(4, 13), FLATTEN], SEQUENCE),
    "conv-skips": ([conv(6, 1, strides=2, activation="sigmoid"), FLATTEN], SEQUENCE),
    "conv-deep": ([conv(6, 3, activation="relu"), conv(5, 3, strides=2, activation="tanh"), AVERAGE], SEQUENCE),
    "pool": ([conv(6, 2, activation="relu"), pool(2), FLATTEN], SEQUENCE),
    "pool-rest": ([conv(6, 3, activation="tanh"), pool(3), FLATTEN], SEQUENCE),
    "pool-overlap": ([conv(6, 3), pool(3, strides=1), FLATTEN], SEQUENCE),
    "pool-same": ([conv(6, 3), pool(4, strides=3, padding="same"), FLATTEN], SEQUENCE),
    "pool-gaps": ([conv(6, 3), pool(2, strides=3, padding="same"), FLATTEN], SEQUENCE),
    "average": ([conv(6, 3, activation="relu"), AVERAGE], SEQUENCE),
    "reshape": ([dense(12, "tanh"), layer("Reshape", target_shape=[-1, 3]), conv(4, 2), FLATTEN], VECTOR),
    "dropout": ([dense(8, "relu"), layer("Dropout", rate=0.0)], VECTOR),
    "batch-norm": ([dense(8, use_bias=False), layer("BatchNormalization"), layer("ReLU")], VECTOR),
    "batch-norm-bias": ([dense(8), layer("BatchNormalization"), layer("ReLU")], VECTOR),  # a bias without effect
    "batch-norm-plain": (
        [dense(6, "tanh"), layer("BatchNormalization", momentum=0.8, center=False, scale=False, epsilon=0.01)],
        VECTOR,
    ),
    "batch-norm-conv": (
        [conv(6, 3, use_bias=False), layer("BatchNormalization", momentum=0.9), layer("ReLU"), pool(2), FLATTEN],
        SEQUENCE,
    ),
    "batch-norm-first": ([layer("BatchNormalization"), conv(4, 3), AVERAGE], SEQUENCE),
    "layer-norm": ([dense(8), layer("LayerNormalization"), layer("Activation", activation="tanh")], VECTOR),
    "layer-norm-plain": ([dense(8, "tanh"), layer("LayerNormalization", scale=False, epsilon=0.1)], VECTOR),
    "layer-norm-conv": ([conv(6, 3), layer("LayerNormalization", center=False), layer("ReLU"), FLATTEN], SEQUENCE),
}
OUTPUTS = 3


@dataclass(frozen=True)
class Task:
    """A model that ends as its loss needs, and data that fit both."""

    config: dict[str, Any]
    model: ModelDefinition
    loss: Loss

    def batch(self, rng: np.random.Generator, rows: int = BATCH) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows in float32, and targets."""
        values = rng.normal(size=(rows, *self.model.input_shape)).astype(np.float32)
        if self.loss.name == "sparse_categorical_crossentropy":
            return values, rng.integers(0, OUTPUTS, rows)
        # wide enough for both branches of Huber's loss
        targets = rng.normal(size=(rows, *self.model.output_shape)) * 2
        return values, (targets > 0 if self.loss.name == "binary_crossentropy" else targets).astype(np.float32)


def compared(model: ModelDefinition, optimiser: str) -> NDArray[np.bool_]:
    """(count,) which weights must agree: under Adam not those that the training loss does not depend on.

    The gradient of a bias right before BatchNormalization is 0; Adam divides what rounding leaves of it by its own
    size, in every float32 implementation (adr 46). The moving mean follows the bias, slowly.
    """
    mask = np.ones(model.count, np.bool_)
    arrays = model.split(mask)
    for index, (first, second) in enumerate(itertools.pairwise(model.layers)):
        biased = isinstance(first, (Dense, Conv1D)) and first.bias
        if optimiser == "adam" and biased and isinstance(second, BatchNormalization):
            arrays[index][1][:] = arrays[index + 1][-2][:] = False
    return mask


class Batches:
    """Batches of a task that are no edge's neighbours with the weights that they are trained on."""

    def __init__(self, job: Task) -> None:
        self._model = job.model
        self._rng = np.random.default_rng(7)
        self._rows, self._targets = job.batch(self._rng, 500)

    def next(self, weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows in float32, and targets; ``weights`` are the reference's."""
        chosen = smooth_batch(self._model, weights, self._rows, BATCH, self._rng)
        return self._rows[chosen], self._targets[chosen]


def task_of(loss: str, *layers: dict[str, Any], shape: tuple[int, ...]) -> Task:
    config = sequential(*layers, shape=shape)
    model = ModelDefinition.from_config(config)
    return Task(config, model, Loss.for_model(loss, model))


def task(body: str, loss: str, outputs: int = OUTPUTS) -> Task:
    layers, shape = BODIES[body]
    return task_of(loss, *layers, dense(outputs, FINAL_ACTIVATIONS[loss]), shape=shape)


def autoencoder(loss: str) -> Task:
    """A sequence to itself."""
    first = conv(4, 3, strides=2, padding="same", activation="relu")
    return task_of(loss, first, FLATTEN, dense(39), layer("Reshape", target_shape=[13, 3]), shape=SEQUENCE)


def output(data: bytes, rows: NDArray[Any]) -> NDArray[Any]:
    """What an inference file says of rows."""
    from agent.tflite.inference.export import SIGNATURE
    from agent.tflite.runtime import open_program

    return np.asarray(open_program(data).get_signature_runner(SIGNATURE)(rows=rows)["output"])


def reference_steps(job: Task, optimiser: str, exact: NDArray[Any]) -> Iterator[tuple[Any, Any, float]]:
    """Train ``exact`` (float64) in place; of each of STEPS steps, rows in float32, targets, and the loss."""
    batches, reference = Batches(job), Optimiser(OPTIMISERS[optimiser], job.model.count, np.float64)
    for _ in range(STEPS):
        rows, targets = batches.next(exact)
        yield rows, targets, train_step(job.model, job.loss, reference, exact, rows.astype(np.float64), targets)
