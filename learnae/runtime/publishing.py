"""How often a role's peer publishes, as its configuration and its links have it."""

from learnae.config.sections import GatewaySection, IotaSection, IpfsSection, LanSection, MqttSection, PublishSection
from learnae.peer.publishing_policy import LEAST_CHANGE, PublishPolicy

LOCAL_SECONDS = {"trainer": 0.75, "agent": 1.0}  # by role, where all peers are on this machine
NETWORK_SECONDS = 2.0  # over MQTT, IPFS or HTTP: 9 MB an hour of the preset wrist
_SLOW_SECONDS = (
    60.0  # over IOTA alone, whose announcements cost proof of work; or where bytes, or noisy steps, are counted
)


def publish_policy(
    section: PublishSection,
    mqtt: MqttSection,
    ipfs: GatewaySection,
    iota: IotaSection,
    lan: LanSection,
    local: float,
    metered: bool,
    aim: int = 0,
) -> PublishPolicy:
    """Return the policy of ``section``; a peer of one machine only publishes every ``local`` seconds by default.

    A ``metered`` one has an owner who counts its bytes, or rows that pay for each update: others come in time to merge.
    Frames are as coarse as ``aim`` bytes an hour, and the section's, take; 0 for no limit.
    """
    seconds = section.every or _usual_seconds(mqtt, ipfs, iota, lan, local, metered)
    return PublishPolicy(round(seconds * 1000), section.bytes_per_hour, LEAST_CHANGE, aim)


def _usual_seconds(
    mqtt: MqttSection, ipfs: GatewaySection, iota: IotaSection, lan: LanSection, local: float, metered: bool
) -> float:
    has_pubsub = isinstance(ipfs, IpfsSection) and bool(ipfs.api and ipfs.pubsub)
    is_fast = bool(mqtt.broker and mqtt.gossip) or has_pubsub or lan.is_used
    if metered or (iota.node and not is_fast):
        return _SLOW_SECONDS
    return NETWORK_SECONDS if is_fast or ipfs.gateways else local
