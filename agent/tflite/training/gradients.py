"""Reverse-mode differentiation: a tape, and the operations with gradients that layers are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from agent.tflite import schema
from agent.tflite.graph import ANY, Shape, Tensor
from agent.tflite.operations import Operations
from learnae.models.layers import Sliding

Rule = Callable[[Tensor], Tensor]  # the gradient of an output -> that of an input


def _as_it_is(flow: Tensor) -> Tensor:
    return flow


@dataclass(frozen=True, slots=True)
class _Record:
    """How the gradient of ``output``, once it has gone through ``entry``, gives those of inputs, each by its rule.

    Where some of them are weights: ``vectors`` of that gradient belong to one row, and ``squares`` gives (rows, 1),
    the squares of each row's own gradient of those weights, summed.
    """

    output: Tensor
    rules: list[tuple[Tensor, Rule]]
    entry: Rule
    squares: Rule | None
    vectors: int


class Tape:
    """Records rules in the order of the forward pass."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self._watched: set[int] = set()
        self._weights: set[int] = set()
        self._records: list[_Record] = []

    def watch(self, tensor: Tensor) -> Tensor:
        """Ask for gradients with respect to ``tensor``, which are weights."""
        self._watched.add(tensor.index)
        self._weights.add(tensor.index)
        return tensor

    def record(
        self,
        output: Tensor,
        *rules: tuple[Tensor, Rule],
        entry: Rule = _as_it_is,
        squares: Rule | None = None,
        vectors: int = 1,
    ) -> Tensor:
        """Note that ``output`` depends on each input by its rule: see _Record."""
        kept = [(tensor, rule) for tensor, rule in rules if tensor.index in self._watched]
        if kept:
            self._watched.add(output.index)
            self._records.append(_Record(output, kept, entry, squares, vectors))
        return output

    def gradients(
        self, output: Tensor, flow: Tensor, wanted: Sequence[Tensor], shares: Rule | None = None
    ) -> list[Tensor]:
        """Write the backward pass from the gradient ``flow`` of ``output``, and return those of ``wanted`` weights.

        With ``shares`` each row counts as much as that gives (rows, 1) for the squared norms (rows, 1) of rows' own
        gradients: the flows to all layers come first, then the norms, then the gradients.
        """
        flows, held = {output.index: flow}, []
        for record in reversed(self._records):
            arriving = flows.pop(record.output.index, None)
            if arriving is None:
                continue
            arriving = record.entry(arriving)
            for tensor, rule in record.rules:
                if shares is None or tensor.index not in self._weights:
                    self._add(flows, tensor, rule(arriving))
            if shares is not None and any(tensor.index in self._weights for tensor, _ in record.rules):
                held.append((record, arriving))
        if shares is not None:
            share = shares(self._norms(held))
            for record, arriving in held:
                scaled = self._scaled(arriving, share, record.vectors)
                for tensor, rule in record.rules:
                    if tensor.index in self._weights:
                        self._add(flows, tensor, rule(scaled))
        return [flows[tensor.index] for tensor in wanted]

    def _add(self, flows: dict[int, Tensor], tensor: Tensor, part: Tensor) -> None:
        before = flows.get(tensor.index)
        flows[tensor.index] = part if before is None else self.operations.add(before, part)

    def _norms(self, held: Sequence[tuple[_Record, Tensor]]) -> Tensor:
        """Sum the squares of all weights' gradients."""
        parts = []
        for record, arriving in held:
            assert record.squares is not None, "rows have no gradients of their own"
            parts.append(record.squares(arriving))
        return reduce(self.operations.add, parts)

    def _scaled(self, flow: Tensor, share: Tensor, vectors: int) -> Tensor:
        ops = self.operations
        if vectors == 1:
            return ops.multiply(flow, share)
        rows = ops.reshape(flow, (ANY, vectors * flow.shape[-1]))
        return ops.reshape(ops.multiply(rows, share), flow.shape)


