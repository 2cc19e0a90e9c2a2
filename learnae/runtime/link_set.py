"""The links that cross this machine's border, by name, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType

from learnae.ports import Exchange, Gossip, InviteDesk, Monitor


@dataclass(frozen=True, slots=True)
class LinkSet:
    """Links a peer to other machines, by name, in the order in which they are tried. Immutable: ``+`` joins two.

    ``states`` gives, for each link by its name, what the status says of it, such as ``connected``;
    ``meters`` give bytes that went to callers since they were last asked, beside what the peer's own store counts;
    ``closers`` are called once, in order, when the peer leaves.

    >>> gateway = LinkSet(states={"gateway": lambda: "connected"}, closers=(lambda: print("closed"),))
    >>> links = gateway + LinkSet(states={"mqtt": lambda: "away"})
    >>> links.status()
    {'gateway': 'connected', 'mqtt': 'away'}
    >>> links.close()
    closed
    >>> links.close()
    """

    exchanges: Mapping[str, Exchange] = field(default_factory=dict)
    gossips: Mapping[str, Gossip] = field(default_factory=dict)
    monitors: tuple[Monitor, ...] = ()
    desks: tuple[InviteDesk, ...] = ()
    states: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    meters: tuple[Callable[[], int], ...] = ()
    closers: tuple[Callable[[], None], ...] = ()

    def __post_init__(self) -> None:
        for name in ("exchanges", "gossips", "states"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        # what is cached is called once, however many sets it is in
        object.__setattr__(self, "closers", tuple(map(cache, self.closers)))

    def __add__(self, other: LinkSet) -> LinkSet:
        return LinkSet(
            {**self.exchanges, **other.exchanges},
            {**self.gossips, **other.gossips},
            self.monitors + other.monitors,
            self.desks + other.desks,
            {**self.states, **other.states},
            self.meters + other.meters,
            self.closers + other.closers,
        )

    def sorted_by(self, rank: Callable[[str], int]) -> LinkSet:
        """Return the links with exchanges in the order of ``rank``; those of one rank stay as they are."""
        return replace(self, exchanges={name: self.exchanges[name] for name in sorted(self.exchanges, key=rank)})

    def status(self) -> dict[str, str]:
        """Return the state of each link by name."""
        return {name: state() for name, state in self.states.items()}

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        for closer in self.closers:
            closer()
