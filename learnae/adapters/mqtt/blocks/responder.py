"""Who has a block answers, about once however many have it: claim first, then send.

A holder waits a random moment, so that one is likely to be the first; it says ``have``, and the others stay silent.
If two were first, the one with the smaller name goes on. The answer reaches all who asked.
"""

from __future__ import annotations

import random
import time
from collections import Counter, OrderedDict
from typing import TypeVar

from learnae.adapters.mqtt.blocks.inbox import MqttInbox
from learnae.adapters.mqtt.blocks.wire_format import Readable, Want, cone_of, pack, parse_links
from learnae.adapters.mqtt.connection import MqttConnection, Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid

_CLAIM = (0.0, 0.4)  # seconds in which one holder is likely to be the first
_SEND_SECONDS = 0.15  # between claim and answer: for claims of the same moment to be heard
_CLAIM_HOLDS = 1.0  # seconds for which others leave the answer to whoever claimed it
_AGAIN_SECONDS = 10.0
_UNDER_WAY = 64
_BYTES, _RATE = 32 << 20, 4 << 20  # that strangers can make this peer send: at once, and a second
_REMEMBERED = 8192
_LONG_AGO = float("-inf")

Key = TypeVar("Key")
Value = TypeVar("Value")


class MqttResponder:
    """Answers wants from ``store``; ``on_want`` and ``on_have`` are called by the thread of ``inbox``."""

    def __init__(
        self, connection: MqttConnection, topics: Topics, store: Readable, inbox: MqttInbox, counts: Counter[str]
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._store = store
        self._inbox = inbox
        self._counts = counts
        self._cones: dict[Cid, int] = {}  # answers under way, and how much past goes with them
        self._asked: OrderedDict[Cid, float] = OrderedDict()
        self._askers: OrderedDict[tuple[Cid, str], float] = OrderedDict()
        self._claims: OrderedDict[Cid, tuple[float, str]] = OrderedDict()
        self._failed: OrderedDict[Cid, str] = OrderedDict()  # whose claim brought nothing, or something else
        self._allowance = TokenBucket(_BYTES, _RATE)

    def asked(self, cid: Cid) -> float:
        """When another peer last asked for the block, or said that it has it; time.monotonic."""
        return max(self._asked.get(cid, _LONG_AGO), self.claimed(cid))

    def claimed(self, cid: Cid) -> float:
        """When another peer last said that it has the block."""
        return self._claims.get(cid, (_LONG_AGO, ""))[0]

    def on_want(self, received: Received) -> None:
        """Another peer asks."""
        peer, now = self._topics.peer_of(received.topic), time.monotonic()
        if peer == self._topics.peer:
            return
        want = Want.from_bytes(received.payload)
        for cid in want.cids:
            self._note(cid, peer, now)
            if cid in self._cones:
                self._cones[cid] = max(want.cone, self._cones[cid])
            elif self._store.has(cid) and len(self._cones) < _UNDER_WAY:
                self._cones[cid] = want.cone
                self._inbox.later(random.uniform(*_CLAIM), lambda cid=cid: self._claim(cid))  # type: ignore[misc]

    def on_have(self, received: Received) -> None:
        """Another peer is going to answer."""
        peer = self._topics.peer_of(received.topic)
        if peer != self._topics.peer:
            for cid in [cid for cid in parse_links(received.payload) if self._failed.get(cid) != peer]:
                now, (claimed, rival) = time.monotonic(), self._claims.get(cid, (_LONG_AGO, peer))
                first = min(peer, rival) if now - claimed < _CLAIM_HOLDS else peer  # of all who claim it now
                remember(self._claims, cid, (now, first), _REMEMBERED)

    def distrust(self, cid: Cid, peer: str) -> None:
        """What ``peer`` says of this block keeps nobody silent any more."""
        self._claims.pop(cid, None)
        remember(self._failed, cid, peer, _REMEMBERED)

    def _note(self, cid: Cid, peer: str, now: float) -> None:
        """Who asks again so soon has not got what somebody claimed to have."""
        if now - self._askers.get((cid, peer), _LONG_AGO) < _AGAIN_SECONDS and cid in self._claims:
            self.distrust(cid, self._claims[cid][1])
        remember(self._askers, (cid, peer), now, _REMEMBERED)
        remember(self._asked, cid, now, _REMEMBERED)

    def _claim(self, cid: Cid) -> None:
        if time.monotonic() - self.claimed(cid) < _CLAIM_HOLDS:
            del self._cones[cid]
            return
        self._connection.publish(self._topics.own("have"), dagcbor.encode([cid]), qos=0, content_type=CBOR)
        self._inbox.later(_SEND_SECONDS, lambda: self._send(cid))

    def _send(self, cid: Cid) -> None:
        cone = self._cones.pop(cid)
        claimed, rival = self._claims.get(cid, (_LONG_AGO, ""))
        if time.monotonic() - claimed < _CLAIM_HOLDS and rival < self._topics.peer:
            return
        try:
            payload = pack(cone_of(cid, self._store, cone))
        except LearnaeError:  # deleted since
            return
        if not self._allowance.take(len(payload)):
            self._counts["not answered: too much"] += 1
        elif self._connection.publish(self._topics.own(f"block/{cid}"), payload):
            self._counts["answered"] += 1


def remember(names: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    """The newest ``most``; for readers in other threads, what is there is there at any time."""
    names[key] = value
    names.move_to_end(key)
    while len(names) > most:
        names.popitem(last=False)
