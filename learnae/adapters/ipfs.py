"""All that a peer does with a Kubo daemon, over its RPC (docs/ipfs.md)."""

from __future__ import annotations

from learnae.adapters.kubo import Acquaintances, KuboExchange, pin_name
from learnae.adapters.kubo_pubsub import KuboGossip
from learnae.adapters.kubo_rpc import KuboRpc
from learnae.adapters.machine import Place
from learnae.adapters.outside import Outside
from learnae.sections import IpfsSection


def connect_ipfs(section: IpfsSection, place: Place, outside: Outside) -> None:
    """Add the daemon of ``[ipfs]`` to ``outside``; raises ConfigurationError."""
    swarm, rpc = place.manifest.swarm, KuboRpc.from_section(section)
    acquaintances = Acquaintances(rpc, section.addresses, section.timeout)
    label = pin_name(swarm, place.swarm)
    outside.exchanges["ipfs"] = KuboExchange(rpc, label, section.timeout, acquaintances)
    if section.pubsub:
        gossip = KuboGossip(KuboRpc.from_section(section), swarm, place.name, section.timeout, acquaintances)
        outside.gossips["ipfs pubsub"] = gossip
        outside.states["ipfs pubsub"] = gossip.state
        outside.closers.append(gossip.close)