def linear(tape: Tape, x: Tensor, kernel: Tensor, bias: Tensor | None, relu: bool, vectors: int = 1) -> Tensor:
    """Compute ``x @ kernel + bias``, perhaps cut at 0: x (rows * vectors, inputs), kernel (inputs, units)."""
    ops = tape.operations
    result = ops.fully_connected(x, ops.transpose(kernel), bias, relu)

    def before_relu(flow: Tensor) -> Tensor:
        return ops.multiply(flow, ops.positive(result)) if relu else flow

    def squares(flow: Tensor) -> Tensor:
        if vectors == 1:  # the gradient is an outer product
            of_x = ops.sum_of_squares(x)
            return ops.multiply(ops.sum_of_squares(flow), of_x if bias is None else ops.add(of_x, 1.0))
        wide, flows = (ops.reshape(each, (ANY, vectors, each.shape[1])) for each in (x, flow))
        found = ops.sum_of_squares(ops.product_of_each_row(wide, flows))
        return found if bias is None else ops.add(found, ops.sum_of_squares(ops.sum(flows, (1,))))

    rules = [
        (x, lambda flow: ops.fully_connected(flow, kernel, None)),
        (kernel, lambda flow: ops.product_over_rows(x, flow)),
    ]
    if bias is not None:
        rules.append((bias, lambda flow: ops.sum(flow, (0,))))
    return tape.record(result, *rules, entry=before_relu, squares=squares, vectors=vectors)


def reshape(tape: Tape, x: Tensor, shape: Shape) -> Tensor:
    """Give the same values another shape."""
    ops = tape.operations
    if shape == x.shape:
        return x
    return tape.record(ops.reshape(x, shape), (x, lambda flow: ops.reshape(flow, x.shape)))


# an operator, and its derivative, which follows from its result
_ACTIVATIONS: dict[str, tuple[int, Callable[[Operations, Tensor], Tensor]]] = {
    "relu": (schema.RELU, Operations.positive),
    "tanh": (schema.TANH, lambda ops, y: ops.subtract(1.0, ops.unary(schema.SQUARE, y))),
    "sigmoid": (schema.LOGISTIC, lambda ops, y: ops.multiply(y, ops.subtract(1.0, y))),
}


def activation(tape: Tape, function: str, x: Tensor) -> Tensor:
    """Apply "relu", "tanh" or "sigmoid"."""
    ops, (code, slope) = tape.operations, _ACTIVATIONS[function]
    result = ops.unary(code, x)
    return tape.record(result, (x, lambda flow: ops.multiply(flow, slope(ops, result))))


def softmax(tape: Tape, x: Tensor) -> Tensor:
    """Normalise exponentials over the last axis of a matrix."""
    ops = tape.operations
    result = ops.softmax(x)

    def rule(flow: Tensor) -> Tensor:
        along = ops.sum(ops.multiply(flow, result), (1,), keep=True)
        return ops.multiply(result, ops.subtract(flow, along))

    return tape.record(result, (x, rule))


def windows(tape: Tape, x: Tensor, sliding: Sliding, zeros: bool) -> Tensor:
    """Cut windows: (rows, length, channels) -> (rows, count * size, channels).

    Padding reads ``zeros``, or else the nearest end of the sequence again: that leaves a maximum as it is.
    """
    ops = tape.operations
    positions = sliding.positions.reshape(-1)
    inside = (positions >= 0) & (positions < sliding.length)
    if inside.all() or not zeros:
        positions = positions.clip(0, sliding.length - 1)
        source, taken = x, positions
    else:
        source, taken = ops.pad(x, sliding.left, sliding.right), positions + sliding.left
    everything = np.array_equal(taken, np.arange(source.shape[1]))
    result = source if everything else ops.take(source, taken.tolist())
    if result is x:
        return x
    return tape.record(result, (x, lambda flow: _gather_back(tape, flow, positions, sliding.length)))


