"""Gossip over the Tangle: announcements in zero-value transactions of an IOTA node (legacy protocol).

A thread of its own talks to the node, finds nonces and hashes, so that a tick never waits for it. The
node's clock says which epoch it is: a board without a clock battery announces where the others look.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from learnae.adapters.iota.announcements import EPOCH, Channel, Newest, SignedAnnouncement, Turns
from learnae.adapters.iota.node import Node
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, LearnaeError, PeerError
from learnae.ipld.cid import Cid
from learnae.ports import Gossip, Heard
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import Identity
from learnae.protocol.limits import Limits
from learnae.system.backoff import Backoff
from learnae.text import host_of

_log = logging.getLogger(__name__)

_BATCH = 256  # transactions read in one turn: spam under the tag costs this much and no more
_CATCH_UP = 16  # old epochs read in one turn
_UNCONFIRMED = 64  # own transactions watched until a milestone includes them
_PROMOTIONS = 2  # before the transaction is attached anew
_LONGEST_PAUSE = 60.0  # seconds, when a node does not answer
_SHORTEST_PAUSE = 0.2  # seconds, however many events there are
_LEAVE_SECONDS = 2.0  # a call under way may take longer: the thread ends with the process
_EVENT = "tx"  # every transaction that the node takes in; its tag is one of the words
_POLL = 500  # ms: how soon a closed stream ends its thread
_EVENT_BYTES = 4096  # a message of this topic has below 700


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks at the Tangle (``poll``) and, at least, two own announcements (``every``).

    An own transaction is helped when no milestone has included it for ``confirmation`` seconds: three milestones.
    """

    poll: float = 5.0
    every: float = 30.0
    confirmation: float = 30.0


_Found = tuple[SignedAnnouncement, int, bool]  # epoch of its tag, and whether newer ones may have been read before


@dataclass(slots=True)
class _Sent:
    """Holds an own transaction that no milestone includes yet."""

    moment: int
    trytes: str
    names: list[str]
    since: float
    helped: int = 0


@dataclass(slots=True)
class Counts:
    """Counts what has been done since the start; ``latencies`` are seconds from attaching to a milestone."""

    announced: int = 0
    confirmed: int = 0
    heard: int = 0
    promoted: int = 0
    reattached: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


