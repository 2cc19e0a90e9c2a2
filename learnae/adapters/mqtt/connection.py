"""One MQTT 5 connection a process, over paho-mqtt 2: it never blocks, comes back by itself, says once what is wrong.

What was handed over at QoS 1 is sent again after a reconnection until the broker has acknowledged it; what
is only waiting in memory is bounded. Subscriptions and retained values are the connection's own state: both are told to
every broker that answers, as a broker may forget everything. All handlers run in the network thread.

Other threads touch paho's client only while there is a connection, and hold the lock then: in the midst of a
reconnection, paho would let their packets go before its own CONNECT, and the broker would hang up.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.client import Will, make_client, publish_properties
from learnae.config.sections import MqttSection
from learnae.errors import LearnaeError, TransportError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger("learnae")

_QUEUE_BYTES, _QUEUE_MESSAGES = 8 << 20, 1000  # handed over and not acknowledged; beyond that, publish says no
_KEPT_TOPICS = 64  # retained values of one process
_CONNECT_SECONDS = 10.0  # a broker that accepts and then says nothing is hanging
_FIRST_DELAY, _MOST_DELAY = 0.5, 10.0  # seconds between attempts, before jitter
_LOOP_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0  # for what is on its way when the process ends


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker: hostile until checked."""

    topic: str
    payload: bytes
    content_type: str
    retained: bool


Handler = Callable[[Received], None]
Done = Callable[[bool], None]


@dataclass(frozen=True, slots=True)
class _Kept:
    payload: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool
    content_type: str
    done: Done | None = None

    @property
    def size(self) -> int:
        return len(self.topic) + len(self.payload)


