"""Builtin operators as functions of tensors, with the shapes that they give."""

import math
from collections.abc import Sequence

import numpy as np

from agent.tflite import schema
from agent.tflite.graph import Graph, Shape, Tensor

Number = float | Tensor
_SATURATING = 1e38  # takes every positive float32 but the denormal ones to 1 or more


class Operations:
    """Appends operators to one subgraph. Arithmetic broadcasts as NumPy does; numbers become constants."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def add(self, a: Number, b: Number) -> Tensor:
        """Compute ``a + b``."""
        return self._binary(schema.ADD, a, b, schema.ADD_OPTIONS)

    def subtract(self, a: Number, b: Number) -> Tensor:
        """Compute ``a - b``."""
        return self._binary(schema.SUB, a, b, schema.SUB_OPTIONS)

    def multiply(self, a: Number, b: Number) -> Tensor:
        """Compute ``a * b``."""
        return self._binary(schema.MUL, a, b, schema.MUL_OPTIONS)

    def divide(self, a: Number, b: Number) -> Tensor:
        """Compute ``a / b``."""
        return self._binary(schema.DIV, a, b, schema.DIV_OPTIONS)

    def maximum(self, a: Number, b: Number) -> Tensor:
        """Take the greater of both."""
        return self._binary(schema.MAXIMUM, a, b)

    def minimum(self, a: Number, b: Number) -> Tensor:
        """Take the smaller of both."""
        return self._binary(schema.MINIMUM, a, b)

    def unary(self, code: int, a: Tensor) -> Tensor:
        """Apply one of ABS, LOG, LOGISTIC, RELU, RSQRT, SQRT, SQUARE, TANH."""
        return self.graph.run(code, (a,), a.shape)

    def positive(self, a: Tensor) -> Tensor:
        """Give 1.0 where ``a > 0`` and 0.0 where ``a`` is 0; ``a`` is never negative.

        One multiplication that saturates: comparing and casting are not vectorised in the runtimes.
        """
        return self._binary(schema.MUL, a, _SATURATING, schema.fused(21, schema.FUSED_BETWEEN_MINUS_1_AND_1))

    def softmax(self, a: Tensor) -> Tensor:
        """Normalise exponentials over the last axis."""
        return self.graph.run(schema.SOFTMAX, (a,), a.shape, schema.SOFTMAX_OPTIONS)

    def sum(self, a: Tensor, axes: Sequence[int], keep: bool = False) -> Tensor:
        """Sum over ``axes``."""
        return self._reduce(schema.SUM, a, axes, keep)

    def mean(self, a: Tensor, axes: Sequence[int], keep: bool = False) -> Tensor:
        """Average over ``axes``."""
        return self._reduce(schema.MEAN, a, axes, keep)

    def greatest(self, a: Tensor, axes: Sequence[int]) -> Tensor:
        """Take the greatest over ``axes``."""
        return self._reduce(schema.REDUCE_MAX, a, axes, False)

    def reshape(self, a: Tensor, shape: Shape) -> Tensor:
        """Give the same values another shape, of which at most one size is ANY."""
        if shape == a.shape:
            return a
        return self.graph.run(schema.RESHAPE, (a, self._integers(shape)), shape, kind=a.type, scale=a.scale)

    def transpose(self, a: Tensor) -> Tensor:
        """Transpose a matrix."""
        return self.graph.run(schema.TRANSPOSE, (a, self._integers((1, 0))), a.shape[::-1])

    def fully_connected(self, x: Tensor, weights: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
        """Compute ``x @ weights.T + bias``: x (rows, inputs), weights (outputs, inputs)."""
        options = schema.fully_connected(schema.FUSED_RELU if relu else schema.NO_ACTIVATION)
        return self.graph.run(schema.FULLY_CONNECTED, (x, weights, bias), (x.shape[0], weights.shape[0]), options)

    def product_over_rows(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute ``x.T @ y``: x (rows, a), y (rows, b) -> (a, b)."""
        return self.graph.run(schema.BATCH_MATMUL, (x, y), (x.shape[1], y.shape[1]), schema.BATCH_MATMUL_OPTIONS)

    def product_of_each_row(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute ``x[row].T @ y[row]``: x (rows, n, a), y (rows, n, b) -> (rows, a, b)."""
        shape = (x.shape[0], x.shape[2], y.shape[2])
        return self.graph.run(schema.BATCH_MATMUL, (x, y), shape, schema.BATCH_MATMUL_OPTIONS)

    def sum_of_squares(self, a: Tensor) -> Tensor:
        """Sum the squares of each row's values: (rows, ...) -> (rows, 1)."""
        flat = self.reshape(a, (a.shape[0], math.prod(a.shape[1:])))
        return self.sum(self.unary(schema.SQUARE, flat), (1,), keep=True)

    def pad(self, a: Tensor, left: int, right: int) -> Tensor:
        """Add zeros before and after along axis 1 of a tensor of three axes."""
        amounts = self.graph.constant([[0, 0], [left, right], [0, 0]], np.int32)
        return self.graph.run(schema.PAD, (a, amounts), (a.shape[0], a.shape[1] + left + right, a.shape[2]))

    def take(self, a: Tensor, positions: Sequence[int]) -> Tensor:
        """Take ``positions`` along axis 1 of a tensor of three axes."""
        shape = (a.shape[0], len(positions), a.shape[2])
        return self.graph.run(schema.GATHER, (a, self._integers(positions)), shape, schema.GATHER_OPTIONS)

    def first_greatest(self, a: Tensor, axis: int) -> Tensor:
        """Give 1.0 at the first of the greatest values along ``axis``, else 0.0."""
        shape = a.shape[:axis] + a.shape[axis + 1 :]
        axis_tensor = self.graph.constant(axis, np.int32)
        found = self.graph.run(schema.ARG_MAX, (a, axis_tensor), shape, schema.ARG_MAX_OPTIONS, schema.INT32)
        return self.one_hot(found, a.shape[axis], axis)

    def one_hot(self, a: Tensor, depth: int, axis: int) -> Tensor:
        """Add a new axis of ``depth``: 1.0 where the integer in ``a`` says, else 0.0."""
        constants = (self.graph.constant(depth, np.int32), self.graph.constant(1.0), self.graph.constant(0.0))
        shape = (*a.shape[:axis], depth, *a.shape[axis:])
        return self.graph.run(schema.ONE_HOT, (a, *constants), shape, schema.one_hot(axis))

    def split(self, a: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Split a vector into parts."""
        if len(sizes) == 1:
            return [a]
        inputs = (a, self._integers(sizes), self.graph.constant(0, np.int32))
        return self.graph.run_many(schema.SPLIT_V, inputs, [(size,) for size in sizes], schema.split(len(sizes)))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Join vectors into one."""
        if len(parts) == 1:
            return parts[0]
        shape = (sum(part.shape[0] for part in parts),)
        return self.graph.run(schema.CONCATENATION, parts, shape, schema.CONCATENATION_OPTIONS)

    def read(self, name: str, count: int) -> Tensor:
        """Read the variable of that name, (count,)."""
        return self.graph.run(schema.READ_VARIABLE, (self._handle(name),), (count,))

    def assign(self, name: str, value: Tensor) -> None:
        """Give the variable of that name a value."""
        self.graph.run_many(schema.ASSIGN_VARIABLE, (self._handle(name), value), (), schema.NO_OPTIONS)

    def _handle(self, name: str) -> Tensor:
        return self.graph.run(schema.VAR_HANDLE, (), (), schema.variable(name), schema.RESOURCE)

    def _binary(self, code: int, a: Number, b: Number, options: schema.Options = schema.NO_OPTIONS) -> Tensor:
        first, second = self._tensor(a), self._tensor(b)
        return self.graph.run(code, (first, second), broadcast(first.shape, second.shape), options)

    def _reduce(self, code: int, a: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
        kept = [1 if index in axes else size for index, size in enumerate(a.shape)]
        shape = kept if keep else [size for index, size in enumerate(a.shape) if index not in axes]
        return self.graph.run(code, (a, self._integers(axes)), tuple(shape), schema.reducer(keep))

    def _tensor(self, value: Number) -> Tensor:
        return value if isinstance(value, Tensor) else self.graph.constant(value)

    def _integers(self, values: Sequence[int]) -> Tensor:
        return self.graph.constant(tuple(values), np.int32)


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape of arithmetic on ``a`` and ``b``."""
    length = max(len(a), len(b))
    pairs = zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True)
    return tuple(y if x == 1 else x for x, y in pairs)
