"""Sensors that publish over MQTT, one topic and path a channel."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.labels import UNKNOWN
from agent.sources.live import LiveSource
from agent.sources.payloads import FORMATS, as_text
from agent.sources.resampling import Resampler
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.errors import EncodingError
from learnae.overriding import override
from learnae.ports import Samples
from learnae.text import counted

_log = logging.getLogger(__name__)

_MAX_WAITING = 1024  # messages between two reads; a source that floods loses the oldest of them


@dataclass(eq=False)
class MqttSource(LiveSource):
    """Readings over a ``connection`` of its own, dated when they arrive; ``paths``: topic and path of each channel.

    A retained message says what was, not what is: it is passed over, except as a label.
    """

    position = ""  # a broker keeps nothing for readings that are dated when they arrive

    connection: MqttConnection
    paths: Sequence[tuple[str, str]]
    payload: str
    label_topic: str
    label_of: Callable[[str], int]
    resampler: Resampler
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._label = UNKNOWN
        self._waiting: deque[tuple[float, Received]] = deque(maxlen=_MAX_WAITING)
        self.dropped = self.bad = 0
        for topic in {topic for topic, _ in self.paths} | ({self.label_topic} - {""}):
            self.connection.subscribe(topic, self._hear)
        self.connection.start()

    @override
    def read(self) -> Samples:
        for _ in range(len(self._waiting)):
            self._understand(*self._waiting.popleft())
        return self.resampler.take(self.clock(), self._label)

    @override
    def state(self) -> str:
        dropped = self.dropped + self.resampler.dropped
        extra = [f"{counted(dropped, 'message')} dropped"] if dropped else []
        extra += [f"{self.bad} not understood"] if self.bad else []
        return "; ".join([self.connection.state(), *extra])

    @override
    def close(self) -> None:
        self.connection.close()

    def _hear(self, received: Received) -> None:
        if received.retained and received.topic != self.label_topic:
            return
        _log.debug("heard %d bytes on %s", len(received.payload), received.topic)
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append((self.clock(), received))

    def _understand(self, arrived: float, received: Received) -> None:
        try:
            if received.topic == self.label_topic:
                self._label = self.label_of(as_text(received.payload))
            for channel, (topic, path) in enumerate(self.paths):
                if topic == received.topic:
                    value = FORMATS[self.payload](received.payload, path)
                    if value is not None:
                        self.resampler.put(channel, arrived, value)
        except EncodingError:
            self.bad += 1
