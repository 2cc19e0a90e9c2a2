"""How often a role's peer publishes, as its configuration and its links have it."""

from learnae.config.sections import GatewaySection, IotaSection, IpfsSection, MqttSection, PublishSection
from learnae.peer.publishing_policy import LEAST_CHANGE, PublishPolicy

_NETWORK_SECONDS = 2.0  # over MQTT or IPFS: 9 MB an hour of the preset wrist
_SLOW_SECONDS = 60.0  # over IOTA alone, whose announcements cost proof of work; or where bytes are counted


def publish_policy(
    section: PublishSection, mqtt: MqttSection, ipfs: GatewaySection, iota: IotaSection, local: float, metered: bool
) -> PublishPolicy:
    """Return the policy of ``section``; a peer of one machine only publishes every ``local`` seconds by default.

    A ``metered`` one has an owner who counts its bytes.
    """
    seconds = section.every or _usual_seconds(mqtt, ipfs, iota, local, metered)
    return PublishPolicy(round(seconds * 1000), section.bytes_per_hour, LEAST_CHANGE)


def _usual_seconds(mqtt: MqttSection, ipfs: GatewaySection, iota: IotaSection, local: float, metered: bool) -> float:
    is_fast = bool(mqtt.broker and mqtt.gossip) or bool(isinstance(ipfs, IpfsSection) and ipfs.api and ipfs.pubsub)
    if metered or (iota.node and not is_fast):
        return _SLOW_SECONDS
    return _NETWORK_SECONDS if is_fast or ipfs.gateways else local
