"""When a change of the own weights is worth its bytes. Pure: time, bytes and norms are given."""

import math
from dataclasses import dataclass

LEAST_CHANGE = 0.001  # of the norm of what others hold: less than eight bits a weight can tell
_HOUR_MS = 3_600_000
_HURRY = 2 / 3  # of the time between two updates: the first cycles are short


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """At least ``every`` ms lie between two updates, and they put out at most ``bytes_per_hour``; 0 for no limit.

    An update is worth its bytes where the weights have moved by ``least_change`` of the norm of the own replica.
    ``aim`` bytes an hour slow nothing down: they count beside ``bytes_per_hour`` for how coarse frames are; 0 for no
    limit.
    """

    every: int = 0
    bytes_per_hour: int = 0
    least_change: float = 0.0
    aim: int = 0

    @property
    def room(self) -> float:
        """Return the bytes that an update may take so that one fits into each ``every``; infinite without a limit."""
        limits = [limit for limit in (self.bytes_per_hour, self.aim) if limit]
        return min(limits) * self.every / _HOUR_MS if limits else math.inf


class Cadence:
    """Decides when a cycle (merge, train, publish) ends, and whether what it learnt is published.

    An update is paid off before the next: one that was twice as large is followed by twice the wait. The first is
    due at once.
    """

    def __init__(self, policy: PublishPolicy) -> None:
        self.policy = policy
        self.is_hurried = False  # while cycles grow (Training)
        self._ended: int | None = None
        self._bytes = 0
        self._begun: int | None = None
        self._length: int | None = None  # ms that the steps of the last cycle took

    def is_due(self, uptime: int) -> bool:
        """Return True if a cycle may end at ``uptime`` ms."""
        return not self.wait(uptime)

    def wait(self, uptime: int) -> float:
        """Return the milliseconds at ``uptime`` ms until a cycle may end."""
        return 0.0 if self._ended is None else max(0.0, self._ended + self._wait - uptime)

    def begin(self, uptime: int) -> None:
        """Note that the first steps of a cycle were begun at ``uptime`` ms."""
        self._begun = uptime

    def note_done(self, uptime: int) -> None:
        """Note that the last steps of a cycle were taken by ``uptime`` ms."""
        if self._begun is not None:
            self._length, self._begun = uptime - self._begun, None

    def rest(self, uptime: int) -> float:
        """Return the milliseconds at ``uptime`` ms until a cycle as long as the last is to begin, to end when due."""
        return 0.0 if self._length is None else max(0.0, self.wait(uptime) - self._length)

    @property
    def is_full(self) -> bool:
        """Return True if the steps of the last cycle took all the time that it had."""
        return self._length is not None and self._length >= self._wait

    def is_worth(self, change: float) -> bool:
        """Return True if a ``change`` (relative norm) is worth publishing; so is one that is no number."""
        return not change < self.policy.least_change

    def end(self, uptime: int, put_out: int) -> None:
        """Note that a cycle ended at ``uptime`` ms, for which this peer has ``put_out`` so many bytes."""
        self._ended, self._bytes = uptime, put_out

    @property
    def _wait(self) -> float:
        paid_off = self._bytes * _HOUR_MS / self.policy.bytes_per_hour if self.policy.bytes_per_hour else 0.0
        return max(self.policy.every * (_HURRY if self.is_hurried else 1), paid_off)
