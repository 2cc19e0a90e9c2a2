"""Subscriptions by zone: what is said on topics that end with a place, the broker brings to who hears that place."""

import threading
from dataclasses import dataclass

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Handler
from learnae.adapters.mqtt.topics import Topics
from learnae.protocol.neighbourhood.interest import Interest, Zone


@dataclass(frozen=True, slots=True)
class _Channel:
    """What is said about one matter, and who has it."""

    name: str
    handler: Handler
    qos: int


class ZoneFilters:
    """Hears what is said without a place, and in the zones of an interest once there is one.

    Safe to use from several threads.
    """

    def __init__(self, connection: MqttConnection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._lock = threading.Lock()
        self._zones: tuple[Zone, ...] = ()
        self._channels: list[_Channel] = []
        self._filters: dict[str, None] = {}

    def hear(self, channel: str, handler: Handler, qos: int = 1) -> None:
        """Let ``handler`` have what is said on a channel."""
        with self._lock:
            self._channels.append(_Channel(channel, handler, qos))
            self._subscribe()

    def attend(self, interest: Interest) -> None:
        """Hear these zones from now on: new ones first, so that nothing is missed that is in both."""
        with self._lock:
            self._zones = interest.zones
            self._subscribe()

    def _subscribe(self) -> None:
        wanted = {filter_: channel for channel in self._channels for filter_ in self._filters_of(channel)}
        for topic_filter, channel in wanted.items():
            if topic_filter not in self._filters:
                self._connection.subscribe(topic_filter, channel.handler, channel.qos)
        for topic_filter in self._filters:
            if topic_filter not in wanted:
                self._connection.unsubscribe(topic_filter)
        self._filters = dict.fromkeys(wanted)

    def _filters_of(self, channel: _Channel) -> list[str]:
        return [self._topics.all(channel.name), *(self._topics.zone(channel.name, zone) for zone in self._zones)]
