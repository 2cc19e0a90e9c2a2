"""The links that cross this machine's border, by name, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from learnae.ports import Exchange, Gossip, Monitor


@dataclass(frozen=True, slots=True)
class LinkSet:
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
