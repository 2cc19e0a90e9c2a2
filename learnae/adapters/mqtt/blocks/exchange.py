"""ports.Exchange over MQTT, for boards with no IPFS daemon (docs/mqtt.md): a block crosses the broker about once.

An author pushes its messages to all peers and its frames to its followers. A peer that misses a block waits a moment
for a push, then asks; other peers that miss it, too, hear that and only listen. Holders wait a random moment, the first
says that it has the block, the others stay silent, and the answer reaches all peers that asked. A message brings with
it what its author has said since its checkpoint, as far as the asker lacks it: one answer an author.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from learnae.adapters.mqtt.blocks.claims import Claims
from learnae.adapters.mqtt.blocks.inbox import Counts, MqttInbox
from learnae.adapters.mqtt.blocks.intake import Intake, Keeper
from learnae.adapters.mqtt.blocks.leases import Leases
from learnae.adapters.mqtt.blocks.responder import MqttResponder, usual_spending
from learnae.adapters.mqtt.blocks.wire_format import Want
from learnae.adapters.mqtt.blocks.wish_table import Wish, WishTable
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.mqtt.turnstile import Turnstile
from learnae.adapters.mqtt.zone_filters import ZoneFilters
from learnae.adapters.token_bucket import TokenBucket
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, LearnaeError, TransportError
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, Cid
from learnae.ports import Exchange
from learnae.protocol.bodies import Evidence
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Envelope, Message, open_message

_log = logging.getLogger(__name__)

_JOIN_SECONDS = 10.0  # a link that waits for the broker is there at once when it comes
_LOOK_SECONDS = 0.05  # between two looks at whether it has come


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times and bounds of the exchange: seconds, bytes. Peers with different values understand each other."""

    grace: tuple[float, float] = (0.5, 1.0)  # in which a push may arrive before a block is asked for, drawn at random
    along: float = 2.0  # more for a checkpoint: it comes with the newest message, for which another thread asks
    ask: float = 1.0  # until a block is asked for again
    asks: int = 3
    slow: float = 10.0  # for an answer that a holder has claimed: a large block on a slow line
    offer: float = 10.0  # until the broker must have acknowledged a push
    push_bytes: int = 4 << 20  # a larger frame is only sent to peers that ask
    lease: float = 600.0  # after which frames of an author are no longer heard unless one is wanted again
    authors: int = 64  # with a lease at one time: as many as a trainer follows
    frame_bytes: int = 4 << 20  # that pushed frames of one author may put on the disk at once …
    frame_rate: float = 8 << 10  # … and a second; what is beyond waits in memory
    due: float = 1.0  # for which an answer that was claimed is waited for before it is asked for again
    claim: float = 1.0  # for which holders leave an answer to the one that claimed it
    inbox_messages: int = 256  # that wait; a flood beyond that is dropped, and asked for again if it was worth it
    inbox_bytes: int = 4 << 20


