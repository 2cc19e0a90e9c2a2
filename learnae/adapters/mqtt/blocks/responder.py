"""Answers of the peers that have a block, about one however many have it: claim first, then send.

A holder waits a random moment, so that one is likely to be the first; it says ``have``, and the others stay silent.
If two were first, the one with the smaller name goes on. The answer reaches all peers that asked.
"""

import logging
import random
import threading
import time
from dataclasses import dataclass
from functools import partial

from learnae.adapters.mqtt.blocks.inbox import Counts, MqttInbox
from learnae.adapters.mqtt.blocks.wire_format import Readable, Want, chain_of, pack, parse_links
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.protocol.limits import MAX_SEQ

_log = logging.getLogger(__name__)

_CLAIM = (0.0, 0.4)  # seconds in which one holder is likely to be the first
_SEND_SECONDS = 0.15  # between claim and answer: for claims of the same moment to be heard
_AGAIN_SECONDS = 10.0  # a peer that asks twice within them has not got the answer that was claimed
_UNDER_WAY = 64  # answers that are prepared at one time
_BYTES, _RATE = 32 << 20, 4 << 20  # that strangers can make this peer send: at once, and a second
_REMEMBERED = 8192  # names of blocks
_LONG_AGO = float("-inf")


@dataclass(eq=False)
class MqttResponder:
    """Answers wants from ``store``; ``on_want`` and ``on_have`` are called by the thread of ``inbox``.

    For ``claim_seconds`` an answer is left to the peer that claimed it. Safe to use from several threads.
    """

    connection: MqttConnection
    topics: Topics
    store: Readable
    inbox: MqttInbox
    counts: Counts
    claim_seconds: float

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._starts: dict[Cid, int] = {}  # answers under way, and from which seq on
        self._asked = BoundedDict[Cid, tuple[float, int]](_REMEMBERED)
        self._askers = BoundedDict[tuple[Cid, str], float](_REMEMBERED)
        self._claims = BoundedDict[Cid, tuple[float, str]](_REMEMBERED)
        self._failed = BoundedDict[Cid, str](_REMEMBERED)  # peers whose claim brought nothing, or something else
        self._unasked = TokenBucket(_BYTES, _RATE)

    def asked(self, cid: Cid, start: int) -> float:
        """Return when another peer last asked for the block and what came from seq ``start`` on, or claimed the answer.

        In seconds of time.monotonic; long ago, if it has asked for less.
        """
        with self._lock:
            asked, least = self._asked.get(cid, (_LONG_AGO, start))
            return max(asked, self.claimed(cid)) if least <= start else _LONG_AGO

    def claimed(self, cid: Cid) -> float:
        """Return when another peer last said that it has the block."""
        with self._lock:
            return self._claims.get(cid, (_LONG_AGO, ""))[0]

    def on_want(self, received: Received) -> None:
        """Prepare an answer to another peer that asks."""
        peer = self.topics.peer_of(received.topic)
        if peer == self.topics.peer:
            return
        want = Want.from_bytes(received.payload)
        for cid in want.cids:
            self._note_asker(cid, peer, want.start)
            if self._plan(cid, want.start):
                self.inbox.later(random.uniform(*_CLAIM), partial(self._claim, cid))

    def on_have(self, received: Received) -> None:
        """Leave answers to another peer that claims them."""
        peer = self.topics.peer_of(received.topic)
        if peer == self.topics.peer:
            return
        for cid in parse_links(received.payload):
            with self._lock:
                if self._failed.get(cid) != peer:
                    rival = self._claimant(cid)
                    self._claims.renew(cid, (time.monotonic(), min(peer, rival) if rival else peer))

    def distrust(self, cid: Cid, peer: str) -> None:
        """Let claims of ``peer`` to this block keep no holder silent any more."""
        with self._lock:
            self._claims.pop(cid, None)
            self._failed.renew(cid, peer)

    def _note_asker(self, cid: Cid, peer: str, start: int) -> None:
        """Remember the want; distrust the claimant of a block that ``peer`` asks for again so soon."""
        with self._lock:
            now = time.monotonic()
            if now - self._askers.get((cid, peer), _LONG_AGO) < _AGAIN_SECONDS and cid in self._claims:
                self.distrust(cid, self._claims[cid][1])
            self._askers.renew((cid, peer), now)
            self._asked.renew(cid, (now, start))

    def _plan(self, cid: Cid, start: int) -> bool:
        """Return True if an answer is to be prepared; one that is under way gets the longer chain."""
        with self._lock:
            if cid in self._starts:
                self._starts[cid] = min(start, self._starts[cid])
            elif self.store.has(cid) and len(self._starts) < _UNDER_WAY:
                self._starts[cid] = start
                return True
            return False

    def _claimant(self, cid: Cid) -> str:
        """Return the first of the peers that claim the answer now; empty if there is none."""
        with self._lock:
            claimed, peer = self._claims.get(cid, (_LONG_AGO, ""))
        return peer if time.monotonic() - claimed < self.claim_seconds else ""

    def _claim(self, cid: Cid) -> None:
        if self._claimant(cid):
            with self._lock:
                del self._starts[cid]
            return
        if not self._answer(cid, MAX_SEQ):
            with self._lock:
                del self._starts[cid]
            return
        self.connection.publish(self.topics.own("have"), dagcbor.encode([cid]), qos=0, content_type=CBOR)
        self.inbox.later(_SEND_SECONDS, partial(self._send, cid))

    def _send(self, cid: Cid) -> None:
        with self._lock:
            start = self._starts.pop(cid)
        rival = self._claimant(cid)
        if rival and rival < self.topics.peer:
            return
        payload = self._answer(cid, start)
        if not payload:
            return
        if not self._unasked.take(len(payload)):
            self.counts.add("not answered: too much")
        elif self.connection.publish(self.topics.own(f"block/{cid}"), payload):
            self.counts.add("answered")
            _log.debug("answered with block %s: %d bytes", cid, len(payload))

    def _answer(self, cid: Cid, start: int) -> bytes:
        """Return the block, and what fits of its past from seq ``start`` on; nothing if the broker cannot take it."""
        try:
            chain = chain_of(cid, self.store, start)
        except LearnaeError:  # deleted since
            return b""
        topic = self.topics.own(f"block/{cid}")
        room = self.connection.limits.payload_bytes(topic)
        while len(chain) > 1 and len(pack(chain)) > room:
            chain.pop()
        payload = pack(chain)
        if self.connection.takes(topic, payload):
            return payload
        self.counts.add("not answered: too large for the broker")
        return b""
