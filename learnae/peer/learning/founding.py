"""Who begins where each peer waits for the others: a swarm that starts at once must not stand still."""

from learnae.ports import Clock, Gossip

INTERVAL_MS = 10_000  # between two announcements: links say again so often what is known
_INTERVALS = 2


class Founding:
    """Tells when a peer may take itself for its swarm's founder, as it has heard of no update of others.

    That takes two intervals in which it could have heard of one; none where no other machine is linked, and none for
    the peer that ``is_first``.
    """

    def __init__(self, clock: Clock, gossip: Gossip) -> None:
        self.is_first = False
        self._clock = clock
        self._gossip = gossip
        self._since: int | None = None  # uptime

    def is_over(self, hears_updates: bool) -> bool:
        """Return True if this peer may go on as if it were the founder. Asked at each tick."""
        if hears_updates or (not self._gossip.is_linked and self._gossip.announcements is not None):
            self._since = None
            return False
        if self.is_first or self._gossip.announcements is None:
            return True
        uptime = self._clock.uptime()
        self._since = uptime if self._since is None else self._since
        return uptime - self._since >= _INTERVALS * INTERVAL_MS
