"""Several ways out of this machine at once: one that works is enough, and one that fails stops no other."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from learnae.cid import Cid
from learnae.errors import LearnaeError
from learnae.ports import Exchange, Gossip, Inference, Monitor, check_heads
from learnae.problems import Problems

log = logging.getLogger("learnae")


@dataclass(frozen=True, slots=True)
class Outside:
    """What links a peer to other machines, by name, in the order in which it is tried.

    ``states`` gives, for each link by its name, what the status says of it, such as ``connected``;
    ``closers`` are called once, in order, when the peer leaves.
    """

    exchanges: dict[str, Exchange] = field(default_factory=dict)
    gossips: dict[str, Gossip] = field(default_factory=dict)
    monitors: list[Monitor] = field(default_factory=list)
    states: dict[str, Callable[[], str]] = field(default_factory=dict)
    closers: list[Callable[[], None]] = field(default_factory=list)

    def status(self) -> dict[str, str]:
        """Name to state."""
        return {name: state() for name, state in self.states.items()}

    def sort_exchanges(self, rank: Callable[[str], int]) -> None:
        """Put exchanges into the order of ``rank``; those of one rank stay as they are."""
        for name in sorted(self.exchanges, key=rank):
            self.exchanges[name] = self.exchanges.pop(name)

    def close(self) -> None:
        """Let go of everything."""
        while self.closers:
            self.closers.pop(0)()


@runtime_checkable
class Counting(Protocol):
    """An adapter that meets errors where nobody can catch them, such as in a thread of its own."""

    def count_in(self, problems: Problems) -> None:
        """Count what fails in ``problems`` from now on."""


class Gossips:
    """ports.Gossip over several, by name: all are told, all are heard; errors are counted and passed over."""

    def __init__(self, gossips: Mapping[str, Gossip]) -> None:
        self.counts: Counter[str] = Counter()  # announcements heard
        self._gossips = gossips
        self._problems = Problems()

    def count_in(self, problems: Problems) -> None:
        """Count what fails in ``problems`` from now on."""
        self._problems = problems
        for gossip in self._gossips.values():
            if isinstance(gossip, Counting):
                gossip.count_in(problems)

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


class Monitors:
    """ports.Monitor over several: each is told."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors

    def report(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.report(status)

    def infer(self, results: Sequence[Inference]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.infer(results)

    def close(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        for monitor in self._monitors:
            monitor.close(status)
