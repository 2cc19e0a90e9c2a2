"""A subgraph under construction: tensors and operators in the order in which they run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.tflite.schema import FLOAT32, NO_OPTIONS, TYPES, Options

ANY = -1  # a size that is known when the program runs: the batch, or rows made of it
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """How int8 values stand for numbers: ``scales * (value - zeros)``, one a slice along ``axis``, or one for all."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value in a subgraph: ``shape`` with ANY where it depends on the batch; ``data`` if constant."""

    index: int
    shape: Shape
    type: int
    name: str = ""
    data: bytes | None = None
    scale: Scale | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """One step: a builtin operator's code, its options, what it reads and writes (-1: left out)."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Options


@dataclass(slots=True)
class Graph:
    """One subgraph, callable by its ``name``."""

    name: str
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    _constants: dict[Any, Tensor] = field(default_factory=dict)

    def input(self, name: str, shape: Shape, kind: int = FLOAT32) -> Tensor:
        """Add a value that the caller gives; at least one axis, as some runtimes fail on scalars."""
        assert shape
        self.inputs[name] = self._tensor(shape, kind, name)
        return self.inputs[name]

    def output(self, name: str, tensor: Tensor) -> None:
        """Give ``tensor`` to the caller."""
        self.outputs[name] = tensor

    def constant(self, values: ArrayLike, dtype: type = np.float32, scale: Scale | None = None) -> Tensor:
        """Add a value that is part of the program; equal ones are stored once."""
        array: NDArray[Any] = np.ascontiguousarray(values, dtype)
        shape = np.shape(values)
        key = (shape, array.dtype.str, array.tobytes(), scale)
        if key not in self._constants:
            self._constants[key] = self._tensor(shape, TYPES[array.dtype], data=array.tobytes(), scale=scale)
        return self._constants[key]

    def run(
        self,
        code: int,
        inputs: Sequence[Tensor | None],
        shape: Shape,
        options: Options = NO_OPTIONS,
        kind: int = FLOAT32,
        scale: Scale | None = None,
    ) -> Tensor:
        """Append an operator with one output of ``shape``; None leaves an optional input out."""
        output = self._tensor(shape, kind, scale=scale)
        self._append(code, inputs, (output,), options)
        return output

    def run_many(self, code: int, inputs: Sequence[Tensor], shapes: Sequence[Shape], options: Options) -> list[Tensor]:
        """Append an operator with one output for each of ``shapes``, perhaps none."""
        outputs = [self._tensor(shape, FLOAT32) for shape in shapes]
        self._append(code, inputs, outputs, options)
        return outputs

    def _append(self, code: int, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], options: Options) -> None:
        read = tuple(-1 if tensor is None else tensor.index for tensor in inputs)
        self.operators.append(Operator(code, read, tuple(tensor.index for tensor in outputs), options))

    def _tensor(
        self, shape: Shape, kind: int, name: str = "", data: bytes | None = None, scale: Scale | None = None
    ) -> Tensor:
        tensor = Tensor(len(self.tensors), tuple(shape), kind, name, data, scale)
        self.tensors.append(tensor)
        return tensor
