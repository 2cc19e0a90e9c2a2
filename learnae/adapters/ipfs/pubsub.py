"""Gossip over Kubo's pubsub: ``learnae/1/MEETING/heads``, an announcement is one dag-cbor map, with a field ``peer``.

The topic and the data of Kubo's RPC are multibase since go-ipfs 0.11 (base64url, prefix ``u``); a publication is
a multipart body, a subscription a stream of JSON lines.
"""

import base64
import binascii
import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from learnae.adapters.ipfs.exchange import Acquaintances
from learnae.adapters.ipfs.rpc import KuboRpc
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import EncodingError, LearnaeError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.fields import Fields
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import MAX_BYTES, Announcement
from learnae.system.backoff import Backoff

_log = logging.getLogger(__name__)

HOW_TO_TURN_ON = "ipfs config --json Pubsub.Enabled true, and restart the daemon"

_PEERS = 1024  # whose newest announcement waits to be heard
_NAME = 52  # characters of a peer's name
_REPEAT_SECONDS = 10.0  # the announcement is repeated even if nothing changed: for peers that came late or lost it
_SILENCE_SECONDS = 3 * _REPEAT_SECONDS  # the own announcements come back, so silence means that the stream is dead
_PAUSES = 0.5, 30.0  # seconds until a daemon that failed is tried again: the first and the longest
_JOIN_SECONDS = 2.0


@dataclass(eq=False)
class KuboGossip(Gossip):
    """Gossips for the peer ``name`` where its swarm meets: one thread speaks, one listens; both recover alone."""

    rpc: KuboRpc
    meeting: str
    name: str
    timeout: float
    acquaintances: Acquaintances
    errors: ErrorLog = field(default_factory=ErrorLog)
    repeat: float = _REPEAT_SECONDS
    silence: float = _SILENCE_SECONDS

    def __post_init__(self) -> None:
        self._topic = "u" + base64.urlsafe_b64encode(f"learnae/1/{self.meeting}/heads".encode()).decode().rstrip("=")
        self._own: Announcement | None = None
        self._heard = BoundedDict[str, Heard](_PEERS)
        self._reason: str | None = None  # why it does not work; empty while it does, None at first
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._speak, name="pubsub out", daemon=True),
            threading.Thread(target=self._listen, name="pubsub in", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def state(self) -> str:
        """Return the state, for the status."""
        if self._reason is None:
            return "connecting"
        return f"away: {self._reason}" if self._reason else "connected"

    @override
    def announce(self, announcement: Announcement) -> None:
        """Publish in the background, at once if something changed."""
        announcement.check()
        with self._wake:
            if announcement != self._own:
                self._own = announcement
                self._wake.notify()

    @override
    def heard(self) -> Iterable[Heard]:
        """Return the newest announcement of each peer."""
        with self._wake:
            found = list(self._heard.values())
            self._heard.clear()
        return found

    def close(self) -> None:
        """End both threads. Idempotent."""
        self._closing.set()
        with self._wake:
            self._wake.notify_all()
        self.rpc.close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    # -- speaking

    def _speak(self) -> None:
        published: Announcement | None = None
        backoff = Backoff(*_PAUSES)
        while (announcement := self._next(published)) is not None:
            try:
                self._publish(announcement)
                published = announcement
                backoff.succeeded()
            except TransportError as error:
                published = None
                self._fail(error)
                self._closing.wait(backoff.failed())

    def _next(self, published: Announcement | None) -> Announcement | None:
        """Wait for a change, or until it is time to repeat; return None at the end."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._closing.is_set() or self._own is not published,
                self.repeat if published is not None else None,
            )
            return None if self._closing.is_set() else self._own

    def _publish(self, announcement: Announcement) -> None:
        self.acquaintances.meet()
        data = dagcbor.encode({"peer": self.name, **announcement.to_fields()})
        self.rpc.call("pubsub/pub", self._topic, seconds=self.timeout, data=data)
        _log.debug("published %d authors, %d bytes", len(announcement.entries), len(data))

    # -- listening

    def _listen(self) -> None:
        backoff = Backoff(*_PAUSES)
        while not self._closing.is_set():
            try:
                for line in self.rpc.lines("pubsub/sub", self._topic, silence=self.silence):
                    self._works()
                    backoff.succeeded()
                    self._take(line)
                self._fail(TransportError("Kubo has ended the subscription"))
            except TransportError as error:
                self._fail(error)
            self._closing.wait(backoff.failed())

    def _take(self, line: bytes) -> None:
        try:
            heard = parse_announcement(line)
        except LearnaeError as error:
            self.errors.count(error)
            return
        if heard.announcer == self.name:
            return
        _log.debug("heard %d authors of %s, %d bytes", len(heard.announcement.entries), heard.announcer, len(line))
        with self._wake:
            self._heard.renew(heard.announcer, heard)

    # -- how it is

    def _works(self) -> None:
        if self._reason != "":
            self._reason = ""
            _log.info("ipfs pubsub: connected")

    def _fail(self, error: LearnaeError) -> None:
        if is_off(error):
            error = TransportError("Kubo's pubsub is off", HOW_TO_TURN_ON)
        if error.problem != self._reason and not self._closing.is_set():
            self._reason = error.problem
            _log.warning("ipfs pubsub: %s; working without it, it is tried again", error)


def is_off(error: LearnaeError) -> bool:
    """Return True if that is what the daemon has said of its pubsub."""
    return "pubsub feature not enabled" in str(error)


def parse_announcement(line: bytes) -> Heard:
    """Return what one line of a subscription says; raises EncodingError or LimitError."""
    try:
        data = json.loads(line)["data"]
        if not isinstance(data, str) or data[:1] != "u":
            raise ValueError("no base64url")
        body = base64.urlsafe_b64decode(data[1:] + "=" * (-len(data[1:]) % 4))
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise EncodingError(f"not a line of Kubo's pubsub: {line[:60]!r}", "it is ignored") from error
    content = dagcbor.decode(body, MAX_BYTES)
    peer = Fields(content, "announcement", EncodingError).text("peer", _NAME)
    return Heard(peer, Announcement.from_fields(content))
