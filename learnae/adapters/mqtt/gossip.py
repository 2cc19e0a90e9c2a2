"""ports.Gossip over MQTT: each peer's heads are one retained topic, ``…/<peer>/heads``.

A broker gives a new peer the heads of all peers at once. Heads of a peer that left long ago do no harm: they name
messages that no peer holds any more, or that all peers have.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.bounded_dict import BoundedDict
from learnae.error_log import ErrorLog
from learnae.errors import EncodingError, LearnaeError, LimitError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.overriding import override
from learnae.ports import Gossip, check_heads
from learnae.protocol.limits import Limits

_log = logging.getLogger(__name__)

_HEADS_BYTES = 8192  # more than Limits.heads links
_PEERS = 1024  # whose newest announcement waits to be heard; as many pushed messages
_NAME_CHARACTERS = 64


class MqttGossip(Gossip):
    """Announces the newest heads at most once in ``interval`` seconds; counts in ``errors`` what it refuses."""

    def __init__(self, connection: MqttConnection, topics: Topics, interval: float, errors: ErrorLog) -> None:
        self._connection = connection
        self._topics = topics
        self._interval = interval
        self._errors = errors
        self._own: Sequence[Cid] = ()
        self._said: Sequence[Cid] | None = None
        self._said_at = float("-inf")
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._heard = BoundedDict[str, Sequence[Cid]](_PEERS)
        self._messages = BoundedDict[Cid, None](_PEERS)  # beyond that, the heads will name the newest
        self._lock = threading.Lock()
        connection.subscribe(topics.all("heads"), self._on_heads)

    @override
    def announce(self, heads: Sequence[Cid]) -> None:
        """Announce ``heads`` now, or the newest ones when the interval is over."""
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

    @override
    def heard(self) -> Iterable[Sequence[Cid]]:
        """Return the newest heads of each peer, and the messages that were pushed, since the last call."""
        with self._lock:
            found, pushed = list(self._heard.values()), list(self._messages)
            self._heard.clear()
            self._messages.clear()
        most = Limits().heads
        return [*found, *(pushed[start : start + most] for start in range(0, len(pushed), most))]

    def note(self, message: Cid) -> None:
        """Take a pushed message for announced."""
        with self._lock:
            self._messages[message] = None

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
        _log.debug("announcing %d heads", len(self._own))
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
        _log.debug("heard %d heads of peer %.8s", len(heads), peer)
        with self._lock:
            self._heard.renew(peer, heads)


def parse_heads(peer: str, payload: bytes) -> Sequence[Cid]:
    """Return the heads that ``peer`` announces, none in an empty payload; raises EncodingError or LimitError."""
    if len(peer) > _NAME_CHARACTERS:
        raise LimitError(f"a peer's name of {len(peer)} characters on MQTT", "its heads are ignored")
    if not payload:
        return ()
    heads = dagcbor.decode(payload, _HEADS_BYTES)
    if not isinstance(heads, list) or not all(isinstance(cid, Cid) for cid in heads):
        raise EncodingError("heads on MQTT are no list of links", "they are ignored")
    return heads[: Limits().heads]