@dataclass(eq=False)
class MqttExchange(Exchange):
    """Exchanges the blocks of ``store`` with the peers on the broker.

    ``holds`` also takes frames of authors that this peer does not follow, for peers that it provides them to by other
    ways. ``heard`` is told of every pushed message. ``opener`` decodes and verifies messages. ``frontier`` tells how
    much of a message's past is here, and which authors are known. ``spend`` says whether so many bytes may go out to
    an asker.
    """

    connection: MqttConnection
    topics: Topics
    swarm: Cid
    store: Keeper
    limits: Limits
    holds: bool = False
    opener: Callable[[bytes, Cid, Limits], Message] = open_message
    heard: Callable[[Message], None] = lambda _: None
    frontier: Frontier = field(default_factory=Frontier)
    spend: Callable[[int, bytes], bool] = field(default_factory=usual_spending)
    tuning: Tuning = Tuning()

    def __post_init__(self) -> None:
        self.counts = Counts()
        self._inbox = MqttInbox(self.counts, self.tuning.inbox_messages, self.tuning.inbox_bytes)
        self._claims = Claims()
        self._answers = MqttResponder(
            self.connection,
            self.topics,
            self.store.local,
            self._inbox,
            self.counts,
            self.tuning.claim,
            self.spend,
            self._claims,
        )
        self._wishes = WishTable(self.connection, self.topics)
        self._leases = Leases(self.connection, self.topics, self.tuning.lease, self.tuning.authors)
        intake = Intake(
            self.topics,
            self.store,
            self._wishes,
            self._leases,
            self.frontier,
            self.counts,
            partial(TokenBucket, self.tuning.frame_bytes, self.tuning.frame_rate),
            self._open,
            self._claims,
            self.heard,
            self.limits.message_bytes,
        )
        passes = Turnstile(self.topics, self.frontier.knows, self.counts).passes
        handler = partial(self._inbox.handler, is_welcome=passes)
        self._on_block, self._on_frame = handler(intake.on_block), handler(intake.on_frame)
        filters = ZoneFilters(self.connection, self.topics)
        self.frontier.watch(filters.attend)
        self.frontier.watch(self._leases.attend)
        filters.hear("want", handler(self._answers.on_want), 0)
        filters.hear("have", handler(self._answers.on_have), 0)
        message = self._inbox.handler(intake.on_message, lambda each: passes(each) and intake.is_welcome(each))
        filters.hear("message", message, 0)  # announcements heal what is lost
        if self.holds:
            filters.hear("frame", self._on_frame)

    def state(self) -> str:
        """Return what the status says of the exchange: how many blocks it has carried."""
        return self.counts.describe()

    # -- ports.Exchange

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        """Push an own message with its frame; all else is only answered."""
        self._wishes.check_open()
        if cid.codec != DAG_CBOR:
            return
        try:
            if peer_name(Envelope.read(data).author) != self.topics.peer:
                return
            message = self._open(data)
        except LearnaeError:  # no message, so no peer waits for it
            return
        self._check_connected()
        self._push(message)

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        self._check_connected()
        wish = self._wishes.enter(cid, self._on_block, most)
        try:
            if not self.holds:
                self._leases.begin(cid, self._on_frame)
            if self.store.has(cid):  # it was pushed just before this thread began to wait
                return self.store.get(cid)
            return self._wait(cid, wish)
        finally:
            self._wishes.leave(cid, wish)

    @override
    def keep(self, cid: Cid) -> None:
        """Do nothing: blocks are answered from this machine's own store."""

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return nothing, once the broker is there."""
        deadline = time.monotonic() + _JOIN_SECONDS
        while not self.connection.is_connected and time.monotonic() < deadline:
            if self._wishes.closed.wait(_LOOK_SECONDS):
                break
        self._check_connected()
        return ()

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        """Do nothing: blocks are answered from this machine's own store."""

    @override
    def close(self) -> None:
        """End all calls; the connection stays, other parts use it."""
        self._wishes.close()
        self._inbox.close()

    # -- pushing

    def _push(self, message: Message) -> None:
        """Push a message, then its frame: the message tells the others that the blocks are worth keeping.

        What the broker cannot take is left out, so that all else goes on.
        """
        frame = [self.store.get(cid) for cid in message.blocks if self.store.has(cid)]
        place, is_for_all = self.frontier.own_path, isinstance(message.body, Evidence)
        pushed = [(self.topics.own_at("message", "" if is_for_all else place), message.data)]
        if sum(map(len, frame)) <= self.tuning.push_bytes:
            pushed += [(self.topics.own_at("frame", place), block) for block in frame]
        if not all(self.connection.takes(*each) for each in pushed):
            self.counts.add("not pushed: too large for the broker")
            pushed = [each for each in pushed[:1] if self.connection.takes(*each)]
            if not pushed:
                return
        *others, (topic, last) = pushed
        for each, data in others:
            if not self.connection.publish(each, data):  # no room: wait for some
                self.connection.deliver(each, data, self.tuning.offer)
        self.connection.deliver(topic, last, self.tuning.offer)  # acknowledged after the others
        self.counts.add("pushed", len(pushed))
        _log.debug("pushed message %s: %d blocks, %d bytes", message.cid, len(pushed), sum(len(d) for _, d in pushed))

    # -- asking

    def _wait(self, cid: Cid, wish: Wish) -> bytes:
        tuning = self.tuning
        along = tuning.along if self.frontier.comes_along(cid) else 0.0
        arrived = wish.arrived.wait(random.uniform(*tuning.grace) + along)
        for left in reversed(range(tuning.asks)):
            if arrived:
                break
            self._ask(cid, wish, not left)
            arrived = wish.arrived.wait(tuning.ask * random.uniform(0.7, 1.3)) or self._wait_for_claims(
                cid, wish, tuning.due
            )
        if not arrived and not self._wait_for_claims(cid, wish, tuning.slow):
            self._claims.settle(cid)
        if wish.data is None:
            self._check_connected()
            raise BlockMissingError(f"no peer on the broker has block {cid}")
        return wish.data

    def _wait_for_claims(self, cid: Cid, wish: Wish, seconds: float) -> bool:
        """Wait while the block is arriving, or a holder has claimed it less than ``seconds`` ago; return if it came."""
        arrived = False
        while not arrived and (wish.arriving.is_set() or self._claims.latest(cid) + seconds > time.monotonic()):
            arrived = wish.arrived.wait(min(self.tuning.ask, seconds) / 4)
        return arrived

    def _ask(self, cid: Cid, wish: Wish, is_last: bool) -> None:
        """Ask for a block, unless it is coming or another peer has asked for it just now.

        Those are asked who hear its author; where that is not known, those near this peer; at last, all.
        """
        start = self.frontier.start_of(cid)
        if wish.arriving.is_set() or time.monotonic() - self._answers.asked(cid, start) < self.tuning.ask / 2:
            return
        want = Want((cid,), start).to_bytes()
        path = "" if is_last else self.frontier.path_of(cid, self._leases.author_of(cid))
        if self.connection.publish(self.topics.own_at("want", path), want, qos=0, content_type=CBOR):
            self.counts.add("wanted")
            _log.debug("asked for block %s and what comes before it, from number %d on", cid, start)

    def _open(self, data: bytes) -> Message:
        return self.opener(data, self.swarm, self.limits)

    def _check_connected(self) -> None:
        self._wishes.check_open()
        if not self.connection.is_connected:
            raise TransportError(f"MQTT broker {self.connection.name} is {self.connection.state()}")