@dataclass(eq=False)
class IotaGossip(Gossip):
    """Gossips over the Tangle; ``coordinator``, if given, is the only one whose Tangle will do.

    Looks for what peers have said that are away now as far back as ``horizon``, in ms. Errors of the node and of other
    peers are counted in ``errors``; ``batch`` transactions are read in one turn.
    """

    node: Node
    channel: Channel
    identity: Identity
    swarm: Cid
    horizon: int
    pace: Pace
    coordinator: str = ""
    errors: ErrorLog = field(default_factory=ErrorLog)
    batch: int = _BATCH

    def __post_init__(self) -> None:
        self.counts = Counts()
        self._lock = threading.Lock()  # over what the thread and the tick share: the next two
        self._wanted = Announcement()
        self._newest = Newest()
        self._state = "connecting"
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._turns = Turns(self.identity.author)
        self._said_time = 0
        self._next = 0.0  # monotonic: when the next announcement may be made
        self._sent: deque[_Sent] = deque(maxlen=_UNCONFIRMED)
        self._read_to: int | None = None  # every epoch before it has been read
        self._seen: dict[int, set[str]] = {}
        self._epoch = 0

    # -- what the tick sees

    @override
    def announce(self, announcement: Announcement) -> None:
        """Announce in the background, at once if what comes first has changed: a peer's own entry."""
        announcement.check()
        with self._lock:
            before, self._wanted = self._wanted, announcement
        if announcement.entries[:1] != before.entries[:1] and time.monotonic() >= self._next:
            self._wake.set()

    @override
    def heard(self) -> Iterable[Heard]:
        with self._lock:
            return self._newest.take()

    def state(self) -> str:
        """Return the state in one line, for the status."""
        return self._state

    def has_unsaid(self) -> bool:
        """Return True while something known here is not announced yet: a transaction has little room."""
        return self._turns.is_due(self._wanted, self._epoch)

    def wake(self) -> None:
        """Look soon: something may have happened on the Tangle."""
        self._wake.set()

    def tag(self) -> str:
        """Return the tag that transactions of this swarm have now."""
        return self.channel.tag(self._epoch)

    def start(self) -> None:
        """Let the thread begin."""
        self._thread = threading.Thread(target=self._run, name="iota", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_SECONDS)

    # -- the thread

    def _run(self) -> None:
        poll = self.pace.poll
        backoff = Backoff(2 * poll, max(_LONGEST_PAUSE, poll))
        try:
            while not self._closing.is_set():
                try:
                    self.turn()
                    pause = poll
                    backoff.succeeded()
                except LearnaeError as error:
                    pause = backoff.failed()
                    self.errors.count(error)
                    self._say(f"away: {error.problem}")
                self._closing.wait(_SHORTEST_PAUSE)
                self._wake.wait(max(0.0, pause - _SHORTEST_PAUSE))
                self._wake.clear()
        finally:
            self._say("closed" if self._closing.is_set() else "ended by an error of its own")

    def turn(self) -> None:
        """Look once: hear others, see to own transactions, announce. Raises what keeps it from that."""
        info = self.node.info()
        if self.coordinator and info.coordinator != self.coordinator:
            node, theirs = host_of(self.node.url), info.coordinator[:9] or "?"
            raise ConfigurationError(
                f"wrong network: the node at {node} follows coordinator {theirs}…",
                f"iota.coordinator is {self.coordinator[:9]}…: name a node of that Tangle",
            )
        self._listen(info.time, complete=not info.trouble)
        if not info.trouble:
            self._speak(info.time)
            self._confirm()
        done = self.counts
        detail = f"; {done.announced} announced, {done.confirmed} confirmed, {done.heard} heard"
        self._say(info.trouble or "connected", f", milestone {info.milestone}{detail}")

    def _say(self, state: str, detail: str = "") -> None:
        if not self._state.startswith(state):
            _log.info("iota: %s%s", state, detail)
        self._state = state + detail

    # -- hear

    def _listen(self, now: int, complete: bool) -> None:
        """Read what is new in this epoch and its neighbours, and some old epochs that were missed.

        An epoch counts as read only on a node that is ``complete``: one that lags may still get more.
        """
        self._epoch = current = now // EPOCH
        if self._read_to is None:
            self._read_to = current - self.horizon // EPOCH
        missed = range(self._read_to, current - 1)
        found: list[_Found] = []
        try:
            budget = self._read_epochs(range(current + 1, current - 2, -1), bool(missed), self.batch, found)
            budget = self._read_epochs(done := missed[:_CATCH_UP], True, budget, found)
        finally:  # a node that fails in the middle has given what it has given
            for announcement, epoch, late in sorted(found, key=lambda each: each[0].time):  # it gives them in no order
                self._take_in(announcement, epoch, now, late)
        if complete and budget > 0:
            self._read_to += len(done)
        for epoch in [epoch for epoch in self._seen if epoch < self._read_to]:
            del self._seen[epoch]

    def _read_epochs(self, epochs: range, late: bool, budget: int, found: list[_Found]) -> int:
        for epoch in epochs:
            if budget <= 0:
                break
            seen = self._seen.setdefault(epoch, set())
            fresh = [name for name in self.node.find_tag(self.channel.tag(epoch)) if name not in seen]
            chosen = random.sample(fresh, min(len(fresh), budget))  # a flood under the tag hides no peer for long
            for transaction in self.node.read(chosen):
                seen.add(transaction.name)
                try:
                    announcement = SignedAnnouncement.from_bytes(self.channel.undress(transaction.message), self.swarm)
                    found.append((announcement, epoch, late or len(chosen) < len(fresh)))
                except PeerError as error:
                    self.errors.count(error)
            budget -= len(chosen)
        return budget

    def _take_in(self, announcement: SignedAnnouncement, epoch: int, now: int, late: bool) -> None:
        if announcement.announcer == self.identity.author:
            return
        try:
            with self._lock:
                self._newest.note(announcement, epoch, now, late)
            self.counts.heard += 1
            _log.debug("heard %d authors, epoch %d", len(announcement.content.entries), epoch)
        except PeerError as error:
            self.errors.count(error)

    # -- speak

    def _speak(self, now: int) -> None:
        last = self._said_time if self._said_time <= now + Limits().skew else 0  # the node's clock was wrong then
        moment, wanted = max(now, last + 1), self._wanted
        epoch = moment // EPOCH
        if time.monotonic() < self._next or not self._turns.is_due(wanted, epoch):
            return
        said = self._turns.choose(wanted)
        signed = SignedAnnouncement(self.identity.author, moment, said).to_bytes(self.swarm, self.identity)
        trytes = self.node.propose(self.channel.dress(signed), self.channel.tag(epoch), self.channel.address(epoch))
        name = self.node.attach(trytes, stopped=self._closing.is_set)
        self._sent.append(_Sent(moment, trytes, [name], time.monotonic()))
        self._turns.note(said, epoch)
        self._said_time = moment
        self.counts.announced += 1
        _log.debug("announced %d of %d authors, %d bytes", len(said.entries), len(wanted.entries), len(signed))
        self._next = time.monotonic() + self.pace.every

    def _confirm(self) -> None:
        """See which own transactions a milestone includes; help the newest ones if they wait too long."""
        names = [name for sent in self._sent for name in sent.names]
        included = {name for name, is_in in zip(names, self.node.confirmed(names), strict=True) if is_in}
        for sent in list(self._sent):
            waited = time.monotonic() - sent.since
            if included.intersection(sent.names):
                self.counts.confirmed += 1
                self.counts.latencies.append(waited)
                self._sent.remove(sent)
            elif sent.moment == self._said_time and waited > self.pace.confirmation * (sent.helped + 1):
                self._help(sent)

    def _help(self, sent: _Sent) -> None:
        """Promote it, or now and then attach it anew: where it is now may be too deep for tips to approve."""
        sent.helped += 1
        if sent.helped % (_PROMOTIONS + 1):
            self.node.promote(sent.names[-1], self._closing.is_set)
            self.counts.promoted += 1
        else:
            name = self.node.attach(sent.trytes, stopped=self._closing.is_set)
            sent.names = [*sent.names[-_PROMOTIONS:], name]
            self.counts.reattached += 1


