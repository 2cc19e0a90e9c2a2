"""``learnae doctor`` on MQTT: tries the configured broker as the peer here would, and takes away what it leaves."""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.monitor.home_assistant import config_topic
from learnae.adapters.mqtt.subscriptions import Received
from learnae.cli.output import BROKEN, MISSING, OK, Finding
from learnae.config.loading import find_section
from learnae.config.sections import MqttSection
from learnae.errors import LearnaeError, TransportError
from learnae.system.backoff import wait_until
from learnae.system.paths import last_status, peers_here

_CONNECT_SECONDS = 15.0  # with the time to find out what else listens there
_ANSWER_SECONDS = 5.0  # a person waits for each
_NAME = re.compile("[a-z0-9]{1,128}")
_CHANNEL = "doctor"


def mqtt_findings() -> Iterator[Finding]:
    """Check the configured broker; yield nothing where none is configured."""
    try:
        section = find_section(MqttSection, "mqtt")
        if not section.broker:
            return
        swarm, peer = _names(section)
        trial = _Trial(section, swarm, peer)
    except LearnaeError as error:
        yield Finding("MQTT broker", BROKEN, error.problem, error.remedy)
        return
    with _silence(), trial.running():
        yield from trial.findings()


@dataclass(eq=False)
class _Trial:
    """Publishes, subscribes and retains on a topic of its own, below the name of ``peer``."""

    section: MqttSection
    swarm: str
    peer: str
    heard: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.word = secrets.token_hex(8)
        known = self.section.client_id or self.peer
        self.topic = f"{self.section.prefix}/{self.swarm}/{self.peer}/{_CHANNEL}/{self.word}"
        self.link = MqttConnection(self.section, f"{known}-{_CHANNEL}")  # beside the peer, which may be running
        self.has_retained = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Connect; in any case leave nothing behind."""
        self.link.start()
        try:
            yield
        finally:
            if self.has_retained:  # the finding that says so did not come to it
                self._clean()
            self.link.close()

    def findings(self) -> Iterator[Finding]:
        """Try one after the other; what cannot work without an earlier one is left out."""
        name, link = "MQTT broker", self.link
        wait_until(lambda: link.is_connected or not link.state().endswith(": connecting"), _CONNECT_SECONDS)
        if not link.is_connected:
            problem, _, remedy = link.state().partition("; ")
            remedy = remedy or "start it, or check mqtt.broker; docs/mqtt.md has what the words mean"
            yield Finding(name, BROKEN, f"{self.section.broker} is {problem}", remedy)
            return
        limits = link.limits.describe()
        detail = f"{self.section.broker}, MQTT 5" + (f", limits: {limits}" if limits else "")
        yield Finding(name, OK, detail, "")
        refused = self._refused(self.topic, self._hear)
        published = self._publish("MQTT publish", self.topic)
        yield published
        yield self._read(refused, is_published=published.state == OK)
        others = f"{self.section.prefix}/{self.swarm}/+/heads/#"
        why = self._refused(others, lambda _: None)
        yield Finding("MQTT peers", BROKEN if why else OK, *(_parts(why) if why else (f"heard on {others}", "")))
        if published.state == OK:
            yield self._retain(can_read=not refused and bool(self._mine()))
        if self.section.home_assistant:
            topic = config_topic(self.section.home_assistant_prefix, _CHANNEL)  # empty, and of no device: passed over
            yield self._publish("Home Assistant", topic, b"")

    def _hear(self, received: Received) -> None:
        self.heard.append(received)

    def _mine(self, retained: bool = False) -> list[Received]:
        word = self.word.encode()
        return [each for each in self.heard if each.payload == word and each.retained == retained]

    def _refused(self, topic_filter: str, handle: Callable[[Received], None]) -> str:
        """Subscribe; return why not, empty if the broker has confirmed it."""
        self.link.subscribe(topic_filter, handle)
        wait_until(lambda: not self.link.is_subscribing, _ANSWER_SECONDS)
        if self.link.is_subscribing or not self.link.is_connected:
            return f"subscribing to {topic_filter} is not answered: {self.link.state()}; check its ACL, and its log"
        why = self.link.why_not_heard(topic_filter)
        return f"subscribing to {topic_filter}: {why}" if why else ""

    def _publish(self, name: str, topic: str, payload: bytes | None = None) -> Finding:
        data = self.word.encode() if payload is None else payload
        try:
            self.link.deliver(topic, data, _ANSWER_SECONDS)
        except TransportError as error:
            return Finding(name, BROKEN, *_parts(f"{error}"))
        return Finding(name, OK, f"on {topic}", "")

    def _read(self, refused: str, is_published: bool) -> Finding:
        name = "MQTT subscribe"
        if refused:
            return Finding(name, BROKEN, *_parts(refused))
        if not is_published:
            return Finding(name, OK, f"to {self.topic}; whether anything comes is not known", "")
        if not wait_until(self._mine, _ANSWER_SECONDS):
            remedy = f"let this user read {self.section.prefix}/# in its ACL"
            return Finding(name, BROKEN, f"what was published on {self.topic} does not come back", remedy)
        return Finding(name, OK, "what was published comes back", "")

    def _retain(self, can_read: bool) -> Finding:
        name = "MQTT retained"
        if not self.link.limits.retains:
            remedy = "let it retain messages (Mosquitto: retain_available); else newcomers hear of nothing older"
            return Finding(name, MISSING, "the broker retains nothing", remedy)
        try:
            self.has_retained = True
            self.link.deliver(self.topic, self.word.encode(), _ANSWER_SECONDS, retain=True)
            if can_read:
                self.link.unsubscribe(self.topic)
                self.link.subscribe(self.topic, self._hear)
                wait_until(lambda: self._mine(retained=True), _ANSWER_SECONDS)
        except TransportError as error:
            return Finding(name, BROKEN, *_parts(f"{error}"))
        if not self._clean():
            return Finding(name, MISSING, f"{self.topic} may be left there", f"mosquitto_pub -r -n -t {self.topic}")
        if can_read and not self._mine(retained=True):
            remedy = "let this user retain below its own name; see the broker's log"
            return Finding(name, BROKEN, "what was to be retained does not come to a new subscription", remedy)
        return Finding(name, OK, "a value was retained and is removed" if can_read else "taken, and removed", "")

    def _clean(self) -> bool:
        """Remove the retained word; return whether the broker has confirmed it."""
        try:
            self.link.deliver(self.topic, b"", _ANSWER_SECONDS, retain=True)
        except TransportError:
            return False
        self.has_retained = False
        return True


def _names(section: MqttSection) -> tuple[str, str]:
    """Return swarm and peer below which this machine may write: those of a peer here, else of the broker's user."""
    for directory in peers_here():
        status = last_status(directory)
        swarm, peer = str(status.get("swarm", "")), str(status.get("peer", ""))
        if _NAME.fullmatch(swarm) and _NAME.fullmatch(peer):
            return swarm, peer
    user = section.user if section.user and not set("/#+\0") & set(section.user) else secrets.token_hex(8)
    return _CHANNEL, user


def _parts(text: str) -> tuple[str, str]:
    """Return problem and remedy of a text that has both."""
    problem, _, remedy = text.partition("; ")
    return problem, remedy or "see the broker's log"


@contextmanager
def _silence() -> Iterator[None]:
    """Let findings alone say what is wrong."""
    logger = logging.getLogger("learnae.adapters.mqtt")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
