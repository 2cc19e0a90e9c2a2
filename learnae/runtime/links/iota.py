"""``[iota]``: gossip over an IOTA node."""

from __future__ import annotations

from learnae.adapters.iota.announcements import OpenChannel
from learnae.adapters.iota.events import Events
from learnae.adapters.iota.gossip import IotaGossip, Pace
from learnae.adapters.iota.node import Node
from learnae.config.sections import IotaSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace


def connect_iota(section: IotaSection, place: Workspace, outside: LinkSet) -> IotaGossip:
    """Add to ``outside`` what ``section`` asks for; raises ConfigurationError."""
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
        outside.closers.append(Events(section.events, gossip.tag, gossip.wake).close)
    outside.gossips["iota"] = gossip
    outside.states["iota"] = gossip.state
    outside.closers.append(gossip.close)
    gossip.start()
    return gossip
