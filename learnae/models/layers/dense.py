"""The fully connected layer, and what it shares with other layers that have a kernel."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from learnae.basics.overriding import override
from learnae.models.layers.base import Array, Arrays, Cost, Layer, Shape, squares_of, sum_of_blocks

ZEROS = "Zeros"
# uniform initialisers of Keras, fan-dependent but for one: (numerator, uses fan_out)
INITIALISERS = {
    "GlorotUniform": (6.0, True),
    "HeUniform": (6.0, False),
    "LecunUniform": (3.0, False),
    ZEROS: (0.0, True),
}


class KernelLayer(Layer):
    """A layer of a kernel (..., inputs, outputs) and, with ``bias``, a bias (outputs,)."""

    __slots__ = ()

    bias: bool
    initialiser: str

    @property
    def kernel(self) -> Shape:
        """Return the kernel's shape."""
        raise NotImplementedError

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return ("kernel", "bias") if self.bias else ("kernel",)

    @property
    @override
    def shapes(self) -> tuple[Shape, ...]:
        return (self.kernel, self.kernel[-1:]) if self.bias else (self.kernel,)

    @override
    def initialise(self, arrays: Arrays, rng: Generator) -> None:
        *field, inputs, outputs = self.kernel  # fans count the whole receptive field, as in Keras
        numerator, both = INITIALISERS[self.initialiser]
        bound = math.sqrt(numerator / (math.prod(field) * (inputs + (outputs if both else 0))))
        arrays[0][:] = rng.uniform(-bound, bound, self.kernel).astype(arrays[0].dtype)


def _products(entered: Array, flow: Array, out: Array | None = None) -> Array:
    return np.asarray(np.matmul(entered.T, flow, out=out))


@dataclass(frozen=True, slots=True)
class Dense(KernelLayer):
    """``x @ kernel + bias``; kernel (inputs, units), bias (units,)."""

    inputs: int
    units: int
    bias: bool
    initialiser: str

    @property
    @override
    def kernel(self) -> Shape:
        return self.inputs, self.units

    @override
    def cost(self, shape: Shape) -> Cost:
        return Cost((self.units,), self.units, self.inputs * self.units)

    @override
    def forward(self, arrays: Arrays, value: Array, training: bool, rng: Generator | None) -> tuple[Array, Array]:
        result = value @ arrays[0]
        if self.bias:
            result += arrays[1]
        return result, value

    @override
    def backward(self, arrays: Arrays, memory: Array, flow: Array) -> Array:
        return np.asarray(flow @ arrays[0].T)

    @override
    def gradients(self, slots: Arrays, memory: Array, flow: Array) -> None:
        sum_of_blocks(_products, memory, flow, out=slots[0])
        if self.bias:
            slots[1][:] = sum_of_blocks(np.add.reduce, flow)

    @override
    def squared_norms(self, memory: Array, flow: Array) -> Array:
        return squares_of(flow) * (squares_of(memory) + self.bias)  # that of an outer product is a product
