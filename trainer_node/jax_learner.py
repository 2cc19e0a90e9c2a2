"""The workstation's learner: Keras 3 on JAX, whole epochs in one compiled call, on any GPU that JAX sees."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.bodies import Metrics
from learnae.codecs import Vector
from learnae.errors import ConfigurationError, ModelError
from learnae.manifest import Manifest
from learnae.models.dataset import Dataset, Rows
from learnae.models.losses import Loss
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.outline import Outline
from learnae.ports import Trained
from trainer_node.batches import Batches, Indices
from trainer_node.jax_functions import Functions

_CHUNK_STEPS = 4096  # steps in one compiled call: the next chunk's row numbers are drawn while this one runs
_EVALUATION_BATCH = 8192  # rows: bounds the memory of an evaluation


class JaxLearner:
    """Implements ports.Learner. Rows are copied to the device once, and again only if others have come.

    ``config`` may be any model that keras_model lets through. The order in which rows
    are drawn is no part of the state: a restored learner begins a new pass.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        loss: Loss,
        optimiser: OptimiserPolicy,
        data: Dataset,
        batch: int,
        rng: np.random.Generator,
        precision: str = "float32",
    ) -> None:
        self._functions = Functions(config, loss.name, optimiser, precision)
        self._jax: Any = importlib.import_module("jax")
        self._objective = loss
        self._batches = Batches(batch, rng)
        self._carry = self._functions.initial()
        self._train, self._holdout = _Resident(self._jax, data.train), _Resident(self._jax, data.holdout)

    @classmethod
    def for_manifest(
        cls, manifest: Manifest, data: Dataset, rng: np.random.Generator, precision: str = "float32"
    ) -> JaxLearner:
        """The learner of a swarm; raises ModelError if Keras sees another model than the swarm."""
        learner = cls(
            manifest.config, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, precision
        )
        if learner.count != manifest.model.count:
            raise ModelError(
                f"Keras counts {learner.count} parameters, the swarm {manifest.model.count}",
                "train with the NumPy engine",
            )
        if manifest.outline not in (None, learner.outline):
            raise ModelError(
                f"Keras sees {learner.outline}, the manifest says {manifest.outline}", "do not trust this swarm"
            )
        return learner

    @property
    def count(self) -> int:
        """The length of the weights."""
        return self._functions.count

    @property
    def outline(self) -> Outline:
        """The model as the manifest would have it."""
        return self._functions.outline

    @property
    def device(self) -> str:
        """The device's name, such as ``NVIDIA H100 80GB HBM3 (gpu)``."""
        device = self._functions.device
        return device.platform if device.device_kind == device.platform else f"{device.device_kind} ({device.platform})"

    def weights(self) -> Vector:
        """A copy of the current weights (count,)."""
        return self._functions.vector(self._carry)

    def load(self, weights: Vector) -> None:
        """Go on from these weights (count,)."""
        with self._room():
            self._carry = self._functions.with_vector(self._carry, weights)

    def train(self, steps: int) -> Trained:
        """``steps`` optimiser steps; none without rows. Raises ConfigurationError if the device's memory is full."""
        rows = len(self._train)
        if not rows:
            return Trained(0, 0, 0.0)
        losses = []
        with self._room():
            for begun in range(0, steps, _CHUNK_STEPS):
                losses.append(self._run(self._batches.take(min(_CHUNK_STEPS, steps - begun), rows)))
            total = sum(float(chunk.sum(dtype=np.float64)) for chunk in map(np.asarray, losses))
        return Trained(steps, rows, total / steps)

    def run(self, indices: Indices) -> NDArray[np.float32]:
        """Steps on the training rows ``indices`` (steps, batch), in this order; returns their losses (steps,)."""
        with self._room():
            return np.asarray(self._run(indices))

    def _run(self, indices: Indices) -> Any:
        rows, targets = self._train.arrays()
        self._carry, losses = self._functions.train(self._carry, rows, targets, self._jax.numpy.asarray(indices))
        return losses

    def evaluate(self, weights: Vector) -> Metrics | None:
        """Loss and accuracy of ``weights`` on the held-out rows; None without any."""
        if not len(self._holdout):
            return None
        with self._room():
            output = self._predict(weights)
        targets, objective = self._holdout.targets, self._objective
        accuracy = objective.accuracy(output, targets) if objective.is_classification else None
        return Metrics(objective.value(output, targets), accuracy, len(output))

    def _predict(self, weights: Vector) -> NDArray[np.float32]:
        rows, _ = self._holdout.arrays()
        carry = self._functions.with_vector(self._carry, weights)
        size = min(_EVALUATION_BATCH, len(rows))
        parts = []
        for start in range(0, len(rows), size):
            first = min(start, len(rows) - size)  # the last batch reaches back, so that all have one shape
            output = self._functions.predict(carry.trainable, carry.other, rows, first, size)
            parts.append(np.asarray(output, np.float32)[start - first :])
        return np.concatenate(parts)

    def state(self) -> dict[str, NDArray[Any]]:
        """The optimiser's arrays, with the names and shapes of learnae.models.optimisers."""
        return self._functions.state(self._carry)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a saved state, also the NumPy learner's; raises StateError if it does not fit."""
        self._carry = self._functions.with_state(self._carry, state)

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say what to do when the device's memory is full; nothing of such a step is used."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise ConfigurationError(
                f"{self.device} has not enough memory for these rows and this model",
                'use a swarm with a smaller batch, fewer rows, or train.engine = "numpy"',
            ) from error


class _Resident:
    """Rows and targets on the device."""

    def __init__(self, jax: Any, source: Rows) -> None:
        self._jax = jax
        self._source = source
        self._written = -1
        self._arrays: tuple[Any, Any] = (None, None)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def targets(self) -> NDArray[Any]:
        """On the host."""
        return self._source.targets

    def arrays(self) -> tuple[Any, Any]:
        """(n, *input_shape) float32 and targets; classes as int32, JAX's integer."""
        if self._written != self._source.written:
            targets = self._source.targets
            whole = targets.astype(np.int32) if targets.dtype.kind == "i" else targets
            self._arrays = self._put(self._source.rows), self._put(whole)
            self._written = self._source.written
        return self._arrays

    def _put(self, array: NDArray[Any]) -> Any:
        # a CPU device may read the host's memory in place: only where nobody writes to it any more
        return self._jax.numpy.array(array) if array.flags.writeable else self._jax.device_put(array, may_alias=True)
