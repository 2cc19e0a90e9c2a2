"""Gossip over Kubo's pubsub: ``learnae/1/SWARM/heads``, one dag-cbor map ``{peer, heads}`` an announcement.

The topic and the data of Kubo's RPC are multibase since go-ipfs 0.11 (base64url, prefix ``u``); a publication is
a multipart body, a subscription a stream of JSON lines.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
from collections.abc import Iterable, Sequence

from learnae.adapters.ipfs.exchange import Acquaintances
from learnae.adapters.ipfs.rpc import KuboRpc
from learnae.error_log import ErrorLog
from learnae.errors import EncodingError, LearnaeError, TransportError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ports import Gossip, check_heads
from learnae.protocol.limits import Limits

log = logging.getLogger("learnae")

_DATA_BYTES = 8192  # more than Limits.heads links
_PEERS = 1024  # whose newest announcement waits to be heard
_NAME = 52  # characters of a peer's name
_REPEAT_SECONDS = 10.0  # heads are said again even if nothing changed: whoever came late or lost them hears them then
_SILENCE_SECONDS = 3 * _REPEAT_SECONDS  # the own announcements come back, so silence means that the stream is dead
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0  # seconds until a daemon that failed is tried again, doubled each time
_JOIN_SECONDS = 2.0


class KuboGossip(Gossip):
    """ports.Gossip for the peer ``name`` of ``swarm``: one thread speaks, one listens; both come back by themselves."""

    def __init__(self, rpc: KuboRpc, swarm: Cid, name: str, timeout: float, acquaintances: Acquaintances) -> None:
        self._rpc = rpc
        self._topic = _multibase(f"learnae/1/{swarm}/heads".encode())
        self._name = name
        self._timeout = timeout
        self._acquaintances = acquaintances
        self._own: Sequence[Cid] | None = None
        self._heard: dict[str, Sequence[Cid]] = {}
        self._reason: str | None = None  # why it does not work; empty while it does, None at first
        self._problems = ErrorLog()
        self._refused: list[LearnaeError] = []
        self._wake = threading.Condition()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._speak, name="pubsub out", daemon=True),
            threading.Thread(target=self._listen, name="pubsub in", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def count_in(self, problems: ErrorLog) -> None:
        """Count announcements that were refused in ``problems`` from now on."""
        self._problems = problems

    def state(self) -> str:
        """For the status."""
        if self._reason is None:
            return "connecting"
        return f"away: {self._reason}" if self._reason else "connected"

    def announce(self, heads: Sequence[Cid]) -> None:
        """See ports.Gossip; said in the background, at once if it is news."""
        check_heads(heads)
        with self._wake:
            if self._own is None or list(heads) != list(self._own):
                self._own = tuple(heads)
                self._wake.notify()

    def heard(self) -> Iterable[Sequence[Cid]]:
        """See ports.Gossip; the newest of each peer."""
        with self._wake:
            found, self._heard = list(self._heard.values()), {}
            refused, self._refused = self._refused, []
        for error in refused:
            self._problems.count(error)
        return found

    def close(self) -> None:
        """End both threads. Idempotent."""
        self._closing.set()
        with self._wake:
            self._wake.notify_all()
        self._rpc.close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    # -- speaking

    def _speak(self) -> None:
        said: Sequence[Cid] | None = None
        pause = _FIRST_PAUSE
        while (heads := self._next(said)) is not None:
            try:
                self._publish(heads)
                said, pause = heads, _FIRST_PAUSE
            except TransportError as error:
                said = None
                self._fail(error)
                self._closing.wait(pause)
                pause = min(_LAST_PAUSE, 2 * pause)

    def _next(self, said: Sequence[Cid] | None) -> Sequence[Cid] | None:
        """Wait for news, or until it is time to repeat; None at the end."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._closing.is_set() or self._own is not said, _REPEAT_SECONDS if said is not None else None
            )
            return None if self._closing.is_set() else self._own

    def _publish(self, heads: Sequence[Cid]) -> None:
        self._acquaintances.meet()
        data = dagcbor.encode({"peer": self._name, "heads": list(heads)})
        self._rpc.call("pubsub/pub", self._topic, seconds=self._timeout, data=data)

    # -- listening

    def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                for line in self._rpc.lines("pubsub/sub", self._topic, silence=_SILENCE_SECONDS):
                    self._works()
                    pause = _FIRST_PAUSE
                    self._take(line)
                self._fail(TransportError("Kubo has ended the subscription"))
            except TransportError as error:
                self._fail(error)
            self._closing.wait(pause)
            pause = min(_LAST_PAUSE, 2 * pause)

    def _take(self, line: bytes) -> None:
        try:
            peer, heads = parse_announcement(line)
        except LearnaeError as error:
            with self._wake:
                del self._refused[_PEERS:]
                self._refused.append(error)
            return
        if peer == self._name:
            return
        with self._wake:
            self._heard.pop(peer, None)
            self._heard[peer] = heads
            while len(self._heard) > _PEERS:
                self._heard.pop(next(iter(self._heard)))

    # -- how it is

    def _works(self) -> None:
        if self._reason != "":
            self._reason = ""
            log.info("ipfs pubsub: connected")

    def _fail(self, error: LearnaeError) -> None:
        if "pubsub feature not enabled" in str(error):
            error = TransportError("Kubo's pubsub is off", "ipfs config --json Pubsub.Enabled true, and restart it")
        if error.problem != self._reason and not self._closing.is_set():
            self._reason = error.problem
            log.warning("ipfs pubsub: %s; working without it, it is tried again", error)


def parse_announcement(line: bytes) -> tuple[str, Sequence[Cid]]:
    """Peer and heads of one line of a subscription; raises EncodingError."""
    try:
        data = json.loads(line)["data"]
        if not isinstance(data, str) or data[:1] != "u":
            raise ValueError("no base64url")
        body = base64.urlsafe_b64decode(data[1:] + "=" * (-len(data[1:]) % 4))
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise EncodingError(f"not a line of Kubo's pubsub: {line[:60]!r}", "it is ignored") from error
    announcement = dagcbor.decode(body, _DATA_BYTES)
    if not isinstance(announcement, dict):
        raise EncodingError("an announcement on pubsub is no map", "it is ignored")
    peer, heads = announcement.get("peer"), announcement.get("heads")
    if not isinstance(peer, str) or len(peer) > _NAME:
        raise EncodingError("an announcement on pubsub names no peer", "it is ignored")
    if not isinstance(heads, list) or not all(isinstance(cid, Cid) for cid in heads):
        raise EncodingError("the heads of an announcement on pubsub are no list of links", "it is ignored")
    return peer, heads[: Limits().heads]


def _multibase(data: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")
