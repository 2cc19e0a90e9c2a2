"""All peers on a broker, seen from topics alone: no swarm directory, and no key but to what is sealed.

Payloads are hostile until checked: one that is too large, no JSON, or no state, is counted and passed over. A peer
writes below its own name, so that with an ACL on the broker it cannot change the row of another.
"""

import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import OFFLINE, ONLINE
from learnae.basics.peer_names import harmless
from learnae.errors import EncodingError, LearnaeError, LimitError
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import MAX_EPSILON

_log = logging.getLogger(__name__)

_MOST_PEERS = 1000  # of all swarms; a longer table is not read
_STATE_BYTES = 64 * 1024
_NAME_CHARACTERS = 64
_SEALED = b"\0"  # a time in milliseconds begins so, and no JSON
_SEALED_MEETING = re.compile("[a-z2-7]{26}")
_WHY_CHARACTERS = 200
_LABEL_CHARACTERS = 256  # names of classes are a manifest's


@dataclass(frozen=True, slots=True)
class Seen:
    """A peer as its topics show it; ``heard`` Unix milliseconds, by the clock of the watching machine."""

    swarm: str
    peer: str
    status: str = "?"
    name: str = ""
    role: str = "?"
    version: str = "?"
    steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    mae: float | None = None
    r2: float | None = None
    epsilon: float | None = None  # of differential privacy, at delta
    delta: float | None = None
    peers: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    score: float | None = None
    label: str | None = None
    anomaly: bool | None = None
    unwritable: bool = False
    held_back: str = ""  # why it publishes no update
    sealed: bool = False  # to this watcher: it has no secret that opens what the peer shows
    heard: int = 0


Unseal = Callable[[str, str, str, bytes], bytes | None]  # meeting, peer, channel, payload; None without the secret


class Subscriber:
    """Listens to ``status`` and ``state`` of all swarms below ``prefix`` or of one; ``bad`` counts refused payloads.

    ``unseal`` opens what sealed swarms show; raises PeerError for what has been changed on its way.
    """

    def __init__(
        self,
        connection: MqttConnection,
        prefix: str,
        swarm: str = "+",
        most_peers: int = _MOST_PEERS,
        unseal: Unseal = lambda *_: None,
    ) -> None:
        self._prefix = prefix
        self._most_peers = most_peers
        self._unseal = unseal
        self._seen: dict[tuple[str, str], Seen] = {}
        self._lock = threading.Lock()
        self.bad: Counter[str] = Counter()
        connection.subscribe(f"{prefix}/{swarm}/+/status", self._guarded(self._on_status))
        connection.subscribe(f"{prefix}/{swarm}/+/state", self._guarded(self._on_state))

    def peers(self) -> list[Seen]:
        """Return all peers, by swarm and name."""
        with self._lock:
            return sorted(self._seen.values(), key=lambda seen: (seen.swarm, seen.name, seen.peer))

    def _guarded(self, handle: Callable[[Received], None]) -> Callable[[Received], None]:
        def guarded(received: Received) -> None:
            try:
                handle(received)
            except LearnaeError as error:
                self.bad[type(error).__name__] += 1  # by the network thread alone
                _log.debug("refused %d bytes on %.200s: %s", len(received.payload), received.topic, error)

        return guarded

    def _on_status(self, received: Received) -> None:
        if not received.payload:  # removed: the peer is no member any more
            with self._lock:
                self._seen.pop(self._key(received.topic), None)
            return
        if received.payload not in (ONLINE, OFFLINE):
            raise EncodingError(f"a status is {received.payload[:20]!r}")
        key = self._key(received.topic)
        self._note(replace(self._known(key), status=received.payload.decode()))

    def _on_state(self, received: Received) -> None:
        if not received.payload:
            return
        key, payload = self._key(received.topic), received.payload
        if payload.startswith(_SEALED):
            _check_size(payload)
            opened = self._unseal(*key, "state", payload)
            if opened is None:
                self._note(replace(self._known(key), sealed=True))
                return
            payload = opened
        seen = replace(parse_state(payload, self._known(key)), sealed=False)
        heard = seen.heard if received.retained else time.time_ns() // 1_000_000
        self._note(replace(seen, heard=heard))

    def _key(self, topic: str) -> tuple[str, str]:
        swarm, peer, _ = topic[len(self._prefix) + 1 :].split("/")
        check_meeting(swarm)
        if len(peer) > _NAME_CHARACTERS or not (peer.isascii() and peer.isprintable()):
            raise EncodingError(f"a peer's key is {peer[:20]!a}")
        return swarm, peer

    def _known(self, key: tuple[str, str]) -> Seen:
        with self._lock:
            return self._seen.get(key) or Seen(*key)

    def _note(self, seen: Seen) -> None:
        with self._lock:
            if (seen.swarm, seen.peer) not in self._seen and len(self._seen) >= self._most_peers:
                raise LimitError(f"more than {self._most_peers} peers", "name one swarm")
            self._seen[seen.swarm, seen.peer] = seen


def check_meeting(name: str) -> None:
    """Raise EncodingError unless swarms meet at places of such names: an open one at its id."""
    if not _SEALED_MEETING.fullmatch(name):
        Cid.parse(name)


def parse_state(payload: bytes, known: Seen) -> Seen:
    """Return ``known`` with the fields of a ``state``; raises EncodingError or LimitError."""
    _check_size(payload)
    try:
        fields = Fields(json.loads(payload), "state", EncodingError)
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"a state is no JSON: {error}") from error
    result = Fields(found, "state.inference", EncodingError) if (found := fields.value("inference", None)) else None
    spent = Fields(found, "state.privacy", EncodingError) if (found := fields.value("privacy", None)) else None
    return replace(
        known,
        name=fields.text("name"),
        role=harmless(fields.text("role", 16)),
        version=harmless(fields.text("software", 32)),
        steps=fields.integer("steps"),
        loss=_optional(fields, "loss"),
        accuracy=_optional(fields, "accuracy"),
        mae=_optional(fields, "mae"),
        r2=_optional(fields, "r2"),
        epsilon=spent.number("epsilon", 0, MAX_EPSILON) if spent else None,
        delta=spent.number("delta", 0, 1) if spent else None,
        peers=fields.integer("peers", default=0),
        bytes_out=fields.integer("bytes_out", default=0),
        bytes_in=fields.integer("bytes_in", default=0),
        score=_optional(result, "score") if result else None,
        label=result.text("label", _LABEL_CHARACTERS) if result and result.value("label", None) is not None else None,
        anomaly=result.boolean("anomaly") if result and result.value("anomaly", None) is not None else None,
        unwritable=fields.value("unwritable", None) is not None,
        held_back=harmless(fields.text("held_back", _WHY_CHARACTERS)) if fields.value("held_back", "") else "",
        heard=fields.integer("time"),
    )


def _check_size(payload: bytes) -> None:
    if len(payload) > _STATE_BYTES:
        raise LimitError(f"a state of {len(payload)} bytes", f"at most {_STATE_BYTES} are read")


def _optional(fields: Fields, name: str) -> float | None:
    return None if fields.value(name, None) is None else fields.number(name)
