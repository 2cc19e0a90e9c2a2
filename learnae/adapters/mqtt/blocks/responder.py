"""Answers of the peers that have a block, about one however many have it: claim first, then send.

A holder waits a random moment, so that one is likely to be the first; it says ``have``, and the others stay silent.
If two were first, the one with the smaller name goes on. The answer reaches all peers that asked. Who asks again has
not got it: then only those keep a holder silent that have sent blocks to it.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from learnae.adapters.mqtt.blocks.claims import LONG_AGO, Claims
from learnae.adapters.mqtt.blocks.inbox import Counts, MqttInbox
from learnae.adapters.mqtt.blocks.wire_format import Block, Readable, Want, chain_of, pack, parse_links
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.token_bucket import Spending, TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.protocol.limits import MAX_SEQ

_log = logging.getLogger(__name__)

_CLAIM = (0.0, 0.4)  # seconds in which one holder is likely to be the first
_SEND_SECONDS = 0.15  # between claim and answer: for claims of the same moment to be heard
_AGAIN_SECONDS = 10.0  # a peer that asks twice within them has not got the answer that was claimed
_UNDER_WAY, _UNDER_WAY_FOR_ONE = 64, 16  # answers that are prepared at one time
_NAMES, _NAMES_RATE = 128.0, 16.0  # that one peer asks for, at once, and a second
_BYTES, _RATE = 32 << 20, 1 << 20  # that others can make this peer send: at once, and a second
_REMEMBERED = 8192  # names of blocks
_ASKERS = 1024
_CONE_SECONDS = 600.0  # in which a peer gets what an author said before a message once …
_CONES = 2  # … or twice, if it asks for the same message again


def usual_spending() -> Spending:
    """Return what allows the bytes of answers where no budget says less."""
    return Spending(_BYTES, _RATE)


@dataclass(slots=True)
class _Planned:
    """An answer under way: to whom, how much of the past, and whether one of them had to ask again.

    ``path`` is the place where it was asked for: there it is said who answers.
    """

    start: int
    path: str = ""
    askers: dict[str, None] = field(default_factory=dict)
    is_asked_again: bool = False


@dataclass(frozen=True, slots=True)
class _Given:
    """What an asker has got of an author: from ``low`` to ``high``, by asking ``times`` for ``cid`` last."""

    low: int
    high: int
    cid: Cid
    times: int
    since: float


@dataclass(eq=False)
class MqttResponder:
    """Answers wants from ``store``; ``on_want`` and ``on_have`` are called by the thread of ``inbox``.

    For ``claim_seconds`` an answer is left to the peer that claimed it. ``spend`` says whether so many bytes may go out
    to an asker. Safe to use from several threads.
    """

    connection: MqttConnection
    topics: Topics
    store: Readable
    inbox: MqttInbox
    counts: Counts
    claim_seconds: float
    spend: Callable[[int, bytes], bool] = field(default_factory=usual_spending)
    claims: Claims = field(default_factory=Claims)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._planned: dict[Cid, _Planned] = {}
        self._load = Counter[str]()  # answers under way, by who asked first
        self._asked = BoundedDict[Cid, tuple[float, int]](_REMEMBERED)
        self._askers = BoundedDict[tuple[Cid, str], float](_REMEMBERED)
        self._names = BoundedDict[str, TokenBucket](_ASKERS)
        self._given = BoundedDict[tuple[str, bytes], _Given](_REMEMBERED)  # by asker and author

    def asked(self, cid: Cid, start: int) -> float:
        """Return when another peer last asked for the block and what came from seq ``start`` on, or claimed the answer.

        In seconds of time.monotonic; long ago, if it has asked for less.
        """
        with self._lock:
            asked, least = self._asked.get(cid, (LONG_AGO, start))
            return max(asked, self.claims.latest(cid)) if least <= start else LONG_AGO

    def on_want(self, received: Received) -> None:
        """Prepare an answer to another peer that asks."""
        peer = self.topics.peer_of(received.topic)
        if peer == self.topics.peer:
            return
        want = Want.from_bytes(received.payload)
        for cid in want.cids:
            if not self._may_ask(peer):
                self.counts.add("not answered: too many names")
                return
            is_again = self._note_asker(cid, peer, want.start)
            if self._plan(cid, peer, want.start, is_again, self.topics.path_in(received.topic)):
                self.inbox.later(random.uniform(*_CLAIM), partial(self._claim, cid))

    def on_have(self, received: Received) -> None:
        """Leave answers to another peer that claims them."""
        peer = self.topics.peer_of(received.topic)
        if peer != self.topics.peer:
            for cid in parse_links(received.payload):
                self.claims.hear(cid, peer)

    def _may_ask(self, peer: str) -> bool:
        with self._lock:
            bucket = self._names.get(peer) or TokenBucket(_NAMES, _NAMES_RATE)
            self._names.renew(peer, bucket)
            return bucket.take()

    def _note_asker(self, cid: Cid, peer: str, start: int) -> bool:
        """Remember the want; return True if ``peer`` asks again so soon: those who claimed the answer have failed."""
        with self._lock:
            now = time.monotonic()
            is_again = now - self._askers.get((cid, peer), LONG_AGO) < _AGAIN_SECONDS
            self._askers.renew((cid, peer), now)
            self._asked.renew(cid, (now, start))
        if is_again:
            self.claims.fail(cid)
        return is_again

    def _plan(self, cid: Cid, peer: str, start: int, is_again: bool, path: str) -> bool:
        """Return True if an answer is to be prepared; one that is under way gets the longer chain."""
        with self._lock:
            planned = self._planned.get(cid)
            is_new = planned is None
            if planned is None:
                has_room = len(self._planned) < _UNDER_WAY and self._load[peer] < _UNDER_WAY_FOR_ONE
                if not (has_room and self.store.has(cid)):
                    return False
                planned = self._planned[cid] = _Planned(start, path)
                self._load[peer] += 1
            planned.start = min(start, planned.start)
            if len(planned.askers) < _UNDER_WAY:
                planned.askers[peer] = None
            planned.is_asked_again |= is_again
            return is_new

    def _drop(self, cid: Cid) -> _Planned:
        with self._lock:
            planned = self._planned.pop(cid)
            first = next(iter(planned.askers))
            self._load[first] -= 1
            if not self._load[first]:
                del self._load[first]
            return planned

    def _claim(self, cid: Cid) -> None:
        planned = self._planned[cid]
        if self.claims.rival(cid, self.claim_seconds, planned.is_asked_again) or not self._answer(cid, MAX_SEQ):
            self._drop(cid)
            return
        have = self.topics.own_at("have", planned.path)
        self.connection.publish(have, dagcbor.encode([cid]), qos=0, content_type=CBOR)
        self.inbox.later(_SEND_SECONDS, partial(self._send, cid))

    def _send(self, cid: Cid) -> None:
        planned = self._drop(cid)
        rival = self.claims.rival(cid, self.claim_seconds, planned.is_asked_again)
        if rival and rival < self.topics.peer:
            return
        chain = self._answer(cid, self._start_for(cid, planned))
        if not chain:
            return
        payload = pack(chain)
        if not any(self.spend(len(payload), asker.encode()) for asker in planned.askers):
            self.counts.add("not answered: too much")
        elif self.connection.publish(self.topics.own(f"block/{cid}"), payload):
            self._note_given(cid, chain, planned)
            self.counts.add("answered")
            _log.debug("answered with block %s: %d bytes", cid, len(payload))

    def _answer(self, cid: Cid, start: int) -> list[bytes]:
        """Return the block, and what fits of its past from seq ``start`` on; nothing if the broker cannot take it."""
        try:
            chain = chain_of(cid, self.store, start)
        except LearnaeError:  # deleted since
            return []
        topic = self.topics.own(f"block/{cid}")
        room = self.connection.limits.payload_bytes(topic)
        while len(chain) > 1 and len(pack(chain)) > room:
            chain.pop()
        if self.connection.takes(topic, pack(chain)):
            return chain
        self.counts.add("not answered: too large for the broker")
        return []

    def _start_for(self, cid: Cid, planned: _Planned) -> int:
        """Return from which seq on the past goes along: nothing that all who ask have got lately."""
        try:
            block = Block.read(cid, self.store.get(cid))
        except LearnaeError:
            return planned.start
        with self._lock:
            given = [self._given.get((asker, block.author)) for asker in planned.askers]
        return min(self._start_of_one(cid, block, planned.start, each) for each in given)

    def _start_of_one(self, cid: Cid, block: Block, start: int, given: _Given | None) -> int:
        if given is None or time.monotonic() - given.since > _CONE_SECONDS or block.seq < given.low:
            return start
        if block.seq > given.high:
            return max(start, given.high + 1)
        return start if cid == given.cid and given.times < _CONES else MAX_SEQ

    def _note_given(self, cid: Cid, chain: list[bytes], planned: _Planned) -> None:
        block, now = Block.read(cid, chain[0]), time.monotonic()
        if not block.author:
            return
        for asker in planned.askers:
            key, low = (asker, block.author), block.seq - len(chain) + 1
            with self._lock:
                old = self._given.get(key)
                if old is None or now - old.since > _CONE_SECONDS:
                    old = _Given(low, block.seq, cid, 0, now)
                times = old.times + 1 if old.cid == cid else 1
                self._given.renew(key, _Given(min(low, old.low), max(block.seq, old.high), cid, times, old.since))
