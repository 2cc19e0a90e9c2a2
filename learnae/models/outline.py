"""The facts of a model that peers need to exchange its weights where they cannot build it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from learnae.errors import ModelError
from learnae.ipld.fields import Fields
from learnae.models.layers import MAX_UNITS, Shape

MAX_PARAMETERS = 1 << 28  # one gibibyte of float32
_MAX_RANK = 4


class Model(Protocol):
    """A model from outside: shapes of one example without the batch axis, and the length of the weights."""

    @property
    def input_shape(self) -> Shape:
        """Return the shape of one row."""

    @property
    def output_shape(self) -> Shape:
        """Return the shape of one prediction."""

    @property
    def count(self) -> int:
        """Return the length of the weights."""

    @property
    def final_activation(self) -> str:
        """Return the Keras name of the activation that the model ends with."""

    @property
    def has_row_gradients(self) -> bool:
        """Return True if learners can tell each row's gradient from a batch's."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A model that only Keras can build, as the manifest describes it: see Model. Trainers check it against Keras."""

    input_shape: Shape
    output_shape: Shape
    count: int
    final_activation: str

    @property
    def has_row_gradients(self) -> bool:
        """Return False: Keras gives gradients of batches; one row after another they take many times as long."""
        return False

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the manifest."""
        return {
            "input": list(self.input_shape),
            "output": list(self.output_shape),
            "count": self.count,
            "final": self.final_activation,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Outline:
        """Read the map of another peer's manifest, every size bounded; raises the error of ``fields``."""
        return cls(
            _shape(fields, "input"), _shape(fields, "output"), fields.integer("count", 1, MAX_PARAMETERS),
            fields.text("final"),
        )  # fmt: skip


def _shape(fields: Fields, name: str) -> Shape:
    sizes = fields.value(name)
    if not isinstance(sizes, (list, tuple)) or not 1 <= len(sizes) <= _MAX_RANK:
        raise fields.error(name, sizes, f"a list of 1 to {_MAX_RANK} sizes")
    return fields.integers(name, len(sizes), 1, MAX_UNITS)


def check_count(count: int) -> None:
    """Raise ModelError for a model that is too large, or has nothing to train."""
    if not 1 <= count <= MAX_PARAMETERS:
        raise ModelError(f"a model of {count} parameters", f"between 1 and {MAX_PARAMETERS} can be trained")
