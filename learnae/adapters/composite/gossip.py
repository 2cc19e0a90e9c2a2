"""ports.Gossip over several at once: one that works is enough, and one that fails stops no other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from learnae.error_log import ErrorLog
from learnae.errors import LearnaeError
from learnae.ipld.cid import Cid
from learnae.overriding import override
from learnae.ports import Counting, Gossip, check_heads

log = logging.getLogger("learnae")


class Gossips(Gossip):
    """ports.Gossip over several, by name: all are told, all are heard; errors are counted and passed over."""

    def __init__(self, gossips: Mapping[str, Gossip], links: Sequence[str] = ()) -> None:
        """``links`` names those that reach other machines."""
        self.counts: Counter[str] = Counter()  # announcements heard
        self._gossips = gossips
        self._links = links
        self._problems = ErrorLog()

    def count_in(self, problems: ErrorLog) -> None:
        """Count what fails in ``problems`` from now on."""
        self._problems = problems
        for gossip in self._gossips.values():
            if isinstance(gossip, Counting):
                gossip.count_in(problems)

    @property
    @override
    def announcements(self) -> int | None:
        return sum(self.counts[name] for name in self._links) if self._links else None

    def announce(self, heads: Sequence[Cid]) -> None:
        """See ports.Gossip."""
        check_heads(heads)
        for gossip in self._gossips.values():
            try:
                gossip.announce(heads)
            except LearnaeError as error:  # the others go on; it is announced again at the next tick
                self._problems.count(error)

    def heard(self) -> Iterable[Sequence[Cid]]:
        """See ports.Gossip."""
        announcements: list[Sequence[Cid]] = []
        for name, gossip in self._gossips.items():
            try:
                heard = list(gossip.heard())
            except LearnaeError as error:
                self._problems.count(error)
                continue
            self.counts[name] += sum(map(bool, heard))  # an empty one is a peer that left
            announcements += heard
        return announcements
