"""What other peers send: answers that are waited for, pushed messages, pushed frames. Each is checked, then stored."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from learnae.adapters.mqtt.blocks.inbox import Counts
from learnae.adapters.mqtt.blocks.leases import Leases
from learnae.adapters.mqtt.blocks.wire_format import MOST_CONE, Block, Links, Readable, reachable, unpack
from learnae.adapters.mqtt.blocks.wish_table import WishTable
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.errors import EncodingError, LearnaeError, LimitError
from learnae.ipld.cid import RAW, Cid
from learnae.ports import check_named
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message

_log = logging.getLogger(__name__)

NAME = "mqtt"


class Keeper(Readable, Protocol):
    """The blocks of this machine."""

    def receive(self, cid: Cid, data: bytes, origin: str) -> None:
        """Keep a block that came from ``origin``; raises LearnaeError."""


@dataclass(eq=False)
class Intake:
    """Stores what other peers send, each block decoded once; refuses with LearnaeError what nothing here asked for.

    ``unasked`` bounds what strangers put on the disk, ``open_pushed`` decodes and verifies a message, ``distrust`` is
    told of peers that sent wrong bytes for a block, ``heard`` of every pushed message that was stored.
    """

    topics: Topics
    store: Keeper
    wishes: WishTable
    leases: Leases
    counts: Counts
    unasked: TokenBucket
    open_pushed: Callable[[bytes], Message]
    distrust: Callable[[Cid, str], None]
    heard: Callable[[Cid], None]
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)  # of the bucket

    def on_block(self, received: Received) -> None:
        """Take an answer: the block that is waited for, and ancestors of it."""
        cid = Cid.parse(received.topic.rpartition("/")[2])
        wish = self.wishes.find(cid)
        if wish is None or wish.arrived.is_set():
            return
        peer = self.topics.peer_of(received.topic)
        try:
            data, *others = unpack(received.payload, MOST_CONE)
            check_named(cid, data)
        except LearnaeError:
            self.distrust(cid, peer)
            raise
        wish.arriving.set()
        try:
            self._take_past(Block.read(cid, data), others, wish.cone)
            wish.data = data
            self.counts.add("fetched")
            _log.debug("fetched block %s and %d ancestors: %d bytes", cid, len(others), len(received.payload))
        finally:
            wish.arrived.set()

    def on_message(self, received: Received) -> None:
        """Take a message that its author pushes."""
        peer = self.topics.peer_of(received.topic)
        if peer == self.topics.peer:
            return
        message = self.open_pushed(received.payload)
        if peer_name(message.author) != peer:
            raise EncodingError(f"{peer[:8]} pushes a message of another author", "it is ignored")
        block = Block(message.cid, message.data, Links(message.author, message.parents, message.blocks))
        self._note_frame(block)
        self._accept(block.cid, block.data)
        self.heard(block.cid)

    def on_frame(self, received: Received) -> None:
        """Take a block of a frame that its author pushes; the lease of the author ends if its time is over."""
        peer, cid = self.topics.peer_of(received.topic), Cid.of(RAW, received.payload)
        if peer == self.topics.peer:
            return
        if not self.leases.names(peer, cid):
            raise EncodingError(f"{peer[:8]} pushes a block that no message of it names", "it is ignored")
        self._accept(cid, received.payload, is_followed=self.leases.has(peer))
        self.leases.expire(peer)

    def _take_past(self, root: Block, others: list[bytes], cone: int) -> None:
        """Keep those ancestors that came along, and let more come with whatever is still missing."""
        here = {root.cid: root}
        for ancestor in reachable(root, others):
            here[ancestor.cid] = ancestor
            self._keep(ancestor.cid, ancestor.data)
        self.wishes.note_past(here, cone)
        for block in here.values():
            self._note_frame(block)

    def _note_frame(self, block: Block) -> None:
        if block.links.blocks:
            self.leases.note(peer_name(block.links.author), block.links.blocks)

    def _accept(self, cid: Cid, data: bytes, is_followed: bool = False) -> None:
        """Keep what was pushed, as far as strangers may fill this machine's disk."""
        is_welcome = self.wishes.find(cid) is not None or is_followed or self.store.has(cid)
        if not (is_welcome or self._has_room(len(data))):
            raise LimitError("more is pushed than this machine keeps unasked", "it is asked for when it is wanted")
        self._keep(cid, data)
        self.counts.add("accepted")
        _log.debug("accepted pushed block %s: %d bytes", cid, len(data))

    def _has_room(self, size: int) -> bool:
        with self._lock:
            return self.unasked.take(size)

    def _keep(self, cid: Cid, data: bytes) -> None:
        self.store.receive(cid, data, NAME)
        self.wishes.fulfil(cid, data)
