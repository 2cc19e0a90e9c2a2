"""What other peers send: answers that are waited for, pushed messages, pushed frames. Each is checked, then stored."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from learnae.adapters.mqtt.blocks.claims import Claims
from learnae.adapters.mqtt.blocks.inbox import Counts
from learnae.adapters.mqtt.blocks.leases import Leases
from learnae.adapters.mqtt.blocks.wire_format import MOST_CHAIN, Block, Readable, linked, unpack
from learnae.adapters.mqtt.blocks.wish_table import WishTable
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import EncodingError, LearnaeError, LimitError, StrangerError
from learnae.ipld.cid import RAW, Cid
from learnae.ports import check_named
from learnae.protocol.announcements import PREFIX_BYTES
from learnae.protocol.bodies import Evidence
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, Message

_log = logging.getLogger(__name__)

NAME = "mqtt"
_AUTHORS = 1024  # whose frames are counted


class Keeper(Readable, Protocol):
    """The blocks of this machine."""

    @property
    def local(self) -> Readable:
        """Return those that are kept: what others are answered with."""

    def check(self, data: bytes) -> None:
        """Raise StrangerError for a message that is not to be kept, before it is decoded."""

    def receive(self, cid: Cid, data: bytes, origin: str, by: str = "") -> None:
        """Keep a block that came from ``origin``, in memory only if ``by`` has sent it unasked; raises LearnaeError."""


@dataclass(eq=False)
class Intake:
    """Stores what other peers send, each block decoded once; refuses with LearnaeError what nothing here asked for.

    ``frames`` bounds what each author's pushed frames take on the disk; all else that comes unasked waits in memory.
    ``open_pushed`` decodes and verifies a message, ``claims`` is told of peers that sent a block, or something else in
    its place, ``heard`` of every pushed message that was stored, ``frontier`` of where messages stand that are still
    missing.
    """

    topics: Topics
    store: Keeper
    wishes: WishTable
    leases: Leases
    frontier: Frontier
    counts: Counts
    frames: Callable[[], TokenBucket]
    open_pushed: Callable[[bytes], Message]
    claims: Claims
    heard: Callable[[Message], None]
    message_bytes: int = Limits().message_bytes

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # of the buckets
        self._frames = BoundedDict[str, TokenBucket](_AUTHORS)

    def on_block(self, received: Received) -> None:
        """Take an answer: the block that is waited for, and its past."""
        cid = Cid.parse(received.topic.rpartition("/")[2])
        wish = self.wishes.find(cid)
        if wish is None or wish.arrived.is_set():
            return
        peer = self.topics.peer_of(received.topic)
        try:
            data, *others = unpack(received.payload, MOST_CHAIN)
            check_named(cid, data)
        except LearnaeError:
            self.claims.distrust(cid, peer)
            raise
        if len(data) > wish.most:
            wish.arrived.set()  # no other bytes have that name
            raise LimitError(f"block {cid} has {len(data)} bytes", f"at most {wish.most} are taken")
        wish.arriving.set()
        try:
            self._take_chain(Block.read(cid, data), others, peer)
            self.claims.settle(cid, peer)
            wish.data = data
            self.counts.add("fetched")
            _log.debug("fetched block %s and %d before it: %d bytes", cid, len(others), len(received.payload))
        finally:
            wish.arrived.set()

    def is_welcome(self, received: Received) -> bool:
        """Return False for a message of a stranger: it takes no place in the inbox of those that members push."""
        try:
            self.store.check(received.payload)
        except StrangerError as error:
            if self.counts.add("refused of strangers") == 1:
                _log.warning("MQTT: %s (counted from now on)", error)
            return False
        return True

    def on_message(self, received: Received) -> None:
        """Take a message that its author pushes."""
        peer = self.topics.peer_of(received.topic)
        if peer == self.topics.peer:
            return
        is_heard, is_placed = self.frontier.interest.admits_name(peer), bool(self.topics.path_in(received.topic))
        if is_placed and not is_heard:
            return
        if peer_name(Envelope.read(received.payload).author) != peer:
            raise EncodingError(f"{peer[:8]} pushes a message of another author", "it is ignored")
        message = self.open_pushed(received.payload)
        if not is_heard and not isinstance(message.body, Evidence):
            return
        self.leases.note(peer, message.blocks)
        if message.previous is not None and not message.checkpoint:
            self.frontier.note_place(message.previous, message.author[:PREFIX_BYTES], message.seq - 1)
        self._accept(message.cid, message.data, peer, is_kept=False)
        self.heard(message)

    def on_frame(self, received: Received) -> None:
        """Take a block of a frame that its author pushes; the lease of the author ends if its time is over."""
        peer, cid = self.topics.peer_of(received.topic), Cid.of(RAW, received.payload)
        if peer == self.topics.peer:
            return
        if not self.leases.names(peer, cid):
            raise EncodingError(f"{peer[:8]} pushes a block that no message of it names", "it is ignored")
        self._accept(cid, received.payload, peer, is_kept=self._has_room(peer, len(received.payload)))
        self.leases.expire(peer)

    def _take_chain(self, newest: Block, others: list[bytes], by: str) -> None:
        """Keep the past that came along, oldest first, so that the newest frames are remembered best."""
        chain = [newest, *takewhile(lambda block: len(block.data) <= self.message_bytes, linked(newest, others))]
        for block in reversed(chain):
            if block is not newest:
                self._keep(block.cid, block.data, by)
            if block.blocks:
                self.leases.note(peer_name(block.author), block.blocks)
        oldest = chain[-1]
        if oldest.previous is not None:
            self.frontier.note_place(oldest.previous, oldest.author[:PREFIX_BYTES], oldest.seq - 1)

    def _accept(self, cid: Cid, data: bytes, by: str, is_kept: bool) -> None:
        """Take what was pushed: in memory, unless it ``is_kept`` or waited for."""
        self._keep(cid, data, "" if is_kept or self.wishes.find(cid) is not None else by)
        self.counts.add("accepted")
        _log.debug("accepted pushed block %s: %d bytes", cid, len(data))

    def _has_room(self, author: str, size: int) -> bool:
        with self._lock:
            bucket = self._frames.get(author) or self.frames()
            self._frames.renew(author, bucket)
            return bucket.take(size)

    def _keep(self, cid: Cid, data: bytes, by: str) -> None:
        self.store.receive(cid, data, NAME, by)
        self.wishes.fulfil(cid, data)
