"""``[ipfs] api``: exchange and gossip over a Kubo daemon."""

from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange, pin_name
from learnae.adapters.ipfs.pubsub import KuboGossip
from learnae.adapters.ipfs.rpc import KuboRpc
from learnae.config.sections import IpfsSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import Swarm


def connect_ipfs(section: IpfsSection, workspace: Workspace) -> LinkSet:
    """Link to the daemon of ``[ipfs]``; raises ConfigurationError."""
    exchange = open_exchange(section, workspace.swarm)
    links = LinkSet({"ipfs": exchange})
    if not section.pubsub:
        return links
    rpc, timeout = KuboRpc.from_section(section), section.timeout
    gossip = KuboGossip(rpc, workspace.meeting, workspace.name, timeout, exchange.acquaintances, workspace.errors)
    name = "ipfs pubsub"
    return links + LinkSet(gossips={name: gossip}, states={name: gossip.state}, closers=(gossip.close,))


def open_exchange(section: IpfsSection, swarm: Swarm) -> KuboExchange:
    """Make the exchange for the blocks of ``swarm``; raises ConfigurationError."""
    rpc = KuboRpc.from_section(section)
    acquaintances = Acquaintances(rpc, section.addresses, section.timeout)
    return KuboExchange(rpc, pin_name(swarm.manifest.swarm, swarm.directory), section.timeout, acquaintances)
