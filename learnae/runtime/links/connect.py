"""From configuration to the adapters that cross this machine's border: the one list of them."""

from __future__ import annotations

from typing import Protocol

from learnae.config.sections import ExchangeSection, GatewaySection, IotaSection, IpfsSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace
from learnae.system.installation import how_to_install


class Connections(Protocol):
    """Has the sections of a role's configuration that name other machines."""

    @property
    def mqtt(self) -> MqttSection:
        """Return ``[mqtt]``."""

    @property
    def ipfs(self) -> GatewaySection:
        """Return ``[ipfs]``; with a daemon it is an IpfsSection."""

    @property
    def exchange(self) -> ExchangeSection:
        """Return ``[exchange]``."""

    @property
    def iota(self) -> IotaSection:
        """Return ``[iota]``."""


def connect(config: Connections, workspace: Workspace) -> LinkSet:
    """Make all links that are configured, not yet reachable perhaps; raises ConfigurationError.

    Nothing here waits for a network: a peer works alone until the first link is there.
    """
    links = LinkSet()
    if config.mqtt.broker:
        from learnae.runtime.links.mqtt import connect_mqtt  # noqa: PLC0415 - an extra

        has_daemon = isinstance(config.ipfs, IpfsSection) and bool(config.ipfs.api)
        links += connect_mqtt(config.mqtt, workspace, holds=has_daemon)
    if isinstance(config.ipfs, IpfsSection) and config.ipfs.api:
        try:
            from learnae.runtime.links.kubo import connect_ipfs  # noqa: PLC0415 - an extra, and a heavy one
        except ImportError as error:
            raise ConfigurationError(f"{error.name} is not installed", how_to_install("ipfs")) from error
        links += connect_ipfs(config.ipfs, workspace)
    if config.ipfs.gateway_urls:
        from learnae.adapters.ipfs.gateway import GatewayExchange  # noqa: PLC0415 - brings TLS

        timeout, ca_file = config.ipfs.timeout, config.ipfs.ca_file
        links += LinkSet({f"gateway {url}": GatewayExchange(url, timeout, ca_file) for url in config.ipfs.gateway_urls})
    links = links.sorted_by(config.exchange.rank)
    if config.iota.node:
        from learnae.runtime.links.iota import connect_iota  # noqa: PLC0415 - an extra

        links += connect_iota(config.iota, workspace)
    return links
