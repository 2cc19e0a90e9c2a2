"""Subscriptions of one connection: handlers by topic filter, and which filters the broker has not confirmed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.broker_limits import BrokerLimits
from learnae.adapters.mqtt.topic_filters import topic_of
from learnae.errors import LearnaeError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker: hostile until checked."""

    topic: str
    payload: bytes
    content_type: str
    retained: bool


Handler = Callable[[Received], None]


class Subscriptions:
    """Gives what comes to handlers in the network thread; counts in ``counts`` what they refuse.

    ``lock`` is the connection's, held by the callers of all methods that reach ``client``; ``refuse`` is told of
    filters that the broker cannot take, and why.
    """

    def __init__(
        self,
        client: Client,
        lock: AbstractContextManager[object],
        counts: Counter[str],
        refuse: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._refuse = refuse
        self.limits = BrokerLimits()
        self._lock = lock
        self._counts = counts
        self._handlers: dict[str, list[Handler]] = {}
        self._qos: dict[str, int] = {}
        self.come = self.come_bytes = 0  # messages, and what they carried; their reader sets them back
        self._unconfirmed: dict[int, str] = {}  # filters by paho's number

    def add(self, topic_filter: str, handler: Handler, qos: int) -> None:
        """Note a handler; ``subscribe`` asks the broker for it, at this ``qos``."""
        self._qos[topic_filter] = qos
        handlers = self._handlers.setdefault(topic_filter, [])
        handlers.append(handler)
        if len(handlers) == 1:
            self._client.message_callback_add(topic_of(topic_filter), self._dispatcher(topic_filter))

    def remove(self, topic_filter: str) -> None:
        """Forget a filter and its handlers."""
        self._handlers.pop(topic_filter, None)
        self._qos.pop(topic_filter, None)
        self._client.message_callback_remove(topic_of(topic_filter))

    def subscribe(self, topic_filter: str) -> None:
        """Ask the broker for a filter; asked again, it sends again what is retained."""
        if why := self.limits.why_not_subscribe(topic_filter):
            self._refuse(topic_filter, why)
            return
        _, number = self._client.subscribe(topic_filter, qos=self._qos[topic_filter])
        if number is not None:
            self._unconfirmed[number] = topic_filter

    def subscribe_all(self) -> None:
        """Ask the broker for all filters."""
        for topic_filter in self._handlers:
            self.subscribe(topic_filter)

    def unconfirmed(self) -> set[str]:
        """Return the filters that the broker has not confirmed since it answered."""
        with self._lock:
            return set(self._unconfirmed.values())

    def confirm(self, number: int) -> str:
        """Return the filter that the broker has confirmed or refused."""
        with self._lock:  # it may be under way to be noted
            return self._unconfirmed.pop(number, "?")

    def begin(self) -> None:
        """Forget what an earlier connection has not confirmed."""
        with self._lock:
            self._unconfirmed.clear()

    def _dispatcher(self, topic_filter: str) -> Callable[[Client, Any, MQTTMessage], None]:
        def dispatch(_client: Client, _data: Any, message: MQTTMessage) -> None:
            self.come += 1
            self.come_bytes += len(message.payload)
            content_type = getattr(message.properties, "ContentType", "")
            received = Received(message.topic, bytes(message.payload), content_type, bool(message.retain))
            _log.debug("heard %.200s: %d bytes", received.topic, len(received.payload))
            with self._lock:
                handlers = list(self._handlers.get(topic_filter, ()))
            for handler in handlers:
                self._handle(handler, received)

        return dispatch

    def _handle(self, handler: Handler, received: Received) -> None:
        try:
            handler(received)
        except LearnaeError as error:
            self._counts["bad"] += 1
            if self._counts["bad"] == 1:
                _log.warning("MQTT message on %s: %s (counted from now on)", received.topic[:200], error)
        except Exception:  # noqa: BLE001 - one handler's mistake must not end the link of all
            self._counts["failed"] += 1
            _log.exception("a message on %s could not be handled", received.topic[:200])