def _gather_back(tape: Tape, flow: Tensor, positions: NDArray[np.int64], length: int) -> Tensor:
    """Compute the adjoint of taking ``positions``: each position sums what was taken from it.

    There is no operator that adds into places, so every position takes the same number of entries,
    and those that have fewer take zeros from a row behind the last.
    """
    ops = tape.operations
    places = [np.flatnonzero(positions == position).tolist() for position in range(length)]
    most, spare = max(map(len, places)), len(positions)
    flat = [index for place in places for index in place + [spare] * (most - len(place))]
    if spare in flat:
        flow = ops.pad(flow, 0, 1)
    taken = ops.take(flow, flat)
    if most == 1:
        return taken
    return ops.sum(ops.reshape(taken, (ANY, length, most, flow.shape[2])), (2,))


def greatest(tape: Tape, x: Tensor) -> Tensor:
    """Take maxima: (rows, count, size, channels) -> (rows, count, channels); the first of equals gets the gradient."""
    ops = tape.operations
    result = ops.greatest(x, (2,))
    spread = (ANY, x.shape[1], 1, x.shape[3])
    return tape.record(result, (x, lambda flow: ops.multiply(ops.first_greatest(x, 2), ops.reshape(flow, spread))))


def mean_over_time(tape: Tape, x: Tensor) -> Tensor:
    """Average: (rows, length, channels) -> (rows, channels)."""
    ops = tape.operations
    _, length, channels = x.shape
    share = ops.graph.constant(np.full((1, length, 1), 1 / length))
    return tape.record(ops.mean(x, (1,)), (x, lambda flow: ops.multiply(ops.reshape(flow, (ANY, 1, channels)), share)))


def scale(tape: Tape, x: Tensor, gamma: Tensor, vectors: int = 1) -> Tensor:
    """Compute ``x * gamma`` along the last axis; ``vectors`` of ``x`` belong to one row."""
    ops = tape.operations
    axes = tuple(range(len(x.shape) - 1))
    return tape.record(
        ops.multiply(x, gamma),
        (x, lambda flow: ops.multiply(flow, gamma)),
        (gamma, lambda flow: ops.sum(ops.multiply(flow, x), axes)),
        squares=lambda flow: _squares_over_time(ops, ops.multiply(flow, x), vectors),
        vectors=vectors,
    )


def shift(tape: Tape, x: Tensor, beta: Tensor, vectors: int = 1) -> Tensor:
    """Compute ``x + beta`` along the last axis; ``vectors`` of ``x`` belong to one row."""
    ops = tape.operations
    axes = tuple(range(len(x.shape) - 1))
    return tape.record(
        ops.add(x, beta),
        (x, lambda flow: flow),
        (beta, lambda flow: ops.sum(flow, axes)),
        squares=lambda flow: _squares_over_time(ops, flow, vectors),
        vectors=vectors,
    )


def _squares_over_time(ops: Operations, parts: Tensor, vectors: int) -> Tensor:
    """Sum ``parts`` (rows * vectors, size) over each row's vectors, and the squares of that: (rows, 1)."""
    of_rows = ops.reshape(parts, (ANY, vectors, parts.shape[-1]))
    return ops.sum_of_squares(ops.sum(of_rows, (1,)))


def normalise(
    tape: Tape, x: Tensor, axes: tuple[int, ...], weights: Tensor | float, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised ``x``, and its mean and variance over ``axes``, which stay with size 1.

    ``weights`` of the entries sum to 1 over ``axes``: rows that only fill a batch have weight 0.
    """
    ops = tape.operations
    mean = ops.sum(ops.multiply(x, weights), axes, keep=True)
    centred = ops.subtract(x, mean)
    variance = ops.sum(ops.multiply(ops.unary(schema.SQUARE, centred), weights), axes, keep=True)
    inverse = ops.unary(schema.RSQRT, ops.add(variance, epsilon))
    result = ops.multiply(centred, inverse)

    def rule(flow: Tensor) -> Tensor:
        along = ops.multiply(result, ops.sum(ops.multiply(flow, result), axes, keep=True))
        common = ops.multiply(ops.add(ops.sum(flow, axes, keep=True), along), weights)
        return ops.multiply(ops.subtract(flow, common), inverse)

    return tape.record(result, (x, rule)), mean, variance
