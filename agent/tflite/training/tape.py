"""Reverse-mode differentiation: which operators gave which tensor, and how gradients flow back.

A tape writes both passes into one subgraph. Only what leads to a watched tensor is recorded, so
that the same code without watched tensors writes inference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.tflite.graph import Tensor
from agent.tflite.operations import Operations

Rule = Callable[[Tensor], Tensor]  # the gradient of an output -> that of an input


class Tape:
    """Records rules in the order of the forward pass."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self._watched: set[int] = set()
        self._records: list[tuple[Tensor, list[tuple[Tensor, Rule]]]] = []

    def watch(self, tensor: Tensor) -> Tensor:
        """Ask for gradients with respect to ``tensor``."""
        self._watched.add(tensor.index)
        return tensor

    def record(self, output: Tensor, *rules: tuple[Tensor, Rule]) -> Tensor:
        """Note that ``output`` depends on each input by its rule."""
        kept = [(tensor, rule) for tensor, rule in rules if tensor.index in self._watched]
        if kept:
            self._watched.add(output.index)
            self._records.append((output, kept))
        return output

    def gradients(self, output: Tensor, flow: Tensor, wanted: Sequence[Tensor]) -> list[Tensor]:
        """Write the backward pass from the gradient ``flow`` of ``output``, and return those of ``wanted``."""
        flows = {output.index: flow}
        for made, rules in reversed(self._records):
            arriving = flows.pop(made.index, None)
            if arriving is None:
                continue
            for tensor, rule in rules:
                part = rule(arriving)
                before = flows.get(tensor.index)
                flows[tensor.index] = part if before is None else self.operations.add(before, part)
        return [flows[tensor.index] for tensor in wanted]
