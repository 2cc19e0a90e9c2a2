"""Hearing before publishing: a peer that is new, or back, first takes in what the others know.

A newcomer's weights would spoil everybody's model, and a state that was restored from a backup is older than what the
swarm has heard: nothing on the own disk tells so. A peer that has published within the last minute, on a machine that
has been up since, goes on at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from learnae.ports import Clock, Gossip

_AWAY_MS = 60_000  # a service comes back faster, and no backup that is restored is so young
_FIRST_MS = 3_000  # in which all is announced that is to be taken in: what a broker keeps comes together
_RENEWED_MS = 12_000  # in which all say again what they know: before, what this peer said last may not be among it
_STUCK_MS = 20_000  # after which what is still missing is lost: a block that is there comes sooner
_MOST_MS = 6_000  # the same for a newcomer that has most: one that died with its last words keeps none waiting
_ALONE_MS = 9_000  # with the three: pubsub repeats announcements every ten, a newcomer that hears none is the first
_STEP_MS = 60_000  # clocks that are kept right do not jump so far


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of what others announced is here: ``done`` of ``known`` authors."""

    done: int
    known: int


class CatchUp:
    """Keeps a peer silent until it has taken in what others know of the swarm, and of itself.

    ========  ======================================  ===========================================================
    state     what is known                           ends
    ========  ======================================  ===========================================================
    free      all that was announced                  ``start``; a jump of the time of day: deaf
    deaf      no other machine was heard yet          its first announcement, for a newcomer after 9 s: catching
    catching  some of what was announced              all that was announced within 3 s, 12 s unless it is new, is
                                                      here; or nothing came for 20 s, 6 s where a newcomer
                                                      has most of it
    ========  ======================================  ===========================================================

    What is announced later is no reason to wait: peers always join a large swarm, and authors can be invented.
    ``since`` is when it became silent, in Unix milliseconds; None while free. Durations are of ``clock.uptime``, which
    stays as it is when the time of day is set. Where ``gossip.announcements`` is None, all that can be heard is heard
    at once: it is never deaf, and waits for nothing but what is missing. ``begin`` is called when it
    becomes silent, and ``measure`` tells what has come since.
    """

    def __init__(
        self, clock: Clock, gossip: Gossip, begin: Callable[[], None], measure: Callable[[], Progress]
    ) -> None:
        self.since: int | None = None
        self.is_new = False
        self.progress = Progress(0, 0)
        self._clock = clock
        self._gossip = gossip
        self._begin, self._measure = begin, measure
        self._booted = clock.now() - clock.uptime()
        self._before = 0  # announcements that do not count
        self._begun = self._came = 0  # uptime: of becoming silent, and when something came
        self._heard: int | None = None  # uptime: of the first announcement; None while deaf
        self._wanted = 0  # authors that were announced first

    def start(self, last_spoken: int | None, is_new: bool, is_first: bool = False) -> None:
        """Begin a run of a peer that remembers having spoken at ``last_spoken``, Unix milliseconds; None if not.

        A peer that has never spoken, also not in a run that is forgotten, ``is_new``. If it ``is_first``, there is none
        yet that it could hear.
        """
        is_recent = last_spoken is not None and abs(self._clock.now() - last_spoken) < _AWAY_MS
        self.is_new = is_new
        if is_new and is_first:
            return
        if not is_recent or self._clock.uptime() < _AWAY_MS:
            self._silence()

    def must_stay_silent(self, has_spoken: bool) -> bool:
        """Return True while the peer must not publish. Asked at each tick.

        A peer that ``has_spoken`` becomes silent anew where the time of day has jumped: as it does soon after a running
        machine was set back to a snapshot, and on a board without a clock battery, whose clock stands still meanwhile.
        """
        uptime = self._clock.uptime()
        booted = self._clock.now() - uptime
        if has_spoken and abs(booted - self._booted) >= _STEP_MS and self._gossip.announcements is not None:
            self._silence()
        self._booted = booted
        if self.since is not None and self._is_done(uptime):
            self.since = None
        return self.since is not None

    def _silence(self) -> None:
        self.since, self._before = self._clock.now(), self._gossip.announcements or 0
        self._begun, self._heard = self._clock.uptime(), None
        self._begin()

    def _is_done(self, uptime: int) -> bool:
        progress, announcements = self._measure(), self._gossip.announcements
        has_come, self.progress = progress.done > self.progress.done, progress
        is_deaf = announcements is not None and announcements <= self._before
        if is_deaf and not (self.is_new and uptime - self._begun >= _ALONE_MS):
            return False
        if self._heard is None:
            self._heard = self._came = uptime
        if has_come:
            self._came = uptime
        first = _FIRST_MS if self.is_new else _RENEWED_MS
        left = self._heard + (first if announcements is not None else 0) - uptime
        if left >= 0:
            self._wanted = progress.known
        has_most = self.is_new and 2 * progress.done > self._wanted
        patience = _MOST_MS if has_most else _STUCK_MS
        return left <= 0 and (progress.done >= self._wanted or uptime - self._came >= patience)
