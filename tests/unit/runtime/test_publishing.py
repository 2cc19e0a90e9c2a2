import pytest

from learnae.config.sections import GatewaySection, IotaSection, IpfsSection, LanSection, MqttSection, PublishSection
from learnae.runtime.publishing import publish_policy

NO_MQTT, NO_IPFS, NO_IOTA = MqttSection(), GatewaySection(), IotaSection()
MQTT = MqttSection(broker="mqtt://localhost")
IPFS = IpfsSection(api="/ip4/127.0.0.1/tcp/5001")
IOTA = IotaSection(node="http://127.0.0.1:14265")


@pytest.mark.parametrize(
    ("mqtt", "ipfs", "iota", "metered", "seconds"),
    [
        (NO_MQTT, NO_IPFS, NO_IOTA, False, 0.75),
        (MQTT, NO_IPFS, NO_IOTA, False, 2.0),
        (NO_MQTT, IPFS, NO_IOTA, False, 2.0),
        (NO_MQTT, GatewaySection(gateways="http://here:8080"), NO_IOTA, False, 2.0),
        (NO_MQTT, NO_IPFS, IOTA, False, 60.0),
        (NO_MQTT, GatewaySection(gateways="http://here:8080"), IOTA, False, 60.0),
        (MqttSection(broker="mqtt://localhost", gossip=False), NO_IPFS, IOTA, False, 60.0),
        (MQTT, NO_IPFS, IOTA, False, 2.0),
        (MQTT, NO_IPFS, NO_IOTA, True, 60.0),
    ],
)
def test_how_often_is_published_follows_from_the_links(
    mqtt: MqttSection, ipfs: GatewaySection, iota: IotaSection, metered: bool, seconds: float
) -> None:
    usual = publish_policy(PublishSection(), mqtt, ipfs, iota, LanSection(), 0.75, metered)
    assert usual.every == seconds * 1000
    asked = publish_policy(PublishSection(every=5.0, bytes_per_hour=7), mqtt, ipfs, iota, LanSection(), 0.75, metered)
    assert (asked.every, asked.bytes_per_hour) == (5000, 7)


@pytest.mark.parametrize("lan", [LanSection(serve="127.0.0.1:8733"), LanSection(peers="http://127.0.0.1:8733")])
def test_members_over_http_are_near(lan: LanSection) -> None:
    assert publish_policy(PublishSection(), NO_MQTT, NO_IPFS, IOTA, lan, 0.75, metered=False).every == 2000
