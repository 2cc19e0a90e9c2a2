"""What a swarm's definition costs its members: memory, time and bytes, known before any of it is spent.

A definition comes from a stranger, and a few hundred bytes can ask for any amount of memory and time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from learnae.errors import ConfigurationError
from learnae.models.definition import ModelDefinition
from learnae.models.optimisers import Optimiser
from learnae.models.reference.numpy_model import train_step
from learnae.peer.frame_encoder import MESSAGE_BYTES
from learnae.text import counted
from learnae.weights.frames import block_sizes

if TYPE_CHECKING:
    from learnae.swarm.manifest import Manifest

STEP_BYTES = 256 << 20  # of values that one step of an agent may hold
STEP_PRODUCTS = (
    10**10
)  # multiplications of one step of an agent: its watchdog waits for two minutes, a slow board's too
FOLLOWED = {"trainer": 64, "agent": 8}  # replicas in memory, at most
_MIB = 1 << 20
_FLOAT_BYTES = 4
_MEMBER_VECTORS = 3  # own weights, what others believe them to be, and the estimate
_STEP_VECTORS = {"sgd": 2, "momentum": 3, "adam": 4}  # gradient, what the optimiser keeps, and what it computes with
_MOMENTUM_VECTORS = 2  # of merges: the velocity, and what the last one gave
_PASSES = 3  # a step multiplies forward, back to its weights, and back to its inputs
_TRIED_PRODUCTS = 2 * 10**9  # of a step that is measured, or of some of its rows: a second or two
_TRIED_BYTES = 512 << 20
_SHORT_SECONDS = 0.2  # what takes less is taken twice: the first step finds its memory


@dataclass(frozen=True, slots=True)
class Costs:
    """Of a definition: bytes of its weights and of an update; of a step ``step_bytes`` of values and ``products``.

    ``learning_bytes`` are the vectors that a step and momentum of merges work with. What only Keras can train has no
    known step: it is 0.
    """

    parameters: int
    weight_bytes: int
    update_bytes: int
    learning_bytes: int
    step_bytes: int
    products: int

    @classmethod
    def of(cls, manifest: Manifest) -> Costs:
        """Reckon what ``manifest`` asks for; nothing is computed."""
        model, batch = manifest.model, manifest.training.batch
        known = model if isinstance(model, ModelDefinition) else None
        vectors = _STEP_VECTORS[manifest.optimiser.name] + _MOMENTUM_VECTORS * bool(manifest.merge.momentum)
        return cls(
            model.count,
            _FLOAT_BYTES * model.count,
            sum(block_sizes(manifest.codec.delta, model.count)) + MESSAGE_BYTES,
            vectors * _FLOAT_BYTES * model.count,
            _FLOAT_BYTES * batch * known.row_values if known else 0,
            _PASSES * batch * known.row_products if known else 0,
        )

    @property
    def member_mib(self) -> float:
        """Return the MiB of weights that a member holds which follows one other."""
        return (_MEMBER_VECTORS + 1) * self.weight_bytes / _MIB

    @property
    def training_mib(self) -> float:
        """Return the MiB that it takes beyond these to train."""
        return (self.learning_bytes + self.step_bytes) / _MIB


def check_room(manifest: Manifest, available: float | None) -> None:
    """Raise ConfigurationError if a member's weights are more than the ``available`` MiB (None if not known)."""
    costs = Costs.of(manifest)
    if available is not None and costs.member_mib > available:
        raise ConfigurationError(
            f"swarm {manifest.name!r} has {costs.parameters:,} parameters: a member holds "
            f"{costs.member_mib:,.0f} MiB of weights, and {available:,.0f} MiB of memory are free",
            "do not join it, or join on a machine with more memory",
        )


def why_no_step(manifest: Manifest, available: float | None, least: float) -> str:
    """Return why a board does not train this; empty if it may: with ``available`` MiB, and its owner's ``least``."""
    costs = Costs.of(manifest)
    rows = counted(manifest.training.batch, "row")
    if costs.step_bytes > STEP_BYTES:
        return f"a step on {rows} holds {costs.step_bytes // _MIB:,} MiB, an agent's at most {STEP_BYTES // _MIB}"
    if costs.products > STEP_PRODUCTS:
        return f"a step on {rows} takes {costs.products:.1e} multiplications, an agent's at most {STEP_PRODUCTS:.0e}"
    if available is None:
        return ""
    if available < least:
        return f"{available:.0f} MiB of memory are available, and resources.memory is {least:.0f}"
    if available < costs.training_mib:
        return f"{available:.0f} MiB of memory are available, and training takes {costs.training_mib:,.0f}"
    return ""


def check_trainable(manifest: Manifest, available: float | None) -> str:
    """Return a warning where training takes most of the ``available`` MiB; raises ConfigurationError if it takes more.

    None, where nothing tells how many there are, is as good as enough.
    """
    check_room(manifest, available)
    costs = Costs.of(manifest)
    needed = costs.member_mib + costs.training_mib
    if available is None or needed <= available / 2:
        return ""
    rows = counted(manifest.training.batch, "row")
    said = (
        f"training swarm {manifest.name!r} takes {needed:,.0f} MiB, of which a step on {rows} holds "
        f"{costs.step_bytes / _MIB:,.0f}; {available:,.0f} MiB of memory are free"
    )
    if needed > available:
        raise ConfigurationError(said, "do not join it, or join on a machine with more memory")
    return said


def followed(manifest: Manifest, most: int, available: float | None) -> int:
    """Return how many others are followed: ``most``, fewer where their replicas would fill half of what is free."""
    if available is None:
        return most
    return max(1, min(most, int(available / 2 * _MIB) // Costs.of(manifest).weight_bytes))


def measured_step(manifest: Manifest) -> float | None:
    """Return the seconds that a step takes here with NumPy: it is tried, or of many rows some.

    None if it is too large to be tried, or only Keras can.
    """
    model, batch, costs = manifest.model, manifest.training.batch, Costs.of(manifest)
    if not isinstance(model, ModelDefinition):
        return None
    rows = min(batch, _TRIED_PRODUCTS // (_PASSES * model.row_products or 1))
    held = costs.weight_bytes + costs.learning_bytes + 2 * _FLOAT_BYTES * rows * model.row_values
    if not rows or held > _TRIED_BYTES:
        return None
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, *model.input_shape)).astype(np.float32)
    is_classes = manifest.loss == "sparse_categorical_crossentropy"
    targets = np.zeros(rows, np.int64) if is_classes else np.zeros((rows, *model.output_shape), np.float32)
    weights, optimiser = model.initial(0), Optimiser(manifest.optimiser, model.count)
    seconds = 0.0
    for _ in range(2):
        begun = time.perf_counter()
        train_step(model, manifest.objective, optimiser, weights, values, targets, rng)
        seconds = time.perf_counter() - begun
        if seconds >= _SHORT_SECONDS:
            break
    return seconds * batch / rows
