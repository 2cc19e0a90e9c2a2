"""The workstation's learner: Keras 3 on JAX, whole epochs in one compiled call, on any GPU that JAX sees."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from learnae.basics.memory import memory_left
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, ModelError
from learnae.models.batch_learner import ClippedSum, sum_parts
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss, explained
from learnae.models.optimisers import OptimiserPolicy
from learnae.ports import Learner, Trained
from learnae.privacy.clipping import NormClip
from learnae.privacy.noise.grid import CHUNK_ROWS
from learnae.protocol.bodies import Metrics
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.merge import Moments
from trainer_node.learning.batches import Batches, Indices
from trainer_node.learning.device_rows import DeviceRows, Part
from trainer_node.learning.jax_functions import SUM_BLOCK, Functions

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_MIB = 1 << 20
_EVALUATED = 8192  # rows that are predicted in one compiled call, at most
_FULL = ("RESOURCE_EXHAUSTED", "Out of memory")  # in JAX's errors of a full memory; before 0.9 a CPU's: the second


class DeviceMemoryError(ConfigurationError):
    """The device's memory is full."""


class JaxLearner(Learner):
    """Trains with Keras on JAX. Rows are copied to the device once, and again only if rows were added.

    ``config`` may be any model that keras_model lets through. The order in which rows
    are drawn is no part of the state: a restored learner begins a new pass.
    ``evaluation_batch`` rows bound the memory of an evaluation; ``chunk_steps`` run in one compiled
    call, during which the row numbers of the next one are drawn.
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
        evaluation_batch: int = _EVALUATED,
        chunk_steps: int = 4096,
        clip: NormClip | None = None,
    ) -> None:
        self.clip = clip or NormClip(is_on=False)
        self._functions = Functions(config, loss.name, optimiser, precision)
        self._jax: Any = importlib.import_module("jax")
        self._objective = loss
        self._batches = Batches(batch, rng)
        self._carry = self._functions.initial()
        self._train, self._holdout = DeviceRows(self._jax, data.train, data.drawn), DeviceRows(self._jax, data.holdout)
        self._data, self._rng = data, rng
        self._batch = batch
        self._evaluation_batch, self._chunk_steps = evaluation_batch, chunk_steps
        self._turn = 0  # which part of the training rows is next
        self._weights: Vector | None = None  # what the carry holds, if it is known on the host
        self._state: dict[str, NDArray[Any]] | None = None

    @classmethod
    def for_manifest(
        cls,
        manifest: Manifest,
        data: Dataset,
        rng: np.random.Generator,
        precision: str = "float32",
        clip: NormClip | None = None,
    ) -> JaxLearner:
        """Return the learner of a swarm; raises ModelError if Keras sees another model than the swarm."""
        at_once = manifest.model.rows_at_once(_EVALUATED) if isinstance(manifest.model, ModelDefinition) else _EVALUATED
        learner = cls(
            manifest.config, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, precision,
            at_once, clip=clip,
        )  # fmt: skip
        count, outline = learner._functions.count, learner._functions.outline
        if count != manifest.model.count:
            said = f"Keras counts {count} parameters, the swarm {manifest.model.count}"
            raise ModelError(said, "train with the NumPy engine")
        learner._check_memory(manifest)
        if manifest.outline not in (None, outline):
            raise ModelError(f"Keras sees {outline}, the manifest says {manifest.outline}", "do not trust this swarm")
        return learner

    def _check_memory(self, manifest: Manifest) -> None:
        """Raise ConfigurationError if a step holds more than the memory that is free: a CPU would ask for it."""
        left, held = memory_left(), 4 * self._batch * self._functions.row_values / _MIB
        if left is not None and held > left and self._functions.device.platform == "cpu":
            raise ConfigurationError(
                f"a step of swarm {manifest.name!r} holds {held:,.0f} MiB, and {left:,.0f} MiB of memory are free",
                "do not join it, or join on a machine with more memory",
            )

    @property
    def device(self) -> str:
        """Return the device's name, such as ``NVIDIA H100 80GB HBM3 (gpu)``."""
        device = self._functions.device
        return device.platform if device.device_kind == device.platform else f"{device.device_kind} ({device.platform})"

    @property
    def resident(self) -> int:
        """Count the training rows that are on the device at a time."""
        return self._train.size

    @property
    @override
    def moments(self) -> Moments:
        return self._functions.moments

    @override
    def weights(self) -> Vector:
        if self._weights is None:
            self._weights = self._functions.vector(self._carry)
        return self._weights.copy()

    @override
    def load(self, weights: Vector) -> None:
        with self._full_memory_errors():
            self._carry = self._functions.with_vector(self._carry, weights)
            self._weights = np.array(weights, np.float32)

    @override
    def train(self, steps: int) -> Trained:
        """Take ``steps`` optimiser steps; none without rows.

        If the device's memory is full, half as many rows are kept on it from then on, one part after
        another, and the steps are taken again from where they began. Raises ConfigurationError if a
        single batch does not fit.
        """
        if not len(self._train) or steps < 1:
            return Trained(0, 0, 0.0)
        before = self.weights(), self.state()
        loss = self._fitting(lambda: self._take(steps), self._train, self._batch, lambda: self._go_back(*before))
        self._turn += 1
        return Trained(steps, len(self._train), loss)

    def _take(self, steps: int) -> float:
        part = self._train.part(self._turn)
        losses, drawn = [], []
        for begun in range(0, steps, self._chunk_steps):
            indices = self._batches.take(min(self._chunk_steps, steps - begun), self._train.size)
            losses.append(self._run(part, self._mixed(indices)))
            drawn.append(indices[indices < self._train.size])
        loss = sum(float(chunk.sum(dtype=np.float64)) for chunk in map(np.asarray, losses)) / steps
        for chunk in drawn:  # not before all steps are taken: a device whose memory is full takes them again
            self._train.draw(part.start + chunk)
        return loss

    def _mixed(self, indices: Indices) -> Indices:
        """Replace some of the row numbers by those of rows drawn from others' summaries, which come last."""
        drawn = len(self._data.drawn)
        if drawn:
            chosen = self._rng.random(indices.shape) < self._data.drawn_share
            indices[chosen] = self._train.size + self._rng.integers(0, drawn, int(chosen.sum()))
        return indices

    def _fitting(
        self, compute: Callable[[], Result], rows: DeviceRows, least: int, go_back: Callable[[], None] = lambda: None
    ) -> Result:
        """Return what ``compute`` does, with ever fewer ``rows`` on the device while its memory is full."""
        while True:
            try:
                with self._full_memory_errors():
                    return compute()
            except DeviceMemoryError as error:
                (self._holdout if rows is self._train else self._train).drop()
                self._halve(rows, least, error)
                go_back()

    def _halve(self, rows: DeviceRows, least: int, error: DeviceMemoryError) -> None:
        if not rows.halve(least):
            raise error
        _log.warning(
            "%s: the memory is full; %d of %d rows are kept there at a time", self.device, rows.size, len(rows)
        )

    def _go_back(self, weights: Vector, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore what is known on the host: a step that failed has given up its arrays."""
        self._carry = self._functions.initial()
        self.load(weights)
        self.restore(state)

    def run(self, indices: Indices) -> NDArray[np.float32]:
        """Take steps on the training rows ``indices`` (steps, batch), in this order; return their losses (steps,)."""
        with self._full_memory_errors():
            return np.asarray(self._run(self._train.part(0), indices))

    def _run(self, part: Part, indices: Indices) -> Any:
        self._weights = self._state = None
        there, own = self._jax.numpy.asarray(indices), (part.rows, part.targets)
        if not self.clips_rows:
            self._carry, losses = self._functions.train(self._carry, own, part.drawn, there)
            return losses
        if self.clip.is_due(len(self._data.train)):
            carry = self._functions.untaught(self._carry)
            first = self._functions.chosen(own, part.drawn, there[0])
            norms = self._functions.clipped_sum(carry, *first, self._jax.numpy.zeros(there.shape[1]), math.inf)[1]
            self.clip.note(np.asarray(norms, np.float64), len(self._data.train))
        self._carry, losses = self._functions.train_clipped(self._carry, own, part.drawn, there, self.clip.bound)
        return losses

    @property
    def clips_rows(self) -> bool:
        """Return True if steps clip each row's gradient."""
        return self.clip.is_on and self._functions.no_row_gradients is None

    def clipped_sum(self, rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
        """Sum clipped gradients, as learnae.models.batch_learner.BatchLearner does; raises ModelError as that."""
        if self._functions.no_row_gradients:
            raise self._functions.no_row_gradients
        most = min(CHUNK_ROWS, self._evaluation_batch)
        blocks, whole = min(most, len(rows)) / SUM_BLOCK, 1 << max(0, len(rows) - 1).bit_length()
        size = SUM_BLOCK * math.ceil(blocks) if blocks > 1 else min(most, whole)

        def of_part(rows: NDArray[Any], targets: NDArray[Any], bound: float) -> ClippedSum:
            filled = [np.resize(each, (size, *each.shape[1:])) for each in (rows, targets)]
            shares = np.arange(size, dtype=np.float32) < len(rows)
            gradient, norms, loss = self._functions.clipped_sum(
                self._carry, *filled, shares.astype(np.float32), np.float32(bound)
            )
            vector = self._functions.trained_vector(gradient)
            return ClippedSum(vector, np.asarray(norms, np.float64)[: len(rows)], float(loss) / len(rows))

        with self._full_memory_errors():
            return sum_parts(of_part, self._functions.count, rows, targets, bound, size)

    @override
    def evaluate(self, weights: Vector) -> Metrics | None:
        if not len(self._holdout):
            return None
        output = self._fitting(lambda: self._predict(weights), self._holdout, 1)
        targets, objective = self._holdout.targets, self._objective
        loss = objective.value(output, targets)
        if objective.is_classification:
            return Metrics(loss, objective.accuracy(output, targets), len(output))
        error = np.subtract(output, targets, dtype=np.float64)
        r2 = explained(float(np.sum(error * error)), targets, self._evaluation_batch)
        return Metrics(loss, None, len(output), float(np.mean(np.abs(error))), r2)

    def _predict(self, weights: Vector) -> NDArray[np.float32]:
        carry = self._functions.with_vector(self._carry, weights)
        outputs: list[NDArray[np.float32]] = []
        done = 0
        for number in range(self._holdout.parts):
            part = self._holdout.part(number)
            size = min(self._evaluation_batch, self._holdout.size)
            for start in range(0, self._holdout.size, size):
                first = min(start, self._holdout.size - size)  # the last batch reaches back: all have one shape
                output = self._functions.predict(carry.trainable, carry.other, part.rows, first, size)
                fresh = np.asarray(output, np.float32)[max(done - part.start - first, 0) :]
                outputs.append(fresh)
                done += len(fresh)
        return np.concatenate(outputs)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the optimiser's arrays, with the names and shapes of learnae.models.optimisers."""
        if self._state is None:
            self._state = self._functions.state(self._carry)
        return dict(self._state)

    @override
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a saved state, also the NumPy learner's; raises StateError if it does not fit."""
        self._carry = self._functions.with_state(self._carry, state)
        self._state = None

    @contextmanager
    def _full_memory_errors(self) -> Iterator[None]:
        """Raise DeviceMemoryError where the device's memory is full; nothing of such a step is used."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _FULL):
                raise
            raise DeviceMemoryError(
                f"{self.device} has not enough memory for these rows and this model",
                'use a swarm with a smaller batch, fewer rows, or train.engine = "numpy"',
            ) from error
