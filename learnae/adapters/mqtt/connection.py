"""One MQTT 5 connection a process, over paho-mqtt 2: it never blocks, comes back by itself, logs once what is wrong.

What was handed over at QoS 1 is sent again after a reconnection until the broker has acknowledged it; what
is only waiting in memory is bounded. Subscriptions and retained values are the connection's own state: both are told to
every broker that answers, as a broker may forget everything. All handlers run in the network thread.

Other threads touch paho's client only while there is a connection, and hold the lock then: in the midst of a
reconnection, paho would let their packets go before its own CONNECT, and the broker would hang up.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from learnae.adapters.mqtt.broker_limits import NO_QOS, NO_RETAIN, BrokerLimits, explained
from learnae.adapters.mqtt.client import Will, make_client
from learnae.adapters.mqtt.outage import RIVAL, TAKEN_OVER, Outage
from learnae.adapters.mqtt.port_probe import what_listens
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
# reason codes of a DISCONNECT for which no message is to blame (MQTT 5.0, 3.14.2.1): stopping, busy, quotas, moved
_NO_FAULT_OF_A_MESSAGE = (0x00, 0x04, 0x88, 0x89, 0x8B, 0x8D, TAKEN_OVER, 0x96, 0x97, 0x98, 0x9C, 0x9D, 0x9F)
_FAREWELL_SECONDS = 2.0  # for what is on its way when the process ends
# Where messages come fast, each would wake this thread: so many in one of these moments, and they are read together.
# 500 a second of a stranger cost 3 % of a core so, and 7 % otherwise.
_MOMENT_SECONDS, _MANY = 0.1, 8
# Of more bytes in a moment, those that wait would fill the socket, and hold up what comes behind.
_BULK_BYTES, _SHORT_SECONDS = 256 << 10, 0.01


class MqttConnection:
    """A link to the broker that ``section`` names; raises ConfigurationError. Call ``start`` once.

    Without a ``client_id`` here or in the section, it gets one that no other has.
    """

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
        self.limits = BrokerLimits()  # of the broker that has answered last
        self.counts: Counter[str] = Counter()  # changed by the network thread alone
        self._connect_seconds = connect_seconds
        self._address, self._will = address, will
        self._client_id = client_id or section.client_id or f"learnae-{os.urandom(8).hex()}"
        self._client, self._errors = make_client(section, self._client_id, will)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_subscribe, self._client.on_publish = self._on_subscribe, self._on_publish
        self._lock = threading.RLock()
        self._subscriptions = Subscriptions(self._client, self._lock, self.counts, self._refuse_filter)
        self._queue = SendQueue(self._client, self._refuse)
        self._kept: dict[str, Message] = {}  # the newest retained value of each topic
        self._settled: deque[tuple[int, str]] = deque()
        self._greetings: list[Callable[[], None]] = []
        self._refused: dict[str, str] = {}  # why, by what
        self._found = "", ""  # what an attempt has ended with, and what the port is then
        self._will_retains, self._will_qos = True, 1
        self._is_refused = self._is_innocent = False  # the attempt, by the broker; what was on its way when it ended
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

    def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Let ``handler`` have what comes on ``topic_filter``, now and after every reconnection.

        At QoS 0 a message may be lost on its way, and none is acknowledged: floods cost less.
        """
        with self._lock:
            self._subscriptions.add(topic_filter, handler, qos)
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
        with self._lock:
            if topic not in self._kept and len(self._kept) >= _KEPT_TOPICS:
                raise LearnaeError(f"more than {_KEPT_TOPICS} retained topics", "this is a mistake of the program")
            before = self._kept.get(topic)
            if before is not None and (before.payload, before.content_type) == (payload, content_type):
                return
            value = self._kept[topic] = Message(topic, payload, True, content_type, kept=True)
            if self.is_connected:  # else the greeting does
                self._queue.put(value)  # in any case: there are few, and the newest must not wait behind bulk

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
            return self._hand_over(Message(topic, payload, retain, content_type, done))

    def takes(self, topic: str, payload: bytes) -> bool:
        """Return True if the broker can take such a message, as far as one knows; else it counts as refused."""
        with self._lock:
            return self._queue.accepts(Message(topic, payload, False, ""))

    def why_not_heard(self, topic_filter: str) -> str:
        """Return why the broker has refused a filter since it answered; empty if it has not."""
        with self._lock:
            return self._refused.get(_subscribing(topic_filter), "")

    def deliver(self, topic: str, payload: bytes, timeout: float, content_type: str = "", retain: bool = False) -> None:
        """Publish at QoS 1 and wait until the broker has it. Raises TransportError; never call it in a handler."""
        settled = threading.Event()
        message = Message(topic, payload, retain, content_type, lambda _: settled.set())
        deadline = time.monotonic() + timeout
        if not self._connected.wait(timeout):
            raise TransportError(f"MQTT broker {self.name} is {self.state()}")
        while not self._hand_over(message):
            if time.monotonic() > deadline or self._stopping.wait(0.02):
                raise TransportError(f"MQTT broker {self.name} takes nothing more", "it is slow or hanging")
        if not settled.wait(max(0.0, deadline - time.monotonic())):
            raise TransportError(f"MQTT broker {self.name} has not acknowledged within {timeout:g} s")
        if message.refusal:
            raise TransportError(f"MQTT broker {self.name} refuses {topic}: {message.refusal}")

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

    def _hand_over(self, message: Message) -> bool:
        with self._lock:
            has_room = self._queue.has_room(message)
            if has_room:
                self._queue.put(message)
            return has_room

    # -- the network thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            was_connected = self._serve()
            self._stopping.wait(self._outage.delay(was_connected))

    def _serve(self) -> bool:
        """Serve one connection from beginning to end; return whether there was one."""
        self._errors.last, self._answered, self._is_innocent, self._is_refused = "", False, False, False
        self._outage.try_again()
        self._subscriptions.begin()
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate and no resolver takes
            self._lose(_reason(error), is_unclear=_is_unclear(error))
            return False
        try:
            reason = self._loop()
        except Exception as error:  # noqa: BLE001 - paho decodes what anything at that port may send
            self._client.disconnect()
            reason = f"it sends what is no MQTT 5 ({type(error).__name__}: {error})"
        self._settle()
        was_connected = self.is_connected
        self._lose(reason, is_unclear=not self._answered and not self._is_refused)
        return was_connected

    def _loop(self) -> str:
        """Serve a connection until it ends; return why it does, if that is known here."""
        moment = time.monotonic()
        deadline = moment + self._connect_seconds
        while not self._client.loop(min(_LOOP_SECONDS, self._client.keepalive / 4 or _LOOP_SECONDS)):
            self._settle()
            if self._stopping.is_set():  # perhaps before the broker has answered
                self._client.disconnect()
            elif self._answered and not self.is_connected:
                self._greet()
            elif self._subscriptions.come > _MANY:
                is_bulk = self._subscriptions.come_bytes > _BULK_BYTES
                self._read_together(_SHORT_SECONDS if is_bulk else _MOMENT_SECONDS)
            if time.monotonic() - moment > _MOMENT_SECONDS:
                moment, self._subscriptions.come, self._subscriptions.come_bytes = time.monotonic(), 0, 0
            if not self.is_connected and time.monotonic() > deadline:
                return f"no answer within {self._connect_seconds:.0f} s"
        return self._errors.last or "the broker is gone"

    def _read_together(self, seconds: float) -> None:
        """Let messages gather for so long, and read all that are there."""
        self._stopping.wait(seconds)
        come = -1
        while come < self._subscriptions.come:
            come = self._subscriptions.come
            if self._client.loop_read():
                return  # the loop finds out why

    def _lose(self, reason: str, is_unclear: bool) -> None:
        """End an attempt, or a connection; if it ``is_unclear`` why, ask the port what it is."""
        was_connected = self.is_connected
        with self._lock:  # no thread is using the connection any more
            self._connected.clear()
            subscribing = self._subscriptions.unconfirmed()
            self._queue.shut(is_blamed=was_connected and not subscribing and not self._is_innocent)
            if not was_connected:
                self._queue.forgive(self._kept.values())
        if was_connected and subscribing and not self._is_innocent:
            self._outage.correct(f"{self._outage.cause or reason}, while subscribing to {', '.join(subscribing)[:200]}")
        if is_unclear and not self._stopping.is_set():
            self._ask_port(self._outage.cause or reason)
        self._outage.go_on(reason, was_connected, is_wanted=self._stopping.is_set())

    def _ask_port(self, reason: str) -> None:
        """Blame what listens at the port for an attempt that has ended with ``reason``, if it is no such broker."""
        if self._found[0] != reason:
            self._found = reason, what_listens(self._address)
        self._outage.correct(self._found[1] or (reason if "; " in reason else f"{reason}; its log may say why"))

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        self._is_refused = code.is_failure
        if code.is_failure:
            elsewhere = getattr(properties, "ServerReference", "")
            self._outage.blame(f"it refuses us: {explained(code)}" + (f": {elsewhere}" if elsewhere else ""))
            self._soften_will(code.value)
            return
        limits = BrokerLimits.of(properties)
        if (described := limits.describe()) and limits != self.limits:
            _log.warning("MQTT broker %s has limits: %s", self.name, described)
        self.limits = self._subscriptions.limits = limits
        self._outage.end()
        self._refused.clear()
        self._found = "", ""
        self._answered = True

    def _soften_will(self, code: int) -> None:
        """Let the next attempt go without what the broker does not have: retained values, QoS 1."""
        if self._will is None or code not in (NO_RETAIN, NO_QOS):
            return
        if code == NO_RETAIN:
            self._will_retains = False
        else:
            self._will_qos = 0
        self._client.will_set(self._will.topic, self._will.payload, self._will_qos, self._will_retains)

    def _greet(self) -> None:
        """Tell the broker all; what was on its way is sent before newer values: else an older one would be retained."""
        with self._lock:  # so that nothing is asked for or told twice, and no older value follows a newer one
            self._subscriptions.subscribe_all()
            self._connected.set()
            self._queue.open(self.limits)
            for value in self._kept.values():
                self._queue.put(value)
            greetings = list(self._greetings)
        for greeting in greetings:
            greeting()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        said = "the connection is lost" if str(code) == "Unspecified error" else explained(code)  # paho's word for it
        self._is_innocent = code.value in _NO_FAULT_OF_A_MESSAGE or "Keep alive" in str(code)
        self._outage.cut(self._errors.last or said, code.value)

    def _on_subscribe(self, _client: Client, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        topic_filter = self._subscriptions.confirm(mid)
        for code in codes:
            if code.is_failure:
                self._refuse_filter(topic_filter, explained(code, is_acl=True))

    def _on_publish(self, _client: Client, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        said = explained(code, is_acl=True) if code.is_failure else ""
        self._settled.append((mid, said))  # paho holds a lock here that publish wants

    def _settle(self) -> None:
        while self._settled:
            mid, refusal = self._settled.popleft()
            with self._lock:
                message = self._queue.settle(mid)
            if message is None:
                continue
            if refusal:
                self._refuse(message, refusal)
            elif message.done is not None:
                message.done(True)

    def _refuse(self, message: Message, why: str) -> None:
        message.refusal = why
        self._count_refusal(f"publishing to {message.topic}", why)
        if message.done is not None:
            message.done(False)

    def _refuse_filter(self, topic_filter: str, why: str) -> None:
        self._count_refusal(_subscribing(topic_filter), why)

    def _count_refusal(self, what: str, why: str) -> None:
        with self._lock:
            self.counts["refused"] += 1
            is_new = what not in self._refused and len(self._refused) < QUEUE_MESSAGES
            if is_new:
                self._refused[what] = why
        if is_new:
            _log.warning("MQTT broker %s refuses %s: %s (counted from now on)", self.name, what, why)


def _subscribing(topic_filter: str) -> str:
    return f"subscribing to {topic_filter}"


def _reason(error: Exception) -> str:
    """Return why there is no connection, with the remedy if the error is the network's."""
    remedies = (
        (ConnectionRefusedError, "start it, or check its port"),
        (socket.gaierror, "check the name of its host"),
        (TimeoutError, "check its host, and the network"),
    )
    remedy = next((text for kind, text in remedies if isinstance(error, kind)), "")
    if not remedy and getattr(error, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        remedy = remedies[-1][1]
    said = str(error) or type(error).__name__
    return f"{said}; {remedy}" if remedy else said


def _is_unclear(error: Exception) -> bool:
    """Return False if the error itself says why there is no connection."""
    is_said = isinstance(error, (ConnectionRefusedError, socket.gaierror, ValueError))
    is_away = getattr(error, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    return not is_said and not is_away and not any(word in str(error).lower() for word in ("certificate", "alert"))
