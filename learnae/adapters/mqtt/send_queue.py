"""Messages at QoS 1 between ``publish`` and the broker's acknowledgement: bounded, in order, sent again after a cut.

A message that was on its way when the broker hung up is sent alone next time. If that ends the connection again and
again, though the broker comes back at once, it is the message that the broker cannot take: it is refused, so that it
holds up no other, and so are later ones of its topic that are no smaller.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.broker_limits import BrokerLimits, packet_bytes
from learnae.adapters.mqtt.client import publish_properties

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_log = logging.getLogger(__name__)

QUEUE_BYTES, QUEUE_MESSAGES = 8 << 20, 1000  # handed over and not acknowledged; beyond that, publish returns False
_TRIES = 3  # of a message that ends the connection each time
_BARRED_TOPICS = 256  # that are remembered
_HUNG_UP = "it hangs up when it gets this; is that larger than it takes, or does its ACL forbid it?"

Done = Callable[[bool], None]


@dataclass(eq=False, slots=True)
class Message:
    """A message at QoS 1; ``done`` is told whether the broker took it.

    ``kept``: the newest value of a topic. ``tries`` counts connections that have ended with it, ``refusal`` says why
    the broker does not take it.
    """

    topic: str
    payload: bytes
    retain: bool
    content_type: str
    done: Done | None = None
    kept: bool = False
    tries: int = 0
    refusal: str = ""

    @property
    def size(self) -> int:
        """Return the bytes that count in the queue."""
        return len(self.topic) + len(self.payload)


class SendQueue:
    """Sends through ``client`` as much at a time as the broker wants. The connection's lock guards every call.

    ``refuse`` is told of messages that are not sent at all, and why.
    """

    def __init__(self, client: Client, refuse: Callable[[Message, str], None]) -> None:
        self._client = client
        self._refuse = refuse
        self._limits = BrokerLimits()
        self._is_open = False
        self._waiting: deque[Message] = deque()
        self._on_its_way: dict[int, Message] = {}  # by paho's number
        self._bytes = 0  # of both
        self._barred: dict[str, int] = {}  # bytes of the smallest message of the topic that ended connections

    @property
    def is_on_its_way(self) -> bool:
        """Return True while the broker has not acknowledged all that was handed over to it."""
        return bool(self._on_its_way or (self._is_open and self._waiting))

    def has_room(self, message: Message) -> bool:
        """Return True if ``message`` fits; one of any size fits an empty queue."""
        count = len(self._waiting) + len(self._on_its_way)
        return count < QUEUE_MESSAGES and (not count or self._bytes + message.size <= QUEUE_BYTES)

    def put(self, message: Message) -> None:
        """Send a message when its turn comes; a kept one at once, instead of one that waits for the same topic."""
        self._bytes += message.size
        if message.kept:
            self._forget(lambda other: other.kept and other.topic == message.topic)
            first = next((at for at, other in enumerate(self._waiting) if not other.kept), len(self._waiting))
            self._waiting.insert(first, message)
        else:
            self._waiting.append(message)
        self._send()

    def open(self, limits: BrokerLimits) -> None:
        """Send what waits: there is a connection."""
        self._limits, self._is_open = limits, True
        self._send()

    def shut(self, is_blamed: bool) -> None:
        """Let what was on its way wait for the next connection; kept values are told then, by those who keep them.

        ``is_blamed``: the broker has hung up, perhaps because of one of them.
        """
        self._is_open = False
        self._client.drop_out_messages()
        for message in self._on_its_way.values():
            message.tries += is_blamed
        self._waiting.extendleft(reversed(self._on_its_way.values()))
        self._on_its_way.clear()
        self._forget(lambda message: message.kept)

    def forgive(self, kept: Iterable[Message]) -> None:
        """Blame no message: the broker was really away, and may be another one when it is back."""
        self._barred.clear()
        for message in (*self._waiting, *kept):
            message.tries = 0

    def send_at_once(self, topic: str, payload: bytes, retain: bool, content_type: str) -> bool:
        """Send a message at QoS 0 now or never; return True if it was sent."""
        message = Message(topic, payload, retain, content_type)
        if not self.accepts(message):
            return False
        _log.debug("sending %s: %d bytes", topic, len(payload))
        return not self._publish(message, 0).rc

    def accepts(self, message: Message) -> bool:
        """Return True if the broker can take ``message``, as far as one knows; else it is refused."""
        why = self._why_not(message)
        if why:
            self._refuse(message, why)
        return not why

    def settle(self, number: int) -> Message | None:
        """Return the message that the broker has taken or refused; its room is free."""
        message = self._on_its_way.pop(number, None)
        if message is not None:
            self._bytes -= message.size
            message.tries = 0  # a kept one is told again
            self._send()
        return message

    def _send(self) -> None:
        while self._is_open and self._waiting and len(self._on_its_way) < self._most():
            message = self._waiting.popleft()
            if not self.accepts(message):
                self._bytes -= message.size
                continue
            self._on_its_way[self._publish(message, self._limits.qos).mid] = message
            _log.debug("sent %s: %d bytes", message.topic, len(message.payload))

    def _most(self) -> int:
        suspects = self._waiting[0].tries or any(message.tries for message in self._on_its_way.values())
        return 1 if suspects else self._limits.in_flight

    def _why_not(self, message: Message) -> str:
        size = packet_bytes(message.topic, message.payload, message.content_type)
        if message.tries >= _TRIES and len(self._barred) < _BARRED_TOPICS:
            self._barred[message.topic] = min(size, self._barred.get(message.topic, size))
        if message.tries >= _TRIES or size >= self._barred.get(message.topic, size + 1):
            return _HUNG_UP
        return self._limits.why_not_publish(message.topic, message.payload, message.content_type)

    def _publish(self, message: Message, qos: int) -> Any:
        properties = publish_properties(message.content_type)
        retain = message.retain and self._limits.retains
        return self._client.publish(message.topic, message.payload, qos, retain, properties)

    def _forget(self, which: Callable[[Message], object]) -> None:
        self._bytes -= sum(message.size for message in self._waiting if which(message))
        self._waiting = deque(message for message in self._waiting if not which(message))
