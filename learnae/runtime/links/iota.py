"""``[iota]``: gossip over an IOTA node."""

from learnae.adapters.iota.announcements import Channel
from learnae.adapters.iota.gossip import Events, IotaGossip, Pace
from learnae.adapters.iota.node import Node
from learnae.config.sections import IotaSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace


def connect_iota(section: IotaSection, workspace: Workspace) -> LinkSet:
    """Link to the node of ``[iota]``; raises ConfigurationError."""
    swarm, horizon = workspace.swarm.manifest.swarm, workspace.swarm.manifest.limits.horizon
    node, pace = Node.from_section(section), Pace(section.poll, section.every)
    channel, errors = Channel(workspace.meeting), workspace.errors
    gossip = IotaGossip(node, channel, workspace.identity, swarm, horizon, pace, section.coordinator, errors)
    closers = [gossip.close]
    if section.events:
        closers.insert(0, Events(section.events, gossip.tag, gossip.wake).close)
    gossip.start()
    return LinkSet(gossips={"iota": gossip}, states={"iota": gossip.state}, closers=tuple(closers))
