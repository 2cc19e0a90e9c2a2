"""One MQTT 5 connection a process, over paho-mqtt 2: it never blocks, comes back by itself, logs once what is wrong.

What was handed over at QoS 1 is sent again after a reconnection until the broker has acknowledged it; what
is only waiting in memory is bounded. Subscriptions and retained values are the connection's own state: both are told to
every broker that answers, as a broker may forget everything. All handlers run in the network thread.

Other threads touch paho's client only while there is a connection, and hold the lock then: in the midst of a
reconnection, paho would let their packets go before its own CONNECT, and the broker would hang up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.client import Will, make_client
from learnae.adapters.mqtt.outage import RIVAL, Outage
from learnae.adapters.mqtt.send_queue import QUEUE_MESSAGES, Done, Message, SendQueue
from learnae.adapters.mqtt.subscriptions import Handler, Subscriptions
from learnae.config.sections import MqttSection
from learnae.errors import LearnaeError, TransportError

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

_log = logging.getLogger(__name__)

_KEPT_TOPICS = 64  # retained values of one process
_CONNECT_SECONDS = 10.0  # a broker that accepts and then says nothing is hanging
_LOOP_SECONDS = 1.0
_FAREWELL_SECONDS = 2.0  # for what is on its way when the process ends


class MqttConnection:
    """A link to the broker that ``section`` names; raises ConfigurationError. Call ``start`` once."""

    def __init__(
        self,
        section: MqttSection,
        client_id: str = "",
        will: Will | None = None,
        connect_seconds: float = _CONNECT_SECONDS,
        outage: Outage | None = None,
    ) -> None:
        address = section.address()
        self.name = f"{address.host}:{address.port}"
        self.counts: Counter[str] = Counter()  # changed by the network thread alone
        self._connect_seconds = connect_seconds
        self._client, self._errors = make_client(section, client_id, will)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_subscribe, self._client.on_publish = self._on_subscribe, self._on_publish
        self._lock = threading.RLock()
        self._subscriptions = Subscriptions(self._client, self._lock, self.counts)
        self._queue = SendQueue(self._client)
        self._kept: dict[str, Message] = {}  # the newest retained value of each topic
        self._settled: deque[tuple[int, bool, str]] = deque()
        self._greetings: list[Callable[[], None]] = []
        self._refused: set[str] = set()
        self._answered = False  # the broker has, and has not yet been told what to send and to retain
        self._connected = threading.Event()  # and has been told
        self._stopping = threading.Event()
        self._outage = outage or Outage(self.name)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    # -- from any thread

    @property
    def is_connected(self) -> bool:
        """Return True if the broker has answered and is there, as far as one can know."""
        return self._connected.is_set()

    @property
    def is_subscribing(self) -> bool:
        """Return True while the broker has not confirmed all subscriptions since it answered."""
        return bool(self._subscriptions.unconfirmed())

    def start(self) -> None:
        """Connect in the background, for as long as the process lives."""
        self._thread.start()

    def state(self) -> str:
        """Return what the status says of the link: how it is, and why it is away."""
        if not self.is_connected:
            return self._outage.describe()
        refused = self.counts["refused"]
        connected = f"connected, {refused} refused by the broker" if refused else "connected"
        return f"{connected}, {RIVAL}" if self._outage.is_contested else connected

    def contest(self) -> None:
        """Say that another process has this peer's session, and give way to it more and more."""
        self._outage.contest()

    def subscribe(self, topic_filter: str, handler: Handler) -> None:
        """Let ``handler`` have what comes on ``topic_filter``, now and after every reconnection."""
        with self._lock:
            self._subscriptions.add(topic_filter, handler)
            if self.is_connected:  # else the greeting does
                self._subscriptions.subscribe(topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        """Hear no more of ``topic_filter``."""
        with self._lock:
            self._subscriptions.remove(topic_filter)
            if self.is_connected:
                self._client.unsubscribe(topic_filter)

    def greet(self, greeting: Callable[[], None]) -> None:
        """Call ``greeting`` after every connection, once subscriptions and retained values are on their way."""
        with self._lock:
            self._greetings.append(greeting)

    def keep(self, topic: str, payload: bytes, content_type: str = "") -> None:
        """Let the broker retain ``payload`` as the newest value of ``topic``: now and after every reconnection.

        An empty payload removes the value. Raises LearnaeError for more than a few topics.
        """
        value = Message(topic, payload, True, content_type)
        with self._lock:
            if topic not in self._kept and len(self._kept) >= _KEPT_TOPICS:
                raise LearnaeError(f"more than {_KEPT_TOPICS} retained topics", "this is a mistake of the program")
            if self._kept.get(topic) == value:
                return
            self._kept[topic] = value
            if self.is_connected:  # else the greeting does
                self._queue.send(value)  # in any case: there are few, and the newest must not wait behind bulk

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 1,
        retain: bool = False,
        content_type: str = "",
        done: Done | None = None,
    ) -> bool:
        """Hand a message over; return False if the queue is full, or at QoS 0 if the broker is away.

        At QoS 1 ``done`` is called once, with whether the broker took it; a refusal is final. Until then the
        message is sent again after every reconnection.
        """
        with self._lock:
            if qos == 0:
                return self.is_connected and self._queue.send_at_once(topic, payload, retain, content_type)
            message = Message(topic, payload, retain, content_type, done)
            if not self._queue.has_room(message):
                return False
            (self._queue.send if self.is_connected else self._queue.put)(message)
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
        while self.is_connected and self._queue.is_on_its_way and time.monotonic() < deadline:
            time.sleep(0.01)
        self._stopping.set()
        with self._lock:
            if self.is_connected:
                self._client.disconnect()  # else the network thread does at its next turn
        if self._thread.is_alive():
            self._thread.join(_FAREWELL_SECONDS)

    # -- the network thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            was_connected = self._serve()
            self._stopping.wait(self._outage.delay(was_connected))

    def _serve(self) -> bool:
        """Serve one connection from beginning to end; return whether there was one."""
        self._errors.last, self._answered, was_connected = "", False, False
        self._outage.try_again()
        self._subscriptions.begin()
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate and no resolver takes
            self._lose(str(error) or type(error).__name__)
            return False
        deadline = time.monotonic() + self._connect_seconds
        while not self._client.loop(_LOOP_SECONDS):
            self._settle()
            if self._stopping.is_set():  # perhaps before the broker has answered
                self._client.disconnect()
            elif self._answered and not was_connected:
                self._greet()
            was_connected = was_connected or self.is_connected
            if not was_connected and time.monotonic() > deadline:
                self._lose(f"no answer within {self._connect_seconds:.0f} s")
                return False
        self._settle()
        if not self._stopping.is_set():
            self._lose(self._errors.last or "the broker is gone")
        self._part()
        return was_connected

    def _lose(self, reason: str) -> None:
        was_connected = self.is_connected
        self._part()
        self._outage.go_on(reason, was_connected, is_wanted=self._stopping.is_set())

    def _part(self) -> None:
        with self._lock:  # no thread is using the connection any more
            self._connected.clear()

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            self._outage.blame(f"it refuses us: {code}")
            return
        self._outage.end()
        self._refused.clear()
        self._answered = True

    def _greet(self) -> None:
        """Tell the broker all, after paho has sent again what was on its way: else an older value would be retained."""
        with self._lock:  # so that nothing is asked for or told twice, and no older value follows a newer one
            self._subscriptions.subscribe_all()
            self._queue.send_waiting()
            for value in self._kept.values():
                self._queue.send(value)
            self._connected.set()
            greetings = list(self._greetings)
        for greeting in greetings:
            greeting()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        said = "the connection is lost" if str(code) == "Unspecified error" else str(code)  # paho's word for it
        self._outage.cut(self._errors.last or said, code.value)

    def _on_subscribe(self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        topic_filter = self._subscriptions.confirm(mid)
        for code in codes:
            if code.is_failure:
                self._count_refusal(f"subscribing to {topic_filter}", str(code))

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._settled.append((mid, not code.is_failure, str(code)))  # paho holds a lock here that publish wants

    def _settle(self) -> None:
        while self._settled:
            mid, taken, code = self._settled.popleft()
            with self._lock:
                message = self._queue.settle(mid)
            if message is None:
                continue
            if not taken:
                self._count_refusal(f"publishing to {message.topic}", code)
            if message.done is not None:
                message.done(taken)

    def _count_refusal(self, what: str, code: str) -> None:
        self.counts["refused"] += 1
        if what not in self._refused and len(self._refused) < QUEUE_MESSAGES:
            self._refused.add(what)
            _log.warning("MQTT broker %s refuses %s: %s; check its ACL (counted from now on)", self.name, what, code)