class MqttConnection:
    """A link to the broker that ``section`` names; raises ConfigurationError. Call ``start`` once."""

    def __init__(self, section: MqttSection, client_id: str = "", will: Will | None = None) -> None:
        self._address = section.address()
        self.counts: Counter[str] = Counter()
        self._client, self._errors = make_client(section, client_id, will)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_subscribe, self._client.on_publish = self._on_subscribe, self._on_publish
        self._lock = threading.RLock()
        self._handlers: dict[str, list[Handler]] = {}
        self._kept: dict[str, _Kept] = {}
        self._waiting: deque[_Message] = deque()  # for the broker to be there
        self._on_its_way: dict[int, _Message] = {}
        self._bytes = 0  # of both
        self._settled: deque[tuple[int, bool, str]] = deque()
        self._greetings: list[Callable[[], None]] = []
        self._subscribing: dict[int, str] = {}
        self._refused: set[str] = set()
        self._answered = False  # the broker has, and has not yet been told what we want and keep
        self._connected = threading.Event()  # and has been told
        self._stopping = threading.Event()
        self._away_since = time.time()
        self._failure = ""  # why this attempt fails
        self._reason = ""  # why the last one did
        self._said = ""  # what the log says of it
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    # -- for those who use it

    @property
    def is_connected(self) -> bool:
        """Whether the broker has answered and is there, as far as one can know."""
        return self._connected.is_set()

    @property
    def is_subscribing(self) -> bool:
        """Whether the broker has not yet confirmed all that was asked of it since it answered."""
        return bool(self._subscribing)

    def start(self) -> None:
        """Connect in the background, for as long as the process lives."""
        self._thread.start()

    def state(self) -> str:
        """For the status: how the link is, and why it is away."""
        if self.is_connected:
            refused = self.counts["refused"]
            return f"connected, {refused} refused by the broker" if refused else "connected"
        since = time.strftime("%H:%M:%S", time.localtime(self._away_since))
        return f"away since {since}: {self._reason or 'connecting'}"

    def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Let ``handler`` have what comes on ``topic_filter``, now and after every reconnection."""
        with self._lock:
            handlers = self._handlers.setdefault(topic_filter, [])
            handlers.append(handler)
            if len(handlers) == 1:
                self._client.message_callback_add(topic_filter, self._dispatcher(topic_filter))
            if self.is_connected:  # else the greeting says it
                self._subscribe_now(topic_filter)  # again for a second handler: it, too, wants what is retained

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear no more of ``topic_filter``."""
        with self._lock:
            self._handlers.pop(topic_filter, None)
            self._client.message_callback_remove(topic_filter)
            if self.is_connected:
                self._client.unsubscribe(topic_filter)

    def greet(self, greeting: Callable[[], None]) -> None:
        """Call ``greeting`` after every connection, once subscriptions and retained values are on their way."""
        self._greetings.append(greeting)

    def keep(self, topic: str, payload: bytes, content_type: str = "") -> None:
        """Let the broker hold ``payload`` as the newest value of ``topic``: now and after every reconnection.

        An empty payload removes the value. Raises LearnaeError for more than a few topics.
        """
        value = _Kept(payload, content_type)
        with self._lock:
            if topic not in self._kept and len(self._kept) >= _KEPT_TOPICS:
                raise LearnaeError(f"more than {_KEPT_TOPICS} retained topics", "this is a mistake of the program")
            if self._kept.get(topic) == value:
                return
            self._kept[topic] = value
            if self.is_connected:  # else the greeting says it
                self._send_kept(topic, value)

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        content_type: str = "",
        done: Done | None = None,
    ) -> bool:
        """Hand a message over; False if the queue is full, or at QoS 0 if the broker is away.

        At QoS 1 ``done`` is called once, with whether the broker took it; a refusal is final. Until then the
        message is sent again after every reconnection.
        """
        with self._lock:
            if qos == 0:
                properties = publish_properties(content_type)
                return self.is_connected and not self._client.publish(topic, payload, 0, retain, properties).rc
            message = _Message(topic, payload, retain, content_type, done)
            if not self._has_room(message.size):
                return False
            self._bytes += message.size
            if self.is_connected:
                self._send(message)
            else:
                self._waiting.append(message)
        return True

    def deliver(self, topic: str, payload: bytes, timeout: float, content_type: str = "") -> None:
        """Publish at QoS 1 and wait until the broker has it. Raises TransportError; never call it in a handler."""
        answer: list[bool] = []
        settled = threading.Event()

        def done(taken: bool) -> None:
            answer.append(taken)
            settled.set()

        deadline = time.monotonic() + timeout
        if not self._connected.wait(timeout):
            raise TransportError(f"MQTT broker {self.name} is {self.state()}")
        while not self.publish(topic, payload, content_type=content_type, done=done):
            if time.monotonic() > deadline or self._stopping.wait(0.02):
                raise TransportError(f"MQTT broker {self.name} takes nothing more", "it is slow or hanging")
        if not settled.wait(max(0.0, deadline - time.monotonic())):
            raise TransportError(f"MQTT broker {self.name} has not acknowledged within {timeout:g} s")
        if not answer[0]:
            raise TransportError(f"MQTT broker {self.name} refuses {topic}", "check its ACL")

    def close(self) -> None:
        """Let what is on its way leave, within two seconds, then part without the last will. Idempotent."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while self.is_connected and self._on_its_way and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopping.set()
        with self._lock:
            if self.is_connected:
                self._client.disconnect()  # else the network thread does when it looks up
        if self._thread.is_alive():
            self._thread.join(_FAREWELL_SECONDS)

    @property
    def name(self) -> str:
        """Host and port."""
        return f"{self._address.host}:{self._address.port}"

    # -- the network thread

    def _run(self) -> None:
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            if self._serve():
                delay = _FIRST_DELAY
            self._stopping.wait(delay * random.uniform(0.5, 1.5))  # many peers lose one broker at one time
            delay = min(2 * delay, _MOST_DELAY)

    def _serve(self) -> bool:
        """One connection from beginning to end; returns whether there was one."""
        self._failure, self._errors.last, self._answered, was_connected = "", "", False, False
        self._subscribing.clear()
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate and no resolver takes
            self._lost(str(error) or type(error).__name__)
            return False
        deadline = time.monotonic() + _CONNECT_SECONDS
        while not self._client.loop(_LOOP_SECONDS):
            self._settle()
            if self._stopping.is_set():  # perhaps before the broker has answered
                self._client.disconnect()
            elif self._answered and not was_connected:
                self._greet()
            was_connected = was_connected or self.is_connected
            if not was_connected and time.monotonic() > deadline:
                self._lost(f"no answer within {_CONNECT_SECONDS:.0f} s")
                return False
        self._settle()
        if not self._stopping.is_set():
            self._lost(self._errors.last or "the broker is gone")
        self._part()
        return was_connected

    def _lost(self, reason: str) -> None:
        if self.is_connected or not self._said:
            self._away_since = time.time()
        self._part()
        self._reason = self._failure or reason
        if self._said != self._reason and not self._stopping.is_set():
            self._said = self._reason
            log.warning("MQTT broker %s is away: %s; trying again", self.name, self._reason)

    def _part(self) -> None:
        with self._lock:  # whoever believes that there is a connection has ended
            self._connected.clear()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._failure = f"it refuses us: {code}"
            return
        self._said = self._reason = ""
        self._refused.clear()
        self._answered = True
        log.info("MQTT broker %s: connected", self.name)

    def _greet(self) -> None:
        """After paho has sent again what was on its way: else an older value would be retained over the newest."""
        with self._lock:  # so that nothing is asked for or told twice, and no older value follows a newer one
            for topic_filter in self._handlers:
                self._subscribe_now(topic_filter)
            while self._waiting:
                self._send(self._waiting.popleft())
            for topic, value in self._kept.items():
                self._send_kept(topic, value)
            self._connected.set()
        for greeting in self._greetings:
            greeting()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        said = "the connection is lost" if str(code) == "Unspecified error" else str(code)  # paho's word for it
        self._failure = self._failure or self._errors.last or said

    def _on_subscribe(self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        with self._lock:  # it may be under way to be noted
            topic_filter = self._subscribing.pop(mid, "?")
        for code in codes:
            if code.is_failure:
                self._count_refusal(f"subscribing to {topic_filter}", str(code))

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._settled.append((mid, not code.is_failure, str(code)))  # paho holds a lock here that publish wants

    def _settle(self) -> None:
        while self._settled:
            mid, taken, code = self._settled.popleft()
            with self._lock:
                message = self._on_its_way.pop(mid, None)
                self._bytes -= message.size if message else 0
            if message is None:
                continue
            if not taken:
                self._count_refusal(f"publishing to {message.topic}", code)
            if message.done is not None:
                message.done(taken)

    def _count_refusal(self, what: str, code: str) -> None:
        self.counts["refused"] += 1
        if what not in self._refused and len(self._refused) < _QUEUE_MESSAGES:
            self._refused.add(what)
            log.warning("MQTT broker %s refuses %s: %s; check its ACL (counted from now on)", self.name, what, code)

    def _dispatcher(self, topic_filter: str) -> Callable[[Client, Any, MQTTMessage], None]:
        def dispatch(_client: Client, _data: Any, message: MQTTMessage) -> None:
            content_type = getattr(message.properties, "ContentType", "")
            received = Received(message.topic, bytes(message.payload), content_type, bool(message.retain))
            for handler in list(self._handlers.get(topic_filter, ())):
                try:
                    handler(received)
                except LearnaeError as error:
                    self._count_bad(received, error)
                except Exception:  # one handler's mistake must not end the link of all
                    self.counts["failed"] += 1
                    log.exception("a message on %s could not be handled", received.topic[:200])

        return dispatch

    def _count_bad(self, received: Received, error: LearnaeError) -> None:
        self.counts["bad"] += 1
        if self.counts["bad"] == 1:
            log.warning("MQTT message on %s: %s (counted from now on)", received.topic[:200], error)

    def _has_room(self, size: int) -> bool:
        count = len(self._waiting) + len(self._on_its_way)
        return count < _QUEUE_MESSAGES and (not count or self._bytes + size <= _QUEUE_BYTES)

    def _send_kept(self, topic: str, value: _Kept) -> None:
        """In any case: there are few, and the newest must not wait behind bulk."""
        message = _Message(topic, value.payload, True, value.content_type)
        self._bytes += message.size
        self._send(message)

    def _send(self, message: _Message) -> None:
        properties = publish_properties(message.content_type)
        sent = self._client.publish(message.topic, message.payload, 1, message.retain, properties)
        self._on_its_way[sent.mid] = message

    def _subscribe_now(self, topic_filter: str) -> None:
        _, mid = self._client.subscribe(topic_filter, qos=1)
        if mid is not None:
            self._subscribing[mid] = topic_filter
