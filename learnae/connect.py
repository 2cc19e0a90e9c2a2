"""From configuration to the adapters that cross this machine's border: the one list of them."""

from __future__ import annotations

from typing import Protocol

from learnae.adapters.machine import Place
from learnae.adapters.outside import Outside
from learnae.sections import IotaSection


class Connections(Protocol):
    """The sections of a role's configuration that name other machines."""

    @property
    def iota(self) -> IotaSection:
        """A node of an IOTA Tangle."""


def connect(config: Connections, place: Place) -> Outside:
    """Everything configured, not yet reachable perhaps; raises ConfigurationError.

    Nothing here waits for a network: a peer works alone until the first link is there.
    """
    outside = Outside()
    if config.iota.node:
        _connect_iota(config.iota, place, outside)
    return outside


def _connect_iota(section: IotaSection, place: Place, outside: Outside) -> None:
    from learnae.adapters.iota import IotaGossip, Pace  # noqa: PLC0415 - pyota is an extra
    from learnae.adapters.iota_client import Node  # noqa: PLC0415
    from learnae.adapters.iota_heads import OpenChannel  # noqa: PLC0415

    manifest = place.manifest
    gossip = IotaGossip(
        Node(section.node, section.mwm, section.pow),
        OpenChannel(manifest.swarm),
        place.identity,
        manifest.swarm,
        manifest.limits.horizon,
        Pace(section.poll, section.every),
        section.coordinator,
    )
    if section.events:
        from learnae.adapters.iota_events import Events  # noqa: PLC0415

        outside.closers.append(Events(section.events, gossip.tag, gossip.wake).close)
    outside.gossips["iota"] = gossip
    outside.states["iota"] = gossip.state
    outside.closers.append(gossip.close)
    gossip.start()
