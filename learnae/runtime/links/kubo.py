"""``[ipfs] api``: exchange and gossip over a Kubo daemon."""

from __future__ import annotations

from pathlib import Path

from learnae.adapters.ipfs.exchange import Acquaintances, KuboExchange, pin_name
from learnae.adapters.ipfs.pubsub import KuboGossip
from learnae.adapters.ipfs.rpc import KuboRpc
from learnae.config.sections import IpfsSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace
from learnae.swarm.directory import open_manifest


def connect_ipfs(section: IpfsSection, place: Workspace, outside: LinkSet) -> None:
    """Add the daemon of ``[ipfs]`` to ``outside``; raises ConfigurationError."""
    swarm, exchange = place.manifest.swarm, open_exchange(section, place.swarm)
    outside.exchanges["ipfs"] = exchange
    if section.pubsub:
        rpc = KuboRpc.from_section(section)
        gossip = KuboGossip(rpc, swarm, place.name, section.timeout, exchange.acquaintances)
        outside.gossips["ipfs pubsub"] = gossip
        outside.states["ipfs pubsub"] = gossip.state
        outside.closers.append(gossip.close)


def open_exchange(section: IpfsSection, directory: Path) -> KuboExchange:
    """The exchange for the blocks of the swarm in ``directory``; raises ConfigurationError."""
    rpc = KuboRpc.from_section(section)
    acquaintances = Acquaintances(rpc, section.addresses, section.timeout)
    label = pin_name(open_manifest(directory).swarm, directory)
    return KuboExchange(rpc, label, section.timeout, acquaintances)
