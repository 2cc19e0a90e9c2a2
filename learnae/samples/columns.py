"""Which columns of a recording mean what, as its owner says."""

from dataclasses import dataclass

from learnae.errors import ConfigurationError
from learnae.tables.time_units import AUTO, UNITS


@dataclass(frozen=True, slots=True)
class Columns:
    """What a user says of a table: the column of the ``label``; that of the ``time`` (AUTO: the one that looks like it;
    False: none), and its ``unit`` (AUTO: the one that fits the swarm's rate). Raises ConfigurationError.
    """

    label: str = "label"
    time: str | bool = AUTO
    unit: str = AUTO

    def __post_init__(self) -> None:
        if self.unit not in (AUTO, *UNITS):
            raise ConfigurationError(f"time_unit is {self.unit!r}", f"use one of {', '.join(UNITS)}")


USUAL_COLUMNS = Columns()