class Events:
    """Calls ``wake`` for every new transaction with the tag that ``tag`` gives now, as a node's ZMQ stream tells it.

    That is sooner than polling finds it; messages may get lost.
    """

    def __init__(self, url: str, tag: Callable[[], str], wake: Callable[[], None]) -> None:
        """Connect to ``url``; raises ConfigurationError if it is none, or without pyzmq."""
        try:
            import zmq  # noqa: PLC0415 - optional
        except ImportError as error:
            raise ConfigurationError("pyzmq is not installed", "pip install pyzmq, or leave iota.events out") from error
        self._socket: Any = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IPV6, "[" in url)  # names go by IPv4, where nodes listen
        self._socket.setsockopt(zmq.MAXMSGSIZE, _EVENT_BYTES)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, _EVENT + " ")
        try:
            self._socket.connect(url)
        except zmq.ZMQError as error:
            raise ConfigurationError(f"iota.events is {url!r}: {error}", "use tcp://HOST:5556") from error
        self._tag, self._wake = tag, wake
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="iota-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join(2 * _POLL / 1000)

    def _run(self) -> None:
        with self._socket as socket:
            while not self._closing.is_set():
                if socket.poll(_POLL) and self._tag().encode() in b" ".join(socket.recv_multipart()).split(b" "):
                    _log.debug("a transaction with this swarm's tag")
                    self._wake()
