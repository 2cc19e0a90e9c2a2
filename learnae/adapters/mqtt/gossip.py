"""ports.Gossip over MQTT: each peer's heads are one retained topic, ``…/<peer>/heads``.

A broker gives a newcomer everybody's heads at once. Heads of a peer that left long ago do no harm: they name
messages that nobody holds any more, or that everybody has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from learnae.adapters.mqtt.connection import MqttConnection, Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.error_log import ErrorLog
from learnae.errors import EncodingError, LearnaeError, LimitError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ports import Gossip, check_heads
from learnae.protocol.limits import Limits

_HEADS_BYTES = 8192  # more than Limits.heads links
_PEERS = 1024  # whose newest announcement waits to be heard
_NAME_CHARACTERS = 64


class MqttGossip(Gossip):
    """Announces the newest heads at most once in ``interval`` seconds."""

    def __init__(
        self, connection: MqttConnection, topics: Topics, interval: float, errors: ErrorLog | None = None
    ) -> None:
        """Count refused announcements in ``errors``."""
        self._connection = connection
        self._topics = topics
        self._interval = interval
        self._own: Sequence[Cid] = ()
        self._said: Sequence[Cid] | None = None
        self._said_at = float("-inf")
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._heard: dict[str, Sequence[Cid]] = {}
        self._messages: dict[Cid, None] = {}
        self._errors = errors or ErrorLog()
        self._lock = threading.Lock()
        connection.subscribe(topics.all("heads"), self._on_heads)

    def announce(self, heads: Sequence[Cid]) -> None:
        """See ports.Gossip; the newest are told when the interval is over."""
        check_heads(heads)
        with self._lock:
            self._own = tuple(heads)
            if self._own == self._said or self._timer is not None or self._is_closed:
                return
            left = self._said_at + self._interval - time.monotonic()
            if left <= 0:
                self._say()
            else:
                self._timer = threading.Timer(left, self._on_time)
                self._timer.daemon = True
                self._timer.start()

    def heard(self) -> Iterable[Sequence[Cid]]:
        """See ports.Gossip; the newest of each peer, and the messages that were pushed."""
        with self._lock:
            found, self._heard = list(self._heard.values()), {}
            pushed, self._messages = list(self._messages), {}
        most = Limits().heads
        return [*found, *(pushed[start : start + most] for start in range(0, len(pushed), most))]

    def note(self, message: Cid) -> None:
        """Somebody has pushed this message: as good as an announcement."""
        with self._lock:
            self._messages[message] = None
            while len(self._messages) > _PEERS:  # the heads will name the newest
                self._messages.pop(next(iter(self._messages)))

    def close(self) -> None:
        """Say nothing more. Idempotent."""
        with self._lock:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            if not self._is_closed:
                self._say()

    def _say(self) -> None:
        self._said, self._said_at = self._own, time.monotonic()
        self._connection.keep(self._topics.own("heads"), dagcbor.encode(list(self._own)), CBOR)

    def _on_heads(self, received: Received) -> None:
        peer = self._topics.peer_of(received.topic)
        if peer == self._topics.peer:
            return
        try:
            heads = parse_heads(peer, received.payload)
        except LearnaeError as error:
            self._errors.count(error)
            return
        with self._lock:
            self._heard.pop(peer, None)
            self._heard[peer] = heads
            while len(self._heard) > _PEERS:
                self._heard.pop(next(iter(self._heard)))


def parse_heads(peer: str, payload: bytes) -> Sequence[Cid]:
    """The heads that ``peer`` announces, bounded; none in an empty payload. Raises EncodingError or LimitError."""
    if len(peer) > _NAME_CHARACTERS:
        raise LimitError(f"a peer's name of {len(peer)} characters on MQTT", "its heads are ignored")
    if not payload:
        return ()
    heads = dagcbor.decode(payload, _HEADS_BYTES)
    if not isinstance(heads, list) or not all(isinstance(cid, Cid) for cid in heads):
        raise EncodingError("heads on MQTT are no list of links", "they are ignored")
    return heads[: Limits().heads]
