"""All that a peer does over one MQTT connection (docs/mqtt.md)."""

from __future__ import annotations

from learnae.adapters.disk_queue import DiskQueue
from learnae.adapters.machine import Place
from learnae.adapters.mqtt_client import Will
from learnae.adapters.mqtt_connection import MqttConnection
from learnae.adapters.mqtt_monitor import MqttMonitor
from learnae.adapters.mqtt_topics import OFFLINE, Topics
from learnae.adapters.outside import Outside
from learnae.sections import MqttSection

QUEUE_FILE = "mqtt-queue.sqlite"


def connect_mqtt(section: MqttSection, place: Place, outside: Outside) -> MqttConnection:
    """Add to ``outside`` what ``section`` asks for; raises ConfigurationError or StateError."""
    topics = Topics(section.prefix, place.manifest.swarm, place.name)
    will = Will(topics.own("status"), OFFLINE)
    connection = MqttConnection(section, f"learnae-{place.name}", will)
    outside.states["mqtt"] = connection.state
    if section.monitor:
        queue = DiskQueue(place.directory / QUEUE_FILE, section.queue_rows, section.queue_bytes)
        monitor = MqttMonitor(connection, topics, queue, place.directory, section.home_assistant)
        outside.monitors.append(monitor)
        outside.states["mqtt monitor"] = monitor.state
    outside.closers.append(connection.close)
    connection.start()
    return connection
