"""ports.Gossip over MQTT: each peer's announcement is one retained topic, ``…/<peer>/heads``.

In a large swarm it goes on with the peer's place.

A broker gives a new peer the announcements of all that it hears at once. That of a peer that left long ago does no
harm: it names messages that no peer holds any more, or that all peers have.
"""

import logging
import threading
import time
from collections.abc import Iterable

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.frontier import Frontier
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import CBOR, Topics
from learnae.adapters.mqtt.zone_filters import ZoneFilters
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import LearnaeError, LimitError
from learnae.ipld.cid import Cid
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import MAX_BYTES, PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import Evidence
from learnae.protocol.identity import peer_name
from learnae.protocol.messages import Message
from learnae.protocol.neighbourhood.interest import EVERYBODY, LEVELS, Interest

_log = logging.getLogger(__name__)

_PEERS = 1024  # whose newest announcement waits to be heard, and as many whose newest pushed message does
_NAME_CHARACTERS = 64
_BEGIN_SECONDS = 2.5  # in which the broker sends what is retained
_AT_ONCE = 32  # announcements that are read at one time; the rest waits


class MqttGossip(Gossip):
    """Announces the newest state at most once in ``interval`` seconds; counts in ``errors`` what it refuses.

    ``frontier`` is told of all announcements. They are read as they are heard: who announces too fast is read seldom.
    """

    def __init__(
        self, connection: MqttConnection, topics: Topics, interval: float, errors: ErrorLog, frontier: Frontier
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._interval = interval
        self._errors = errors
        self._frontier = frontier
        self._own = b""
        self._said = b""
        self._said_at = float("-inf")
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._heard = BoundedDict[str, bytes](_PEERS)  # unread
        self._pushed = BoundedDict[str, Entry](_PEERS)  # beyond that, announcements will name the newest
        self._evidence = BoundedDict[Cid, str](_PEERS)  # pushed, and by whom
        self._lock = threading.Lock()
        self._topic = topics.own("heads")
        self._levels = BoundedDict[str, int](_AT_ONCE)  # of others' zones, by who says so
        self._says_levels = False
        self._first: Interest | None = None  # whole, and not attended to yet
        self._linked_at: float | None = None  # time.monotonic
        connection.subscribe(topics.all("zones"), self._on_levels)
        self._filters = ZoneFilters(connection, topics)
        self._filters.hear("heads", self._on_announcement)
        frontier.watch(self._filters.attend)

    @override
    def announce(self, announcement: Announcement) -> None:
        """Announce this now, or the newest one when the interval is over."""
        data = announcement.to_bytes()
        self._frontier.note_own(announcement)
        with self._lock:
            self._own = data
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
    def attend(self, interest: Interest) -> bool:
        if interest.is_whole and self._frontier.interest is EVERYBODY and self._linked_at is None:
            self._first = interest  # what is said without a place is heard already; it may be a large swarm
            return True
        self._first, before = None, self._topic
        self._frontier.attend(interest)
        self._say_levels(interest)
        with self._lock:
            self._topic = self._topics.own_at("heads", self._frontier.own_path)
            if self._topic != before and self._said_at > float("-inf"):
                self._say()
                self._connection.keep(before, b"")  # it is said in another place now
        return True

    @property
    @override
    def levels(self) -> int:
        with self._lock:
            said = sorted(self._levels.values())
        return said[(len(said) - 1) // 2] if said else 0

    @property
    @override
    def is_linked(self) -> bool:
        return self._connection.is_connected

    @override
    def heard(self) -> Iterable[Heard]:
        """Return the newest announcement of some peers, known ones first, and the newest message each has pushed."""
        self._begin()
        with self._lock:
            first = sorted(self._heard, key=lambda peer: not self._frontier.knows(peer))[:_AT_ONCE]
            waiting, pushed = [(peer, self._heard.pop(peer)) for peer in first], list(self._pushed.items())
            evidence = list(self._evidence.items())
            self._pushed.clear()
            self._evidence.clear()
        found = [Heard(peer, said) for peer, payload in waiting if (said := self._read(peer, payload)) is not None]
        newest = {(heard.announcer, entry.author): entry.seq for heard in found for entry in heard.announcement.entries}
        news = [(peer, entry) for peer, entry in pushed if newest.get((peer, entry.author), -1) <= entry.seq]
        kept = (Heard(peer, Announcement(kept=(cid,))) for cid, peer in evidence)
        return [*found, *(Heard(peer, Announcement((entry,))) for peer, entry in news), *kept]

    def note(self, message: Message) -> None:
        """Take a pushed message for an announcement of its author."""
        checkpoint = message.cid if message.checkpoint else None
        entry = Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, checkpoint)
        with self._lock:
            self._pushed.renew(peer_name(message.author), entry)
            if isinstance(message.body, Evidence):  # which also those keep who do not hear its author
                self._evidence.renew(message.cid, peer_name(message.author))

    def close(self) -> None:
        """Say nothing more. Idempotent."""
        with self._lock:
            self._is_closed = True
            if self._timer is not None:
                self._timer.cancel()

    def _begin(self) -> None:
        """Hear all places, too, once it had to be known that the swarm is a large one."""
        if self._first is None or not self._connection.is_connected:
            return
        self._linked_at = time.monotonic() if self._linked_at is None else self._linked_at
        if time.monotonic() - self._linked_at >= _BEGIN_SECONDS:
            self.attend(self._first)

    def _say_levels(self, interest: Interest) -> None:
        """Tell newcomers how large zones are: of a large swarm, only those do in whose places bits are 0 so far."""
        levels = interest.home.levels
        if levels and not interest.home.start:
            self._connection.keep(self._topics.own("zones"), b"%d" % levels)
            self._says_levels = True
        elif self._says_levels:
            self._connection.keep(self._topics.own("zones"), b"")

    def _on_levels(self, received: Received) -> None:
        peer, said = self._topics.peer_of(received.topic), received.payload[:3]
        with self._lock:
            if said.isdigit() and 0 < int(said) <= LEVELS and peer != self._topics.peer:
                self._levels.renew(peer, int(said))
            else:
                self._levels.pop(peer, None)

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            if not self._is_closed:
                self._say()

    def _say(self) -> None:
        self._said, self._said_at = self._own, time.monotonic()
        _log.debug("announcing: %d bytes", len(self._own))
        self._connection.keep(self._topic, self._own, CBOR)

    def _on_announcement(self, received: Received) -> None:
        peer = self._topics.peer_of(received.topic)
        if peer == self._topics.peer or not self._frontier.interest.admits_name(peer):
            return
        payload = received.payload[: MAX_BYTES + 1]  # what is longer is refused
        with self._lock:
            self._heard[peer] = payload  # in its place: who announces fast is not the newest for ever

    def _read(self, peer: str, payload: bytes) -> Announcement | None:
        try:
            announcement = parse_announcement(peer, payload)
        except LearnaeError as error:
            self._errors.count(error)
            return None
        _log.debug("heard %d authors of peer %.8s", len(announcement.entries), peer)
        self._frontier.note_heard(announcement, peer)
        return announcement


def parse_announcement(peer: str, payload: bytes) -> Announcement:
    """Return what ``peer`` announces, nothing in an empty payload; raises EncodingError or LimitError."""
    if len(peer) > _NAME_CHARACTERS:
        raise LimitError(f"a peer's name of {len(peer)} characters on MQTT", "its announcements are ignored")
    return Announcement.from_bytes(payload) if payload else Announcement()
