"""Attention: which zones a peer chooses, by how many live authors it counts there itself. Pure.

No peer is asked how many there are, so that none can say a wrong number; places are spread evenly, so that what is
counted in one zone is what others count in theirs.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

from learnae.protocol.neighbourhood.interest import LEVELS, Interest, Zone, place_of

WHOLE = 32  # live authors up to which all are heard; where the owner wants another number, all below follow from it
MOST = 16  # live authors of one zone; one with more is halved …
LEAST = 5  # … unless a half would have fewer than these: a zone that has is doubled. Halves of 17 have 5 to 12
CROWD = 2 * MOST  # that is halved in any case
VISIT_MS = 30 * 60_000  # of the own uptime, for which a peer stays in one zone that is not its own
_LOOK_MS = 1_000  # between two looks
WAIT_MS = 30_000  # in which what is announced in a new zone has come, before it is doubled; twice as long each time …
_HINT_WAIT_MS = 10_000  # the same where the size was a hint, which may be wrong
_MOST_WAIT_MS = 16 * WAIT_MS  # … that it had to be halved again


def levels_of(peers: int, hears: int = WHOLE) -> int:
    """Return how many levels the zones of so many peers come to have, where each hears as many; 0 for one zone of all.

    >>> [levels_of(peers) for peers in (8, 64, 100, 1_000, 10_000)]
    [0, 2, 3, 6, 9]
    """
    return 0 if peers <= hears else (peers * 8 // (hears * 3)).bit_length() - 1  # of three eighths of these each


class _Sight:
    """One zone as it is sized: the places around a ``centre`` that have its first ``levels`` bits."""

    def __init__(self, centre: int, levels: int, hears: int, wait: int = WAIT_MS) -> None:
        self.centre, self.levels = centre, levels
        self._crowd, self._most = hears, hears // 2
        self._least = hears * LEAST // WHOLE
        self._changed: int | None = None  # uptime: when it got its size, None before the first look
        self._wait = wait
        self._was_doubled = False

    @property
    def zone(self) -> Zone:
        return Zone.of(self.centre, self.levels)

    def size(self, settled: list[int], live: list[int], uptime: int) -> None:
        """Halve the zone until few enough ``settled`` places are in it; double it if few of the ``live`` are."""
        self._changed = uptime if self._changed is None else self._changed
        before, zone = self.levels, self.zone
        within = [place for place in settled if place in zone]
        while len(within) > self._most and self.levels < LEVELS:
            smaller = Zone.of(self.centre, self.levels + 1)
            half = [place for place in within if place in smaller]
            if len(half) < self._least and len(within) <= self._crowd:
                break
            within, self.levels = half, self.levels + 1
        if self.levels > before:
            if self._was_doubled:
                self._wait = min(2 * self._wait, _MOST_WAIT_MS)
            self._changed, self._was_doubled = uptime, False
        elif uptime - self._changed >= self._wait and sum(place in zone for place in live) < self._least:
            self._changed, self._was_doubled = uptime, True
            self.levels -= 1


class Attention:
    """Chooses the ``interest`` of the peer ``me`` in a swarm (a CID's bytes): all, or two zones, and their sizes.

    The home zone holds its own place; the visited one is drawn with ``rng``, and anew after a while. Each is sized by
    what is counted in it alone, so that keys that were made for the one do not empty the other. It begins with zones of
    so many ``levels``, 0 for all. It ``hears`` at most so many as a whole: of them follow the sizes of zones.

    >>> attention = Attention(b"swarm", bytes(32), random.Random(1))
    >>> live = [bytes([number, *bytes(31)]) for number in range(200)]
    >>> attention.look(live[:32], live[:32], uptime=0), attention.interest.is_whole
    (False, True)
    >>> attention.look(live, live, uptime=1000)
    True
    >>> home, visited = attention.interest.zones
    >>> 5 <= sum(place_of(b"swarm", author) in home for author in live) <= 16, home.overlaps(visited)
    (True, False)
    >>> 100 <= attention.size(heard=64) <= 400
    True
    """

    def __init__(self, swarm: bytes, me: bytes, rng: random.Random, levels: int = 0, hears: int = WHOLE) -> None:
        self._hears = hears
        self.interest = Interest.of(swarm, me)
        self._rng = rng
        self._due = 0  # uptime: of the next look
        self._home: _Sight | None = None
        self._visited: _Sight | None = None
        self._moved: int | None = None  # uptime: of the first look after the visited zone was drawn
        self._near = 0  # live authors of the home zone, at the last look
        self._is_begun = bool(levels)
        if levels:
            self._divide(levels)

    def begin(self, levels: int) -> bool:
        """Begin with zones of so many ``levels``, as a hint says; return False if zones were chosen before."""
        if self._is_begun:
            return False
        self._is_begun = True
        self._divide(min(levels, LEVELS), _HINT_WAIT_MS)
        return True

    def is_due(self, uptime: int) -> bool:
        """Return True if it is time for another look."""
        return uptime >= self._due

    def look(self, settled: Collection[bytes], live: Iterable[bytes], uptime: int) -> bool:
        """Size the zones by other authors who are ``live``; return True if the interest is another one now.

        Those who are ``settled`` are known for long enough to count where a zone is halved: keys cost nothing to make.
        """
        self._due = uptime + _LOOK_MS
        swarm, before = self.interest.swarm, self.interest
        places, present = ([place_of(swarm, author) for author in authors] for authors in (settled, live))
        if self._home is None and len(places) > self._hears:
            self._is_begun = True
            self._divide(1)
        if self._home is not None:
            self._size(self._home, places, present, uptime)
        self._near = sum(place in self.interest.home for place in present)
        return self.interest != before

    def size(self, heard: int) -> int:
        """Return how many live authors the swarm has, as far as can be told from those that are ``heard``."""
        return heard if self.interest.is_whole else max(heard, self._near << self.interest.home.levels)

    def _divide(self, levels: int, wait: int = WAIT_MS) -> None:
        self._home = _Sight(self.interest.place, levels, self._hears, wait)
        self._visit(self._home, wait)

    def _size(self, home: _Sight, places: list[int], present: list[int], uptime: int) -> None:
        home.size(places, present, uptime)
        if not home.levels:
            self._home, self._visited = None, None
            self.interest = Interest(self.interest.swarm, self.interest.place)
            return
        visited = self._visited
        if visited is not None:
            visited.size(places, present, uptime)
        self._moved = uptime if self._moved is None else self._moved
        is_over = uptime - self._moved >= VISIT_MS
        if visited is None or is_over or not visited.levels or visited.zone.overlaps(home.zone):
            self._visit(home)
        else:
            self._choose(home, visited)

    def _visit(self, home: _Sight, wait: int = WAIT_MS) -> None:
        """Visit another zone, as large as the one before: never one within home, or around it."""
        levels = max(1, self._visited.levels) if self._visited else home.levels
        drawn = self._rng.getrandbits(LEVELS)
        while Zone.of(drawn, levels).overlaps(home.zone):
            drawn = self._rng.getrandbits(LEVELS)
        self._visited, self._moved = _Sight(drawn, levels, self._hears, wait), None
        self._choose(home, self._visited)

    def _choose(self, home: _Sight, visited: _Sight) -> None:
        self.interest = Interest(self.interest.swarm, self.interest.place, (home.zone, visited.zone))
