"""``[ipfs] gateway_urls``: read-only exchanges over trustless gateways."""

from __future__ import annotations

from learnae.adapters.ipfs.gateway import GatewayExchange
from learnae.config.sections import GatewaySection
from learnae.runtime.link_set import LinkSet


def connect_gateways(section: GatewaySection) -> LinkSet:
    """Link to the gateways of ``[ipfs]``; raises ConfigurationError."""
    return LinkSet(
        {f"gateway {url}": GatewayExchange(url, section.timeout, section.ca_file) for url in section.gateway_urls}
    )
