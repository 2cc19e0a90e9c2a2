"""What the tick hands to the server: parts of the state as JSON texts, and the points of the curves.

The tick pushes, and builds nothing while no viewer is there; the server only reads what was pushed.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_MOST_POINTS = 3600
_POINT_MS = 1000  # at least, between two points
_GAIN_MS, _LEAST_GAIN_MS = 600_000, 60_000
_KEPT = 4  # snapshots that differences can be told from
_ASKED_SECONDS = 3.0  # a look that is so old is over


class Point(NamedTuple):
    """One point of the curves: Unix milliseconds, and what is known then.

    ``score`` is the consensus estimate's on own held-out rows: accuracy, or R²; ``own`` that of the model for this
    machine, ``best`` that of the best version kept; ``loss`` the consensus estimate's.
    """

    time: int
    score: float | None
    loss: float | None
    own: float | None
    best: float | None


_WIDTH = len(Point._fields)


class History:
    """The points since the start: at most ``most``, then every other one goes, and new ones come half as often.

    >>> history = History(most=4)
    >>> for second in range(6):
    ...     history.note(Point(1000 * second, second / 10, None, None, None))
    >>> [point.time for point in history.since(0)]
    [2000, 4000]
    """

    def __init__(self, most: int = _MOST_POINTS) -> None:
        self._most = most
        self._values = array("d")  # of all points, one after another: 40 bytes each; NaN for None
        self._spacing = _POINT_MS
        self._last: int | None = None

    def note(self, point: Point) -> None:
        """Take in a point, unless the last one is too young. Called by one thread."""
        if self._last is not None and 0 <= point.time - self._last < self._spacing:
            return
        self._last = point.time
        self._values.extend(array("d", (math.nan if value is None else value for value in point)))  # at once
        if len(self._values) > self._most * _WIDTH:
            kept = self._points()[::2]
            self._values = array("d", (math.nan if value is None else value for point in kept for value in point))
            self._last, self._spacing = kept[-1].time, 2 * self._spacing

    def since(self, time_ms: int) -> list[Point]:
        """Return the points after a time. Safe from another thread."""
        return [point for point in self._points() if point.time > time_ms]

    @property
    def last(self) -> Point | None:
        """Return the newest point."""
        return self._point(self._values[-_WIDTH:]) if self._values else None

    def _points(self) -> list[Point]:
        values = self._values[:]
        return [self._point(values[start : start + _WIDTH]) for start in range(0, len(values), _WIDTH)]

    @staticmethod
    def _point(values: Sequence[float]) -> Point:
        time_ms, *others = values
        score, loss, own, best = (None if math.isnan(value) else value for value in others)
        return Point(int(time_ms), score, loss, own, best)

    def gain(self) -> tuple[float, float] | None:
        """Return what the score has gained, in how many seconds: the last ten minutes, or what there is of them.

        None before there is a minute.
        """
        points = [point for point in self._points() if point.score is not None]
        if not points:
            return None
        last = points[-1]
        first = next(point for point in points if point.time >= last.time - _GAIN_MS)
        if last.time - first.time < _LEAST_GAIN_MS or first.score is None or last.score is None:
            return None
        return last.score - first.score, (last.time - first.time) / 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one time: JSON texts by name of the part. ``at`` is on the monotonic clock."""

    serial: int
    parts: Mapping[str, str]
    at: float
    metrics: str = ""

    def text(self) -> str:
        """Return all of it as one JSON object."""
        inner = ",".join(f'"{name}":{text}' for name, text in self.parts.items())
        return f'{{"serial":{self.serial},"all":true,"set":{{{inner}}},"gone":[]}}'

    def change_from(self, before: Snapshot) -> str:
        """Return what is not as it was, as JSON."""
        parts, old = self.parts, before.parts
        inner = ",".join(f'"{name}":{text}' for name, text in parts.items() if old.get(name) != text)
        gone = ",".join(f'"{name}"' for name in old if name not in parts)
        return f'{{"serial":{self.serial},"set":{{{inner}}},"gone":[{gone}]}}'


@dataclass(eq=False)
class Board:
    """Is written by the tick's thread and read by the server's. ``on_news`` is told of each snapshot."""

    history: History = field(default_factory=History)
    on_news: Callable[[], None] = lambda: None
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self._kept: deque[Snapshot] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._watchers = 0
        self._asked = float("-inf")

    @property
    def newest(self) -> Snapshot | None:
        """Return the last snapshot; None before there is one."""
        with self._lock:
            return self._kept[-1] if self._kept else None

    def known(self, serial: int) -> Snapshot | None:
        """Return a snapshot of a moment ago."""
        with self._lock:
            return next((each for each in self._kept if each.serial == serial), None)

    def ask(self) -> None:
        """Say that a snapshot is wanted now."""
        self._asked = time.monotonic()

    def watch(self, change: int) -> None:
        """Count one viewer more, or less."""
        with self._lock:
            self._watchers += change

    @property
    def is_wanted(self) -> bool:
        """Return True while there is a viewer."""
        return self._watchers > 0 or time.monotonic() - self._asked < _ASKED_SECONDS

    def publish(self, parts: Mapping[str, str], metrics: str) -> None:
        """Show a state."""
        with self._lock:
            serial = self._kept[-1].serial + 1 if self._kept else 1
            self._kept.append(Snapshot(serial, parts, time.monotonic(), metrics))
        self.on_news()
