"""Listening before speaking: for a peer that comes back and may have forgotten what it said last.

A state that was restored from a backup is older than what the swarm has heard, and nothing on the own disk tells so.
Whoever has spoken within the last minute, on a machine that has been up since, goes on at once; whoever has been away
longer hears others first, and trains meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from learnae.ports import Clock

_AWAY = 60_000  # ms: a service comes back faster, and nobody restores a backup that is so young
_QUIET = 20_000  # ms: pubsub repeats heads every ten seconds; one repetition may be lost, and a slow block comes
_LONGEST = 300_000  # ms: a network, a broker or a daemon that starts with the machine is there by then
_STEP = 60_000  # ms: clocks that are kept right do not jump so far


class RejoinGuard:
    """Whether to listen first. Durations are of ``clock.uptime``, which nobody sets.

    ``announcements`` counts what other machines have announced; None if there are none, and then all that can be
    heard is heard at once. ``since`` is when listening began, in Unix milliseconds; None while there is none.
    """

    def __init__(self, clock: Clock, announcements: Callable[[], int] | None) -> None:
        self.since: int | None = None
        self._clock = clock
        self._announcements = announcements
        self._booted = clock.now() - clock.uptime()
        self._before = 0  # announcements that do not count
        self._deadline = 0
        self._news: int | None = None  # uptime of the last sign that there is more to hear; None before anybody speaks

    def come_back(self, spoke: int) -> None:
        """The peer starts, and remembers that it spoke at ``spoke``, in Unix milliseconds."""
        if abs(self._clock.now() - spoke) >= _AWAY or self._clock.uptime() < _AWAY:
            self._begin()

    def note(self, oldest: int | None) -> None:
        """Something may have been heard; ``oldest`` is the time of the oldest message that came."""
        if self._announcements is None or self.since is None:
            return
        is_past = oldest is not None and oldest < self.since
        if self._announcements() > self._before and (self._news is None or is_past):
            self._news = self._clock.uptime()

    def goes_on(self, has_spoken: bool) -> bool:
        """Whether the peer must not speak yet, asked at every tick.

        Who ``has_spoken`` listens anew where the time of day has jumped: as it does soon after a running machine was
        set back to a snapshot, and on a board without a clock battery, which believes at first that no time has passed.
        """
        uptime = self._clock.uptime()
        booted = self._clock.now() - uptime
        if has_spoken and abs(booted - self._booted) >= _STEP:
            self._begin()
        self._booted = booted
        is_quiet = self._news is not None and uptime - self._news >= _QUIET
        if is_quiet or uptime >= self._deadline:
            self.since = None
        return self.since is not None

    def _begin(self) -> None:
        if self._announcements is None:
            return
        self.since, self._news, self._before = self._clock.now(), None, self._announcements()
        self._deadline = self._clock.uptime() + _LONGEST
