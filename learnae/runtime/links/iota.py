"""``[iota]``: gossip over an IOTA node."""

from __future__ import annotations

from learnae.adapters.iota.announcements import OpenChannel
from learnae.adapters.iota.gossip import Events, IotaGossip, Pace
from learnae.adapters.iota.node import Node
from learnae.config.sections import IotaSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace


def connect_iota(section: IotaSection, workspace: Workspace) -> LinkSet:
    """Link to the node of ``[iota]``; raises ConfigurationError."""
    manifest = workspace.swarm.manifest
    gossip = IotaGossip(
        Node(section.node, section.mwm, section.pow),
        OpenChannel(manifest.swarm),
        workspace.identity,
        manifest.swarm,
        manifest.limits.horizon,
        Pace(section.poll, section.every),
        section.coordinator,
        workspace.errors,
    )
    closers = [gossip.close]
    if section.events:
        closers.insert(0, Events(section.events, gossip.tag, gossip.wake).close)
    gossip.start()
    return LinkSet(gossips={"iota": gossip}, states={"iota": gossip.state}, closers=tuple(closers))
