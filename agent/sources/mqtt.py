"""Sensors that publish over MQTT, one topic and path a channel."""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.labels import UNKNOWN
from agent.sources.live import LiveSource
from agent.sources.payloads import FORMATS, MISSES, Channel, as_text
from agent.sources.resampling import Resampler
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topic_filters import topic_of
from learnae.basics.overriding import override
from learnae.errors import EncodingError, LearnaeError
from learnae.ports import Samples
from learnae.text import Sayings, counted

_log = logging.getLogger(__name__)

_MAX_WAITING = 1024  # messages between two reads; a source that floods loses the oldest of them
_MAX_SAID = 64  # different problems that are logged
_MAX_PROBLEMS = 3  # that the status names


@dataclass(eq=False)
class MqttSource(LiveSource):
    """Readings over a ``connection`` of its own, dated when they arrive; ``channels``: topic filter and reader of each.

    A retained message says what was, not what is: it is passed over, except as a label. What cannot be read
    costs its own channel alone, and is logged once. ``after`` is a ``position``.
    """

    connection: MqttConnection
    channels: Sequence[tuple[str, Channel]]
    payload: str
    label_topic: str
    label_of: Callable[[str], int]
    resampler: Resampler
    clock: Callable[[], float] = time.time
    after: str = ""

    def __post_init__(self) -> None:
        self._label = UNKNOWN
        self._waiting: deque[tuple[float, Received]] = deque(maxlen=_MAX_WAITING)
        self.dropped = self.bad = 0
        self._problems: dict[int, str] = {}  # of channels, now
        self._said = Sayings(_MAX_SAID)
        self._resume()
        for topic in {topic for topic, _ in self.channels} | ({self.label_topic} - {""}):
            self.connection.subscribe(topic, self._hear)
        self.connection.start()

    @override
    def read(self) -> Samples:
        for _ in range(len(self._waiting)):
            self._understand(*self._waiting.popleft())
        return self.resampler.take(self.clock(), self._label)

    @property
    @override
    def position(self) -> str:
        """Return fields, units and devices of the channels, for a source that is opened anew; "" if that is clear.

        A broker keeps nothing for readings that are dated when they arrive.
        """
        places = {
            f"{topic}#{channel.path}": [channel.place, channel.unit, channel.owner]
            for topic, channel in self.channels
            if channel.place != channel.path or channel.unit or channel.owner
        }
        return json.dumps(places) if any(place for place, *_ in places.values()) else ""

    @override
    def state(self) -> str:
        dropped = self.dropped + self.resampler.dropped
        extra = [f"{counted(dropped, 'message')} dropped"] if dropped else []
        extra += [f"{self.bad} not understood"] if self.bad else []
        extra += list(dict(self._problems).values())[:_MAX_PROBLEMS]
        return "; ".join([self.connection.state(), *extra])

    @override
    def close(self) -> None:
        self.connection.close()

    def _hear(self, received: Received) -> None:
        if received.retained and received.topic != topic_of(self.label_topic):
            return
        _log.debug("heard %d bytes on %s", len(received.payload), received.topic)
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append((self.clock(), received))

    def _understand(self, arrived: float, received: Received) -> None:
        problems: list[LearnaeError] = []
        if received.topic == topic_of(self.label_topic):
            try:
                self._label = self.label_of(as_text(received.payload))
            except EncodingError as error:
                problems.append(error)
        mine = [number for number, (topic, _) in enumerate(self.channels) if topic_of(topic) == received.topic]
        if mine:
            problems += self._measure(arrived, received, mine)
        self.bad += bool(problems)
        for problem in problems:
            self._say(f"{received.topic}: {problem}")

    def _measure(self, arrived: float, received: Received, mine: Sequence[int]) -> list[LearnaeError]:
        """Take the readings of these channels out of a message, and return what is wrong with it."""
        try:
            content = FORMATS[self.payload].load(received.payload)
        except EncodingError as error:
            self._problems.update(dict.fromkeys(mine, error.problem))
            return [error]
        problems = list(getattr(content, "faults", ()))
        for number in mine:
            channel = self.channels[number][1]
            try:
                value = channel.read(content)
            except EncodingError as error:
                problems.append(error)
                self._problems[number] = error.problem  # the status leaves this machine: no unit or text of a reading
                continue
            if value is not None:
                self.resampler.put(number, arrived, value)
            if doubt := channel.doubt(content):
                self._problems[number] = doubt
                if value is not None or channel.is_failing or channel.misses == MISSES:
                    self._say(f"{received.topic}: {doubt}")
            elif value is not None:
                self._problems.pop(number, None)
        return problems

    def _say(self, text: str) -> None:
        """Log a warning, once."""
        if self._said.is_new(text):
            _log.warning("MQTT message on %s (said once)", text)

    def _resume(self) -> None:
        """Go on in the fields that were found before; a position that cannot be read counts as none."""
        try:
            places = json.loads(self.after) if self.after else {}
            for topic, channel in self.channels:
                place, unit, owner = places.get(f"{topic}#{channel.path}", ("", "", {}))
                channel.place, channel.unit, channel.owner = str(place), str(unit), dict(owner)
        except (ValueError, TypeError, AttributeError):
            return
