"""The computation of a training step as JAX functions over explicit state, compiled once for each shape.

One call runs many steps in ``lax.scan``: rows stay on the device, and no Python runs between steps.
That is what ``keras.fit`` computes, bit for bit, without its cost for each step; only BatchNormalization trains
otherwise (renormalisation).
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learnae.errors import ModelError, StateError
from learnae.models.definition import ModelDefinition
from learnae.models.keras_model import build_model, import_keras, moments_of, outline_of
from learnae.models.layers import parts_of
from learnae.models.layers.normalisation import MOVING_VARIANCE
from learnae.models.optimisers import OptimiserPolicy
from learnae.privacy.clipping import TINY, WITHIN
from learnae.weights.codecs import Vector
from trainer_node.learning.convolutions import arranged
from trainer_node.learning.renormalisation import renormalise
from trainer_node.learning.row_norms import Tap

Arrays = list[Any]
SUM_BLOCK = (
    64  # rows: with the sums of CHUNK_ROWS / 64 blocks, fewer roundings than learnae.privacy.noise.grid.ADDITIONS
)
# the flat state of learnae.models.optimisers, and where Keras' optimisers keep the same
_SLOTS: dict[str, dict[str, str]] = {
    "sgd": {},
    "momentum": {"velocity": "momentums"},
    "adam": {"mean": "_momentums", "square": "_velocities"},
}


Pair = tuple[Any, Any]  # rows and their targets, on the device


class Carry(NamedTuple):
    """Everything that a step changes: lists of device arrays in Keras' order."""

    trainable: Arrays
    other: Arrays  # moving statistics and seeds
    optimiser: Arrays


