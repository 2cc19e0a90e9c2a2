"""Who hears which zones of a simulated network, as a broker knows its subscribers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from learnae.protocol.neighbourhood.interest import LEVELS, Zone

Listener = TypeVar("Listener")


class Audience(Generic[Listener]):
    """Which listeners, by their numbers, hear which zones.

    >>> audience = Audience[str]()
    >>> audience.attend(1, "b", (Zone.of(0, levels=1),))
    >>> audience.listeners(["a", "b"], place=0), audience.listeners(["a", "b"], place=1 << LEVELS - 1)
    (['a', 'b'], ['a'])
    """

    def __init__(self) -> None:
        self._listeners: dict[Zone, dict[int, Listener]] = {}
        self._zones: dict[int, tuple[Zone, ...]] = {}
        self._known: dict[tuple[int, int], list[Listener]] = {}  # by place, and how many there were

    def attend(self, index: int, listener: Listener, zones: tuple[Zone, ...]) -> None:
        """Let the listener of a number hear these zones, and no others."""
        self._known.clear()
        for zone in self._zones.get(index, ()):
            del self._listeners[zone][index]
        self._zones[index] = zones
        for zone in zones:
            self._listeners.setdefault(zone, {})[index] = listener

    def listeners(self, all_: Sequence[Listener], place: int) -> list[Listener]:
        """Return those out of ``all_`` that hear a place, in their order; who has said nothing hears all places."""
        known = self._known.get((place, len(all_)))
        if known is not None:
            return known
        is_silent = len(self._zones) < len(all_)
        found = {index: each for index, each in enumerate(all_) if index not in self._zones} if is_silent else {}
        for levels in range(LEVELS + 1):
            found |= self._listeners.get(Zone.of(place, levels), {})
        known = self._known[place, len(all_)] = [found[index] for index in sorted(found)]
        return known
