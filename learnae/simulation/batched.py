"""Learners of many peers that take their steps together: the same arithmetic, over several in each NumPy call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.layers import Activation, Array, Dense
from learnae.models.optimisers import Optimiser
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Trained
from learnae.privacy.clipping import shares_of
from learnae.weights.codecs import Vector

_VALUES = 1 << 19  # of weights, optimiser and gradients that are worked on at once: two megabytes stay near the core
_MOST_ROWS = 120  # of a batch: beyond, the reference sums in blocks

Asked = tuple["BatchedLearner", int]


class BatchedLearner(NumpyLearner):
    """The reference learner, which may have taken the steps that it is asked for with others (``train_together``)."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self._ahead: tuple[int, Trained] | None = None

    @override
    def load(self, weights: Vector) -> None:
        super().load(weights)
        self._ahead = None

    @override
    def train(self, steps: int) -> Trained:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return super().train(steps)
        assert ahead[0] == steps, "other steps were taken than are asked for"
        return ahead[1]

    @property
    def may_batch(self) -> bool:
        """Return True if its steps can be taken with those of others."""
        rows, drawn = len(self.data.train), len(self.data.drawn)
        return self._ahead is None and rows > 0 and not drawn and self.batch <= _MOST_ROWS and is_plain(self)


def is_plain(learner: NumpyLearner) -> bool:
    """Return True for rows that are vectors, and layers that are Dense or an activation."""
    model = learner.model
    return len(model.input_shape) == 1 and {type(layer) for layer in model.layers} <= {Dense, Activation}


def train_together(asked: Iterable[Asked]) -> None:
    """Let learners of one swarm take the steps that each will be asked for next, as far as they can together.

    Each draws the same rows as it would alone, and gets the same weights to some 1e-7 of them.
    """
    able = [(learner, steps) for learner, steps in asked if steps > 0 and learner.may_batch]
    for (steps, _), group in groupby(sorted(able, key=_kind), key=_kind):
        learners = [learner for learner, _ in group]
        values = learners[0].model.count * (2 + len(learners[0].state()))
        most = max(1, _VALUES // values)
        for start in range(0, len(learners), most):
            part = learners[start : start + most]
            if len(part) > 1:
                _train(part, steps)


def _kind(asked: Asked) -> tuple[int, int]:
    """Return what learners that train together have in common; Adam's rate follows from the steps before."""
    learner, steps = asked
    return steps, int(learner.state()["steps"][0]) if learner.optimiser.name == "adam" else 0


def _train(learners: Sequence[BatchedLearner], steps: int) -> None:
    first = learners[0]
    model, loss, count, batch = first.model, first.loss, len(learners), first.batch
    rows, targets, bounds = _drawn(learners, steps)
    weights = np.stack([learner._weights for learner in learners])
    optimiser = Optimiser(first.optimiser, weights.size)
    optimiser.state = {
        name: array.copy() if name == "steps" else np.concatenate([learner.state()[name] for learner in learners])
        for name, array in first.state().items()
    }
    gradient = np.zeros_like(weights)
    arrays, slots = _split(first, weights), _split(first, gradient)
    layers = model.layers[:-1] if isinstance(model.layers[-1], Activation) else model.layers
    outputs = np.empty((steps, count, batch, *model.output_shape), np.float32)
    for step in range(steps):
        value, memories = rows[step], []
        for layer, own in zip(model.layers, arrays, strict=True):
            value, memory = _forward(layer, own, value)
            memories.append(memory)
        outputs[step] = value
        flat = value.reshape(count * batch, *value.shape[2:])
        flow = loss.gradient(flat, targets[step].reshape(count * batch, *targets.shape[3:])) * np.float32(count * batch)
        flow, flows, squares = flow.reshape(value.shape), [], np.zeros((count, batch))
        for index in range(len(layers) - 1, -1, -1):
            layer, own = layers[index], arrays[index]
            if isinstance(layer, Dense):
                squares += _squares(flow) * (_squares(memories[index]) + layer.bias)
                flows.append((index, flow))
                flow = flow @ own[0].transpose(0, 2, 1) if index else flow
            else:
                flow = layer.backward(own, memories[index], flow)
        shares = shares_of(np.sqrt(squares), bounds).astype(np.float32)[:, :, None]
        is_whole = bool((shares == 1).all())
        for index, flow in flows:
            left = flow if is_whole else flow * shares
            np.matmul(memories[index].transpose(0, 2, 1), left, out=slots[index][0])
            if len(slots[index]) > 1:
                np.add.reduce(left, axis=1, keepdims=True, out=slots[index][1])
        gradient /= np.float32(batch)
        optimiser.apply(weights.reshape(-1), gradient.reshape(-1))
    for index, learner in enumerate(learners):
        learner._weights[:] = weights[index]
        for name, array in learner.state().items():
            array[:] = optimiser.state[name] if name == "steps" else optimiser.state[name].reshape(count, -1)[index]
        said, known = (each[:, index].reshape(steps * batch, *each.shape[3:]) for each in (outputs, targets))
        learner._ahead = steps, Trained(steps, len(learner.data.train), loss.value(said, known))


def _drawn(learners: Sequence[BatchedLearner], steps: int) -> tuple[Array, Array, NDArray[np.float64]]:
    """Draw batches: rows (steps, learners, batch, *input), their targets, and each learner's bound (learners, 1)."""
    data, batch = learners[0].data.train, learners[0].batch
    rows = np.empty((steps, len(learners), batch, *data.rows.shape[1:]), np.float32)
    targets = np.empty((steps, len(learners), batch, *data.targets.shape[1:]), data.targets.dtype)
    bounds = np.full((len(learners), 1), np.inf)
    for index, learner in enumerate(learners):
        own = learner.data.train
        chosen = learner.rng.integers(0, len(own), (steps, batch))  # as step by step
        rows[:, index], targets[:, index] = own.rows.take(chosen, 0), own.targets.take(chosen, 0)
        own.draw(chosen.reshape(-1))
        if learner.clips_rows:
            bounds[index] = learner.bound_for(rows[0, index], targets[0, index])
    return rows, targets, bounds


def _split(learner: NumpyLearner, stack: Array) -> list[list[Array]]:
    """Return views into a ``stack`` (learners, count): for each layer its arrays; biases (learners, 1, units)."""

    def of(places: Array) -> Array:
        begun = int(places.reshape(-1)[0])
        shape = places.shape if places.ndim > 1 else (1, *places.shape)
        return stack[:, begun : begun + places.size].reshape(len(stack), *shape)

    places = learner.model.split(np.arange(stack.shape[1]))
    return [list(map(of, layer)) for layer in places]


def _forward(layer: object, arrays: Sequence[Array], value: Array) -> tuple[Array, Array]:
    if isinstance(layer, Activation):
        result, memory = layer.forward(arrays, value, True, None)
        return result, memory
    result = value @ arrays[0]
    if len(arrays) > 1:
        result += arrays[1]
    return result, value


def _squares(value: Array) -> Array:
    return np.asarray(np.einsum("kni,kni->kn", value, value))
