"""Messages at QoS 1 between ``publish`` and the broker's acknowledgement, bounded."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learnae.adapters.mqtt.client import publish_properties

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_log = logging.getLogger(__name__)

QUEUE_BYTES, QUEUE_MESSAGES = 8 << 20, 1000  # handed over and not acknowledged; beyond that, publish returns False

Done = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class Message:
    """A message at QoS 1; ``done`` is told whether the broker took it."""

    topic: str
    payload: bytes
    retain: bool
    content_type: str
    done: Done | None = None

    @property
    def size(self) -> int:
        """Return the bytes that count in the queue."""
        return len(self.topic) + len(self.payload)


class SendQueue:
    """Sends through ``client``, which sends again after a reconnection. The connection's lock guards every call."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: deque[Message] = deque()  # for the broker to be there
        self._on_its_way: dict[int, Message] = {}  # by paho's number
        self._bytes = 0  # of both

    @property
    def is_on_its_way(self) -> bool:
        """Return True while the broker has not acknowledged all that was sent."""
        return bool(self._on_its_way)

    def has_room(self, message: Message) -> bool:
        """Return True if ``message`` fits; one of any size fits an empty queue."""
        count = len(self._waiting) + len(self._on_its_way)
        return count < QUEUE_MESSAGES and (not count or self._bytes + message.size <= QUEUE_BYTES)

    def put(self, message: Message) -> None:
        """Keep a message until there is a connection."""
        self._bytes += message.size
        self._waiting.append(message)

    def send(self, message: Message) -> None:
        """Send a message now, even if there is no room."""
        self._bytes += message.size
        self._hand_over(message)

    def send_waiting(self) -> None:
        """Send the messages that wait for a connection."""
        while self._waiting:
            self._hand_over(self._waiting.popleft())

    def send_at_once(self, topic: str, payload: bytes, retain: bool, content_type: str) -> bool:
        """Send a message at QoS 0 now or never; return True if it was sent."""
        _log.debug("sending %s: %d bytes", topic, len(payload))
        return not self._client.publish(topic, payload, 0, retain, publish_properties(content_type)).rc

    def settle(self, number: int) -> Message | None:
        """Return the message that the broker has taken or refused; its room is free."""
        message = self._on_its_way.pop(number, None)
        self._bytes -= message.size if message else 0
        return message

    def _hand_over(self, message: Message) -> None:
        properties = publish_properties(message.content_type)
        sent = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        self._on_its_way[sent.mid] = message
        _log.debug("sent %s: %d bytes", message.topic, len(message.payload))
