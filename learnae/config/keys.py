"""Keys of a section: each is declared once, with its meaning and what it may be; checks, help and pages follow."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from learnae.basics.overriding import override
from learnae.errors import ConfigurationError

T = TypeVar("T")
_META = "learnae"
GROUPED = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Numbers that a key may have: from ``least`` to ``most``, a ``unit`` of something; ``zero`` says what 0 means.

    With ``zero`` 0 is allowed beside the range. ``above`` and ``below`` leave out its ends.
    """

    least: float = 0
    most: float | None = None
    unit: str = ""
    zero: str = ""
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Return True if a key may have ``value``; no number that is not one is in any range."""
        if self.zero and value == 0:
            return True
        least = value > self.least if self.above else value >= self.least
        most = self.most is None or (value < self.most if self.below else value <= self.most)
        return least and most

    @override
    def __str__(self) -> str:
        least, beside = _plain(self.least), ", or 0" if self.zero and (self.least > 0 or self.above) else ""
        if self.most is None:
            return f"{'above' if self.above else 'at least'} {least}{beside}"
        most = f"below {_plain(self.most)}" if self.below else _plain(self.most)
        return f"above {least}, at most {most}{beside}" if self.above else f"from {least} to {most}{beside}"


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What is known of a key besides its type and its default: texts may have backquotes, and are plain else."""

    meaning: str
    range: Range | None = None
    choices: tuple[str, ...] = ()
    only: tuple[str, ...] = ()  # for which kinds of its section; empty: all
    default: str = ""  # what an empty default stands for


_NOTHING = About("")


def setting(
    default: T,
    meaning: str,
    within: Range | None = None,
    *,
    choices: Sequence[str] = (),
    only: Sequence[str] = (),
    stands_for: str = "",
) -> T:
    """Return the field of a section's dataclass for a key with this ``default``; a dict is copied for each."""
    about = About(meaning, within, tuple(choices), tuple(only), stands_for)
    metadata = {_META: about}
    if isinstance(default, dict):
        return cast(T, dataclasses.field(default_factory=default.copy, metadata=metadata))
    return dataclasses.field(default=default, metadata=metadata)


def about(item: dataclasses.Field[Any]) -> About:
    """Return what is known of a section's field; of one that was not declared by ``setting``, nothing."""
    found: About = item.metadata.get(_META, _NOTHING)
    return found


def check_keys(section: Any, name: str) -> None:
    """Raise ConfigurationError if a key of ``[name]`` is not in its range, or none of its choices."""
    for item in dataclasses.fields(section):
        value, known = getattr(section, item.name), about(item)
        if known.choices:
            check_choice(f"{name}.{item.name}", value, known.choices)
        if known.range is not None and not known.range.holds(value):
            unit = known.range.unit or "a number"
            meaning = f"; 0: {known.range.zero}" if known.range.zero else ""
            raise ConfigurationError(f"{name}.{item.name} is {value}", f"use {unit}, {known.range}{meaning}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ConfigurationError unless ``value`` is one of ``choices``; ``name`` is section.key."""
    if value not in choices:
        shown = [choice for choice in choices if choice]
        raise ConfigurationError(f"{name} is {value!r}", f"use {', '.join(shown[:-1])} or {shown[-1]}")


def _plain(value: float) -> str:
    """Return a bound as TOML has it, in groups of three digits if it is large."""
    if value != int(value):
        return f"{value:g}"
    return f"{int(value):_}" if value >= GROUPED else f"{int(value)}"
