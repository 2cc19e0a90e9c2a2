"""All that a peer does over one MQTT connection: the topics, and who uses them (docs/mqtt.md)."""

from __future__ import annotations

from dataclasses import dataclass

from learnae.adapters.machine import Place
from learnae.adapters.mqtt_client import Will
from learnae.adapters.mqtt_connection import MqttConnection
from learnae.adapters.outside import Outside
from learnae.cid import Cid
from learnae.sections import MqttSection

ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True, slots=True)
class Topics:
    """``PREFIX/SWARM/PEER/CHANNEL``: a peer writes below its own name only, so that an ACL can hold it to that."""

    prefix: str
    swarm: Cid
    peer: str

    def own(self, channel: str) -> str:
        """The topic that this peer writes."""
        return f"{self.prefix}/{self.swarm}/{self.peer}/{channel}"

    def all(self, channel: str) -> str:
        """The filter for every peer of the swarm."""
        return f"{self.prefix}/{self.swarm}/+/{channel}"


def connect_mqtt(section: MqttSection, place: Place, outside: Outside) -> MqttConnection:
    """Add to ``outside`` what ``section`` asks for; raises ConfigurationError."""
    topics = Topics(section.prefix, place.manifest.swarm, place.name)
    will = Will(topics.own("status"), OFFLINE)
    connection = MqttConnection(section, f"learnae-{place.name}", will)
    outside.states["mqtt"] = connection.state
    outside.closers.append(connection.close)
    connection.start()
    return connection
