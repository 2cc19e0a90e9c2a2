"""Hearing before publishing: for a peer that comes back and may have forgotten its own last message.

A state that was restored from a backup is older than what the swarm has heard, and nothing on the own disk tells so.
A peer that has published within the last minute, on a machine that has been up since, goes on at once; one that was
away for longer hears others first, and trains meanwhile.
"""

from learnae.ports import Clock, Gossip

_AWAY_MS = 60_000  # a service comes back faster, and no backup that is restored is so young
_QUIET_MS = 20_000  # pubsub repeats heads every ten seconds; one repetition may be lost, and a slow block comes
_LONGEST_MS = 300_000  # a network, a broker or a daemon that starts with the machine is there by then
_STEP_MS = 60_000  # clocks that are kept right do not jump so far


class RejoinGuard:
    """Keeps a peer silent until it has heard what others remember of it.

    ========  =======================================  ==========================================================
    state     what is known                            ends
    ========  =======================================  ==========================================================
    free      the own past is complete                 ``start`` after an absence; a jump of the time of day:
                                                       deaf, if there are other machines to hear
    deaf      no other machine was heard yet           its first announcement: catching; 300 s: free
    catching  messages older than ``since`` come       20 s without such a message: free; 300 s: free
    quiet     20 s have passed without one, or 300 s   the next ``must_stay_silent``: free
    ========  =======================================  ==========================================================

    ``since`` is when it became silent, in Unix milliseconds; None while free. Durations are of ``clock.uptime``, which
    stays as it is when the time of day is set. Where ``gossip.announcements`` is None, all that can be heard is heard
    at once, and it is always free.
    """

    def __init__(self, clock: Clock, gossip: Gossip) -> None:
        self.since: int | None = None
        self._clock = clock
        self._gossip = gossip
        self._booted = clock.now() - clock.uptime()
        self._before = 0  # announcements that do not count
        self._deadline = 0
        self._last_news: int | None = None  # uptime of the last sign that there is more to hear; None while deaf

    def start(self, last_spoken: int | None) -> None:
        """Begin a run of the peer that remembers having spoken at ``last_spoken``, Unix milliseconds; None if not."""
        is_recent = last_spoken is not None and abs(self._clock.now() - last_spoken) < _AWAY_MS
        if not is_recent or self._clock.uptime() < _AWAY_MS:
            self._silence()

    def note_heard(self, oldest: int | None) -> None:
        """Note that peers were listened to; ``oldest`` is the time of the oldest message that came, None without."""
        announcements = self._gossip.announcements
        if announcements is None or self.since is None:
            return
        is_past = oldest is not None and oldest < self.since
        if announcements > self._before and (self._last_news is None or is_past):
            self._last_news = self._clock.uptime()

    def must_stay_silent(self, has_spoken: bool) -> bool:
        """Return True while the peer must not publish: it may have forgotten its own last message. Asked at each tick.

        A peer that ``has_spoken`` becomes silent anew where the time of day has jumped: as it does soon after a running
        machine was set back to a snapshot, and on a board without a clock battery, whose clock stands still meanwhile.
        """
        uptime = self._clock.uptime()
        booted = self._clock.now() - uptime
        if has_spoken and abs(booted - self._booted) >= _STEP_MS:
            self._silence()
        self._booted = booted
        is_quiet = self._last_news is not None and uptime - self._last_news >= _QUIET_MS
        if is_quiet or uptime >= self._deadline:
            self.since = None
        return self.since is not None

    def _silence(self) -> None:
        announcements = self._gossip.announcements
        if announcements is None:
            return
        self.since, self._last_news, self._before = self._clock.now(), None, announcements
        self._deadline = self._clock.uptime() + _LONGEST_MS
