"""``[mqtt]``: monitor, gossip and exchange over one MQTT connection."""

from __future__ import annotations

from learnae.adapters.mqtt.blocks.exchange import MqttExchange
from learnae.adapters.mqtt.blocks.intake import NAME
from learnae.adapters.mqtt.client import Will
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.gossip import MqttGossip
from learnae.adapters.mqtt.monitor.outbox import Outbox
from learnae.adapters.mqtt.monitor.publisher import MqttMonitor
from learnae.adapters.mqtt.topics import OFFLINE, Topics
from learnae.config.sections import MqttSection
from learnae.runtime.link_set import LinkSet
from learnae.runtime.workspace import Workspace

QUEUE_FILE = "mqtt-queue.sqlite"


_NEWS_SECONDS = 0.5  # between two announcements, where they are all that others hear of a message
_HEALING_SECONDS = 10.0  # where messages are pushed, and heads only heal what was lost


def connect_mqtt(section: MqttSection, place: Workspace, outside: LinkSet, holds: bool = False) -> MqttConnection:
    """Add to ``outside`` what ``section`` asks for; raises ConfigurationError or StateError.

    ``holds``: this machine has other ways to provide blocks, so it also keeps frames that it does not follow.
    """
    topics = Topics(section.prefix, place.manifest.swarm, place.name)
    will = Will(topics.own("status"), OFFLINE)
    connection = MqttConnection(section, f"learnae-{place.name}", will)
    outside.states["mqtt"] = connection.state
    if section.monitor:
        queue = Outbox(place.directory / QUEUE_FILE, section.queue_rows, section.queue_bytes)
        monitor = MqttMonitor(connection, topics, queue, place.directory, section.home_assistant)
        outside.monitors.append(monitor)
        outside.states["mqtt monitor"] = monitor.state
    gossip = None
    if section.gossip:
        interval = _HEALING_SECONDS if section.exchange else _NEWS_SECONDS
        gossip = MqttGossip(connection, topics, interval, place.errors)
        outside.gossips["mqtt"] = gossip
        outside.closers.append(gossip.close)
    if section.exchange:
        heard = gossip.note if gossip else lambda _: None
        exchange = MqttExchange(connection, topics, place.store, place.manifest.limits, holds, place.opener, heard)
        outside.exchanges[NAME] = exchange
        outside.states["mqtt exchange"] = exchange.state
    outside.closers.append(connection.close)
    connection.start()
    return connection
