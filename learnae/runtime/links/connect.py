"""From configuration to the adapters that cross this machine's border: the one list of them."""

from learnae.adapters.token_bucket import Spending
from learnae.config.privacy_section import LABEL
from learnae.config.sections import ExchangeSection, GatewaySection, IotaSection, IpfsSection, LanSection, MqttSection
from learnae.errors import ConfigurationError
from learnae.ports import Exchange
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace
from learnae.system.installation import how_to_install

_HOUR_SECONDS = 3600.0
_LARGEST_BYTES = 2 << 20  # an answer over MQTT, which goes out whole


def connect(
    workspace: Workspace,
    mqtt: MqttSection,
    ipfs: GatewaySection,
    exchange: ExchangeSection,
    iota: IotaSection,
    lan: LanSection,
    shown: str = LABEL,
    answers: float = 0.0,
) -> LinkSet:
    """Make all links that are configured, not yet reachable perhaps; raises ConfigurationError.

    ``ipfs`` with a daemon is an IpfsSection; ``shown`` is ``[privacy] inference``. Of what others ask for over
    MQTT and HTTP, ``answers`` bytes a second go out, an hour's at once; 0 for no such limit. Nothing here waits for a
    network: a peer works alone until the first link is there.
    """
    purse = Spending(max(answers * _HOUR_SECONDS, _LARGEST_BYTES), answers) if answers else None
    links = LinkSet()
    if not workspace.meeting:  # no member has told this peer where the others meet
        return LinkSet(states={"links": lambda: "none: start again once a member has let this peer in"})
    if mqtt.broker:
        from learnae.runtime.links.mqtt import connect_mqtt  # noqa: PLC0415 - an extra

        has_daemon = isinstance(ipfs, IpfsSection) and bool(ipfs.api)
        links += connect_mqtt(mqtt, workspace, has_daemon, shown, purse)
    if isinstance(ipfs, IpfsSection) and ipfs.api:
        try:
            from learnae.runtime.links.kubo import connect_ipfs  # noqa: PLC0415 - an extra, and a heavy one
        except ImportError as error:
            raise ConfigurationError(f"{error.name} is not installed", how_to_install("ipfs")) from error
        links += connect_ipfs(ipfs, workspace)
    if ipfs.gateway_urls:
        links += connect_gateways(ipfs)
    if lan.is_used:
        from learnae.runtime.links.http import connect_http  # noqa: PLC0415 - two megabytes

        is_sealed, admits = workspace.swarm.manifest.is_sealed, workspace.gate.admits
        links += connect_http(lan, workspace, is_sealed, workspace.meeting, admits, purse)
    links = links.sorted_by(exchange.rank)
    if iota.node:
        from learnae.runtime.links.iota import connect_iota  # noqa: PLC0415 - an extra

        links += connect_iota(iota, workspace)
    return links


def connect_gateways(ipfs: GatewaySection) -> LinkSet:
    """Link to the gateways, which are read only; raises ConfigurationError."""
    from learnae.adapters.ipfs.gateway import GatewayExchange  # noqa: PLC0415 - brings TLS

    found: dict[str, Exchange] = {}
    for url in ipfs.gateway_urls:
        gateway = GatewayExchange(url, ipfs.timeout, ipfs.ca_file)
        alike = [name for name in found if name.split()[1] == gateway.name]  # their paths differ
        found[f"gateway {gateway.name}{f' {len(alike) + 1}' if alike else ''}"] = gateway
    return LinkSet(found)