class Functions:
    """A model, its loss and its optimiser, as functions of a Carry."""

    def __init__(self, config: Mapping[str, Any], loss: str, policy: OptimiserPolicy, precision: str) -> None:
        keras = import_keras()
        self._jax: Any = importlib.import_module("jax")
        self._policy = policy
        self._model = renormalise(build_model(config, precision))
        objective = getattr(keras.losses, "".join(part.capitalize() for part in loss.split("_")))
        self._loss, self._losses = objective(), objective(reduction=None)
        self._tap, self.no_row_gradients, self._definition = self._tapped(config)
        self._optimiser = keras_optimiser(keras, policy)
        self._optimiser.build(self._model.trainable_variables)
        self._places = self._find_places()
        self.count = sum(int(np.prod(weight.shape)) for weight in self._model.weights)
        self.outline = outline_of(self._model)
        self.moments = moments_of(self._model)
        self.row_values = sum(map(_values_of, self._model._flatten_layers(include_self=False)))
        self.device = self._jax.devices()[0]
        self.train = self._jax.jit(self._scan, donate_argnums=0)
        self.train_clipped = self._jax.jit(self._clipped_scan, donate_argnums=0)
        self.clipped_sum = self._jax.jit(self._clipped_sum)
        self.predict = self._jax.jit(self._predict, static_argnums=4)

    def _tapped(self, config: Mapping[str, Any]) -> tuple[Tap | None, ModelError | None, ModelDefinition | None]:
        """Return what tells the norms of rows' gradients, or why nothing can, and the model as the swarm has it."""
        try:
            definition = ModelDefinition.from_config(config)
            definition.check_row_gradients()
        except ModelError as error:
            return None, error, None
        return Tap(self._model), None, definition

    def untaught(self, carry: Carry) -> Carry:
        """Return ``carry`` with weights that have learnt nothing."""
        assert self._definition is not None, self.no_row_gradients
        return self.with_vector(carry, self._definition.untaught())

    def initial(self) -> Carry:
        """Return Keras' own initial weights and a fresh optimiser."""
        model = self._model
        lists = (model.trainable_variables, model.non_trainable_variables, self._optimiser.variables)
        # copies, as a carry's arrays are given up to the next step's
        return Carry(*([self._jax.numpy.array(item.value, copy=True) for item in items] for items in lists))

    # -- compiled

    def _scan(self, carry: Carry, own: Pair, drawn: Pair | None, indices: Any) -> tuple[Carry, Any]:
        """Take steps on ``indices`` (steps, batch) of the rows; return the carry and the losses (steps,).

        Both pairs are of rows and their targets; numbers beyond ``own`` ones are those of ``drawn`` ones.
        """
        one = arranged(self._step) if self.device.platform == "cpu" else self._step

        def step(carry: Carry, chosen: Any) -> tuple[Carry, Any]:
            result: tuple[Carry, Any] = one(carry, *self.chosen(own, drawn, chosen))
            return result

        # float32 means float32: the default lets GPUs multiply with a mantissa of ten bits
        with self._jax.default_matmul_precision("highest"):
            result: tuple[Carry, Any] = self._jax.lax.scan(step, carry, indices)
        return result

    def chosen(self, own: Pair, drawn: Pair | None, chosen: Any) -> Iterator[Any]:
        """Give the rows of the numbers ``chosen`` (batch,), and their targets; both pairs stay where they are."""
        jnp, count = self._jax.numpy, len(own[0])
        for number, each in enumerate(own):
            found = each[jnp.minimum(chosen, count - 1)]
            if drawn is not None:
                is_own = (chosen < count).reshape(-1, *[1] * (found.ndim - 1))
                found = jnp.where(is_own, found, drawn[number][jnp.maximum(chosen - count, 0)])
            yield found

    def _step(self, carry: Carry, rows: Any, targets: Any) -> tuple[Carry, Any]:
        def loss_of(trainable: Arrays) -> tuple[Any, Arrays]:
            output, other, losses = self._model.stateless_call(
                trainable, carry.other, rows, training=True, return_losses=True
            )
            loss = self._loss(targets, output)
            return (loss + sum(losses) if losses else loss), other

        (loss, other), gradient = self._jax.value_and_grad(loss_of, has_aux=True)(carry.trainable)
        trainable, optimiser = self._optimiser.stateless_apply(carry.optimiser, gradient, carry.trainable)
        return Carry(trainable, other, optimiser), loss

    def _clipped_scan(self, carry: Carry, own: Pair, drawn: Pair | None, indices: Any, bound: Any) -> tuple[Carry, Any]:
        """Take steps as ``_scan`` does, no row's gradient longer than ``bound``."""
        jnp = self._jax.numpy

        def one(carry: Carry, rows: Any, targets: Any) -> Any:
            shares = jnp.full(len(rows), 1 / len(rows))
            gradient, _, loss, other = self._clipped(carry, rows, targets, shares, bound, training=True)
            trainable, optimiser = self._optimiser.stateless_apply(carry.optimiser, gradient, carry.trainable)
            return Carry(trainable, other, optimiser), loss

        one = arranged(one) if self.device.platform == "cpu" else one
        with self._jax.default_matmul_precision("highest"):
            result: tuple[Carry, Any] = self._jax.lax.scan(
                lambda carry, chosen: one(carry, *self.chosen(own, drawn, chosen)), carry, indices
            )
        return result

    def _clipped_sum(self, carry: Carry, rows: Any, targets: Any, shares: Any, bound: Any) -> tuple[Arrays, Any, Any]:
        """Return the sum of the gradients of ``rows`` with ``shares`` (n,), their norms (n,), and the loss so summed.

        No gradient is longer than ``bound``; dropout is inactive. Full blocks of SUM_BLOCK rows are added one after
        another, so that few roundings are of each.
        """
        tree = self._jax.tree_util
        blocks = len(rows) // SUM_BLOCK if len(rows) % SUM_BLOCK == 0 else 1
        parts = tuple(each.reshape(blocks, -1, *each.shape[1:]) for each in (rows, targets, shares))

        def add(total: tuple[Arrays, Any], part: tuple[Any, Any, Any]) -> tuple[Any, Any]:
            block, goals, counted = part
            gradient, norms, loss, _ = self._clipped(carry, block, goals, counted, bound, training=False)
            return tree.tree_map(self._jax.numpy.add, total, (gradient, loss)), norms

        none = tree.tree_map(self._jax.numpy.zeros_like, carry.trainable)
        with self._jax.default_matmul_precision("highest"):
            (gradient, loss), norms = self._jax.lax.scan(add, (none, 0.0), parts)
        return gradient, norms.reshape(-1), loss

    def _clipped(
        self, carry: Carry, rows: Any, targets: Any, shares: Any, bound: Any, training: bool
    ) -> tuple[Arrays, Any, Any, Arrays]:
        """Go back twice: for the norms, then for the gradient with each row's share."""
        jnp, tap = self._jax.numpy, self._tap
        assert tap is not None, self.no_row_gradients

        def losses_of(trainable: Arrays, told: Any) -> tuple[Any, Arrays]:
            with tap.on(told):
                output, other = self._model.stateless_call(trainable, carry.other, rows, training=training)
            return self._losses(targets, output).reshape(len(rows), -1).mean(1), other

        nothing = jnp.zeros(len(rows))
        losses, back, other = self._jax.vjp(losses_of, carry.trainable, nothing, has_aux=True)
        _, squares = back(jnp.ones_like(losses))
        norms = jnp.sqrt(squares)
        gradient, _ = back(shares * jnp.minimum(1.0, WITHIN * bound / jnp.maximum(norms, TINY)))
        return gradient, norms, (losses * shares).sum(), other

    def _predict(self, trainable: Arrays, other: Arrays, rows: Any, start: Any, size: int) -> Any:
        """Return the outputs (size, outputs) for the rows from ``start`` on."""
        part, jnp = self._jax.lax.dynamic_slice_in_dim(rows, start, size), self._jax.numpy
        moving = zip(self._model.non_trainable_variables, other, strict=True)  # Keras makes NaN of a variance below 0
        other = [jnp.maximum(array, 0) if item.name == MOVING_VARIANCE else array for item, array in moving]
        with self._jax.default_matmul_precision("highest"):
            output, _ = self._model.stateless_call(trainable, other, part, training=False)
        return output

    # -- one flat vector, in the order of get_weights()

    def _find_places(self) -> list[tuple[bool, int]]:
        """Return for each weight whether it is trainable, and its index in that list."""
        lists = ((True, self._model.trainable_variables), (False, self._model.non_trainable_variables))
        places = {id(item): (own, index) for own, items in lists for index, item in enumerate(items)}
        return [places[id(item)] for item in self._model.weights]

    def _parts(self, vector: NDArray[Any]) -> Iterator[tuple[bool, int, Any]]:
        """Yield each weight's place, and its part of ``vector`` (count,) in its shape."""
        parts = parts_of(vector, (weight.shape for weight in self._model.weights))
        return ((own, index, part) for (own, index), part in zip(self._places, parts, strict=True))

    def vector(self, carry: Carry) -> Vector:
        """Return the weights (count,) float32, on the host."""
        arrays = [(carry.trainable if own else carry.other)[index] for own, index in self._places]
        return np.concatenate([np.asarray(array, np.float32).ravel() for array in arrays])

    def trained_vector(self, trainable: Arrays) -> Vector:
        """Return what belongs to the weights that are trained as (count,) float32, zeros elsewhere, on the host."""
        parts = (
            np.asarray(trainable[index], np.float32).ravel() if own else np.zeros(item.shape, np.float32).ravel()
            for item, (own, index) in zip(self._model.weights, self._places, strict=True)
        )
        return np.concatenate(list(parts))

    def with_vector(self, carry: Carry, vector: Vector) -> Carry:
        """Return the carry with the weights of ``vector`` (count,), the rest as it is."""
        trainable, other = list(carry.trainable), list(carry.other)
        for own, index, part in self._parts(vector):
            arrays = trainable if own else other
            arrays[index] = self._jax.numpy.array(part, arrays[index].dtype)
        return Carry(trainable, other, carry.optimiser)

    # -- the optimiser's state, as learnae.models.optimisers has it

    def _slots(self, name: str) -> dict[int, int]:
        """Map the index in the trainable list to the index in the optimiser's variables."""
        numbers = {id(item): index for index, item in enumerate(self._optimiser.variables)}
        kept = getattr(self._optimiser, _SLOTS[self._policy.name][name])
        return {index: numbers[id(item)] for index, item in enumerate(kept)}

    def state(self, carry: Carry) -> dict[str, NDArray[Any]]:
        """Return the optimiser's arrays (count,) by name, zeros where a weight is not trained, and ``steps`` (1,)."""
        result: dict[str, NDArray[Any]] = {}
        for name in _SLOTS[self._policy.name]:
            slots, result[name] = self._slots(name), np.zeros(self.count, np.float32)
            for own, index, part in self._parts(result[name]):
                if own and index in slots:
                    part[...] = carry.optimiser[slots[index]]
        result["steps"] = np.array([int(carry.optimiser[self._iterations])], np.int64)
        return result

    def with_state(self, carry: Carry, state: Mapping[str, NDArray[Any]]) -> Carry:
        """Return the carry with a saved optimiser state; raises StateError if it belongs to another optimiser."""
        shapes = dict.fromkeys(_SLOTS[self._policy.name], (self.count,)) | {"steps": (1,)}
        if {name: array.shape for name, array in state.items()} != shapes:
            raise StateError("the saved optimiser state does not fit the swarm's optimiser")
        optimiser = list(carry.optimiser)
        for name in _SLOTS[self._policy.name]:
            slots = self._slots(name)
            for own, index, part in self._parts(state[name]):
                if own and index in slots:
                    optimiser[slots[index]] = self._jax.numpy.array(part, np.float32)
        steps = optimiser[self._iterations]
        optimiser[self._iterations] = self._jax.numpy.array(int(state["steps"][0]), steps.dtype)
        return Carry(carry.trainable, carry.other, optimiser)

    @property
    def _iterations(self) -> int:
        return next(i for i, item in enumerate(self._optimiser.variables) if item is self._optimiser.iterations)


def keras_optimiser(keras: Any, policy: OptimiserPolicy) -> Any:
    """Return Keras' optimiser of the same name and constants."""
    if policy.name == "adam":
        return keras.optimizers.Adam(policy.learning_rate, policy.beta_1, policy.beta_2, policy.epsilon)
    momentum = policy.momentum if policy.name == "momentum" else 0.0
    return keras.optimizers.SGD(policy.learning_rate, momentum)


def _values_of(layer: Any) -> int:
    """Return how many values a layer makes of one row; 0 where Keras does not know, as inside of wrappers."""
    try:
        shape = layer.output.shape[1:]
    except (AttributeError, ValueError):
        return 0
    return int(np.prod(shape, dtype=np.int64)) if None not in shape else 0
