"""Hearing: whom this peer hears follows from how many live authors it counts; all, in small swarms and for archives."""

import logging

from learnae.peer.following import Following
from learnae.peer.forgetting import Forgetting
from learnae.peer.replication import Replicator
from learnae.ports import Clock
from learnae.protocol.neighbourhood.attention import Attention

_log = logging.getLogger(__name__)


class Hearing:
    """Lets ``attention`` look at who is live, and all others attend to what it chooses."""

    def __init__(
        self, attention: Attention, replication: Replicator, following: Following, forgetting: Forgetting, clock: Clock
    ) -> None:
        self._attention = attention
        self._replication = replication
        self._following = following
        self._forgetting = forgetting
        self._clock = clock
        following.size_of = attention.size
        self._attend()

    def look(self) -> None:
        """Hear others than before, where there are more or fewer now; cheap to repeat."""
        uptime = self._clock.uptime()
        if not self._attention.is_due(uptime):
            return
        levels = self._replication.gossip.levels
        if levels and self._attention.begin(levels):
            self._attend()
        now, silent = self._clock.now(), self._silent_trainers()
        settled, live = self._following.settled(now), self._following.others(now)
        known = [author for author in silent if self._replication.knows(author)]
        if self._attention.look([*settled, *known], [*live, *silent], uptime):
            self._attend()

    def status(self) -> dict[str, str | int]:
        """Return the zones that are heard, as bits, and of how many live authors; nothing where all are."""
        interest = self._replication.interest
        if interest.is_whole:
            return {}
        home, visited = (zone.path.replace("/", "") for zone in interest.zones)
        return {"home": home, "visited": visited, "heard": len(self._following.others(self._clock.now()))}

    def _silent_trainers(self) -> list[bytes]:
        """Return the authors who are here and publish no updates, such as those that send summaries alone."""
        tangle, news = self._replication.tangle, self._following.news
        oldest = self._clock.now() - tangle.limits.horizon // 2  # who has nothing to say speaks each third of it
        silent = [author for author in tangle.speakers() if author not in news and author != tangle.me]
        found = [(author, tangle.newest_of(author)) for author in silent]
        nodes = [(author, tangle.node(cid)) for author, cid in found if cid]
        return [author for author, node in nodes if node and node.time >= oldest]

    def _attend(self) -> None:
        interest = self._attention.interest
        self._replication.attend(interest)
        if interest.is_whole:
            return
        horizon = self._replication.tangle.limits.horizon
        self._forgetting.unused_for = max(self._forgetting.unused_for, horizon)  # others here may hear those authors
        _log.info("hearing the zones %s of the swarm", " and ".join(zone.path for zone in interest.zones))
