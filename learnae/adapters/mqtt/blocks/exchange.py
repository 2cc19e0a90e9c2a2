"""ports.Exchange over MQTT, for boards with no IPFS daemon (docs/mqtt.md): a block crosses the broker about once.

An author pushes its messages to everybody and its frames to those who follow it. Whoever misses a block waits a moment
for a push, then asks; others who miss it, too, hear that and only listen. Holders wait a random moment, the first says
that it has the block, the others stay silent, and the answer reaches all who asked. A message brings a part of its
past with it, more each time somebody walks further back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from learnae.adapters.mqtt.blocks.inbox import MqttInbox
from learnae.adapters.mqtt.blocks.responder import MqttResponder, remember
from learnae.adapters.mqtt.blocks.wire_format import Want, links_of, reachable, unpack
from learnae.adapters.mqtt.connection import MqttConnection, Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import BlockMissingError, EncodingError, LearnaeError, LimitError, TransportError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ports import check_named
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message, open_message

NAME = "mqtt"
_GRACE = (0.5, 1.0)  # seconds in which a push may come before a block is asked for
_ASK_SECONDS, _ASKS = 1.0, 3
_SLOW_SECONDS = 10.0  # for an answer that somebody has claimed: a large block on a slow line
_JOIN_SECONDS = 10.0  # a link that waits for the broker is there at once when it comes
_OFFER_SECONDS = 10.0
_CONES = 4  # times as much past, each time that somebody walks further back
_MOST_CONE = 256
_PUSH_BYTES = 4 << 20  # larger frames are only sent to those who ask
_LEASE_SECONDS = 600.0  # after which frames of an author are no longer heard unless one is wanted again
_AUTHORS = 64  # as many as a trainer follows
_REMEMBERED = 8192  # names of blocks
_UNASKED_BYTES, _UNASKED_RATE = 64 << 20, 128 << 10  # that strangers may put on the disk: at once, and a second


class Keeper(Protocol):
    """The blocks of this machine."""

    def get(self, cid: Cid) -> bytes:
        """See ports.BlockStore."""

    def has(self, cid: Cid) -> bool:
        """See ports.BlockStore."""

    def receive(self, cid: Cid, data: bytes, origin: str) -> None:
        """Keep a block that came from ``origin``; raises LearnaeError."""


@dataclass(slots=True)
class _Wish:
    """A block that threads wait for; ``comes`` while what came with it is written."""

    arrived: threading.Event = field(default_factory=threading.Event)
    data: bytes | None = None
    users: int = 0
    comes: bool = False
    cone: int = 1


class MqttExchange:
    """The blocks of ``store`` for the peers on the broker, and theirs for it.

    ``holds`` also takes frames of authors that this peer does not follow, for those whom it provides them to by other
    ways. ``heard`` is told of every message that somebody pushed.
    """

    def __init__(
        self,
        connection: MqttConnection,
        topics: Topics,
        store: Keeper,
        limits: Limits,
        holds: bool = False,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._store = store
        self._limits = limits
        self._holds = holds
        self.heard: Callable[[Cid], None] = lambda _: None
        self.counts: Counter[str] = Counter()
        self._wishes: dict[Cid, _Wish] = {}
        # messages whose past somebody here walks, and how much comes along
        self._cones: OrderedDict[Cid, int] = OrderedDict()
        self._named: OrderedDict[Cid, str] = OrderedDict()  # blocks of frames, and their authors
        self._leases: dict[str, float] = {}
        self._acceptable = TokenBucket(_UNASKED_BYTES, _UNASKED_RATE)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._inbox = MqttInbox(self.counts)
        self._answers = MqttResponder(connection, topics, store, self._inbox, self.counts)
        self._subscribe()

    def state(self) -> str:
        """For the status."""
        return ", ".join(f"{count} {what}" for what, count in sorted(dict(self.counts).items())) or "nothing yet"

    # -- ports.Exchange

    def offer(self, cid: Cid, data: bytes) -> None:
        """See ports.Exchange; own messages are pushed with their frames, all else is there for whoever asks."""
        self._check_open()
        if cid.codec != DAG_CBOR:
            return
        try:
            message = open_message(data, self._topics.swarm, self._limits)
        except LearnaeError:  # no message: nobody waits for it
            return
        if peer_name(message.author) == self._topics.peer:
            self._check_connected()
            self._push(message)

    def fetch(self, cid: Cid) -> bytes:
        """See ports.Exchange."""
        self._check_connected()
        wish = self._enter(cid)
        try:
            if self._store.has(cid):  # it was pushed just before somebody waited for it
                return self._store.get(cid)
            return self._wait(cid, wish)
        finally:
            self._leave(cid, wish)

    def keep(self, cid: Cid) -> None:
        """Nothing: blocks are answered from this machine's own store."""

    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:  # noqa: ARG002 - as the port says
        """See ports.Exchange: nothing, if the broker is there."""
        deadline = time.monotonic() + _JOIN_SECONDS
        while not self._connection.is_connected and time.monotonic() < deadline:
            if self._closing.wait(0.05):
                break
        self._check_connected()
        return ()

    def retract(self, cids: Iterable[Cid]) -> None:
        """Nothing: blocks are answered from this machine's own store."""

    def close(self) -> None:
        """See ports.Exchange; the connection stays, others use it."""
        with self._lock:
            self._closing.set()
            for wish in self._wishes.values():
                wish.arrived.set()
        self._inbox.close()

    # -- pushing

    def _push(self, message: Message) -> None:
        """The message first: it tells the others that the blocks are worth keeping. The frame is close behind."""
        blocks = [self._store.get(cid) for cid in message.blocks if self._store.has(cid)]
        pushed = [("message", message.data)]
        if sum(map(len, blocks)) <= _PUSH_BYTES:
            pushed += [("frame", block) for block in blocks]
        *others, (channel, last) = pushed
        for each, data in others:
            if not self._connection.publish(self._topics.own(each), data):  # no room: wait for some
                self._connection.deliver(self._topics.own(each), data, _OFFER_SECONDS)
        self._connection.deliver(self._topics.own(channel), last, _OFFER_SECONDS)  # acknowledged after the others
        self.counts["pushed"] += len(pushed)

    # -- asking

    def _enter(self, cid: Cid) -> _Wish:
        with self._lock:
            self._check_open()  # whoever closes wakes those who wait by then
            wish = self._wishes.setdefault(cid, _Wish(cone=self._cones.get(cid, 1)))
            wish.users += 1
            author = self._named.get(cid)
            if wish.users == 1:
                self._connection.subscribe(self._topics.all(f"block/{cid}"), self._inbox.handler(self._on_block))
        if author:
            self._lease(author)
        return wish

    def _leave(self, cid: Cid, wish: _Wish) -> None:
        with self._lock:
            wish.users -= 1
            if wish.users:
                return
            self._wishes.pop(cid, None)
            self._connection.unsubscribe(self._topics.all(f"block/{cid}"))

    def _wait(self, cid: Cid, wish: _Wish) -> bytes:
        grace = 0.0 if wish.cone > 1 else random.uniform(*_GRACE)  # nobody pushes the past
        arrived = wish.arrived.wait(grace)
        for _ in range(_ASKS):
            if arrived:
                break
            self._ask(cid, wish)
            arrived = wish.arrived.wait(_ASK_SECONDS * random.uniform(0.7, 1.3))
        while not arrived and (wish.comes or self._answers.claimed(cid) + _SLOW_SECONDS > time.monotonic()):
            arrived = wish.arrived.wait(_ASK_SECONDS)
        if wish.data is None:
            self._check_connected()
            raise BlockMissingError(f"nobody on the broker has block {cid}")
        return wish.data

    def _ask(self, cid: Cid, wish: _Wish) -> None:
        if wish.comes or time.monotonic() - self._answers.asked(cid) < _ASK_SECONDS / 2:
            return
        want = Want((cid,), wish.cone).to_bytes()
        if self._connection.publish(self._topics.own("want"), want, qos=0, content_type=CBOR):
            self.counts["wanted"] += 1

    def _on_block(self, received: Received) -> None:
        cid = Cid.parse(received.topic.rpartition("/")[2])
        with self._lock:
            wish = self._wishes.get(cid)
        if wish is None or wish.arrived.is_set():
            return
        try:
            root, *others = unpack(received.payload, _MOST_CONE)
            check_named(cid, root)
        except LearnaeError:
            self._answers.distrust(cid, self._topics.peer_of(received.topic))
            raise
        wish.comes = True
        try:
            if cid.codec == DAG_CBOR:
                self._walk(cid, root, others, wish.cone)
            wish.data = root
            self.counts["fetched"] += 1
        finally:
            wish.arrived.set()

    def _walk(self, cid: Cid, root: bytes, others: list[bytes], cone: int) -> None:
        """Keep those ancestors that came along, and let more come with whatever is still missing."""
        kept = {cid: root}
        for ancestor, data in reachable(cid, root, others):
            kept[ancestor] = data
            self._keep(ancestor, data)
        for data in kept.values():
            for parent in links_of(data).parents:
                if parent not in kept:
                    remember(self._cones, parent, min(_MOST_CONE, cone * _CONES), _REMEMBERED)
            self._note_blocks(data)

    # -- what others push

    def _on_message(self, received: Received) -> None:
        peer = self._topics.peer_of(received.topic)
        if peer == self._topics.peer:
            return
        message = open_message(received.payload, self._topics.swarm, self._limits)
        if peer_name(message.author) != peer:
            raise EncodingError(f"{peer[:8]} pushes a message of somebody else", "it is ignored")
        self._note_blocks(message.data)
        self._accept(message.cid, message.data)
        self.heard(message.cid)

    def _on_frame(self, received: Received) -> None:
        peer, cid = self._topics.peer_of(received.topic), Cid.of(RAW, received.payload)
        if peer == self._topics.peer:
            return
        if self._named.get(cid) != peer:
            raise EncodingError(f"{peer[:8]} pushes a block that no message of it names", "it is ignored")
        self._accept(cid, received.payload, is_followed=peer in self._leases)
        with self._lock:
            if self._leases.get(peer, float("inf")) < time.monotonic():
                self._end_lease(peer)

    def _accept(self, cid: Cid, data: bytes, is_followed: bool = False) -> None:
        """Keep what was pushed, as far as strangers may fill this machine's disk."""
        is_welcome = cid in self._wishes or is_followed or self._store.has(cid)
        if not (is_welcome or self._acceptable.take(len(data))):
            raise LimitError("more is pushed than this machine keeps unasked", "it is asked for when it is wanted")
        self._keep(cid, data)
        self.counts["accepted"] += 1

    def _keep(self, cid: Cid, data: bytes) -> None:
        self._store.receive(cid, data, NAME)
        with self._lock:
            wish = self._wishes.get(cid)
        if wish is not None:  # whoever begins to wait from now on looks into the store first
            wish.data = data
            wish.arrived.set()

    def _note_blocks(self, data: bytes) -> None:
        links = links_of(data)
        with self._lock:
            for block in links.blocks:
                remember(self._named, block, peer_name(links.author), _REMEMBERED)

    def _lease(self, author: str) -> None:
        """Hear the frames of ``author`` from now on: the next one will be wanted, too."""
        if self._holds or author == self._topics.peer:
            return
        with self._lock:  # to the end: a lease and its subscription come and go together
            now = time.monotonic()
            for silent in [peer for peer, end in self._leases.items() if end < now and peer != author]:
                self._end_lease(silent)
            if author not in self._leases and len(self._leases) < _AUTHORS:
                self._leases[author] = now + _LEASE_SECONDS
                self._connection.subscribe(self._topics.of(author, "frame"), self._inbox.handler(self._on_frame))

    def _end_lease(self, author: str) -> None:
        del self._leases[author]
        self._connection.unsubscribe(self._topics.of(author, "frame"))

    # -- how it is

    def _subscribe(self) -> None:
        answers = self._answers
        for channel, handle in (("want", answers.on_want), ("have", answers.on_have), ("message", self._on_message)):
            self._connection.subscribe(self._topics.all(channel), self._inbox.handler(handle))
        if self._holds:
            self._connection.subscribe(self._topics.all("frame"), self._inbox.handler(self._on_frame))

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise TransportError("the exchange over MQTT is closed")

    def _check_connected(self) -> None:
        self._check_open()
        if not self._connection.is_connected:
            raise TransportError(f"MQTT broker {self._connection.name} is {self._connection.state()}")
