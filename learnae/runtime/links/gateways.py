"""``[ipfs] gateway_urls``: read-only exchanges over trustless gateways."""

from __future__ import annotations

from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.config.sections import GatewaySection
from learnae.runtime.link_set import LinkSet


def connect_gateways(section: GatewaySection, outside: LinkSet) -> None:
    """Add the gateways of ``[ipfs]`` to ``outside``; raises ConfigurationError."""
    for url in section.gateway_urls:
        outside.exchanges[f"gateway {url}"] = GatewayExchange(url, section.timeout, section.ca_file)
