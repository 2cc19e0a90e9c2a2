"""A link: one exchange, its health, and what it is still to be told. Its own thread does the telling."""

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from learnae.adapters.local.arrivals import Arrivals
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.error_log import ErrorLog
from learnae.errors import BlockMissingError, EncodingError, LearnaeError, LimitError, PeerError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import Exchange, check_named
from learnae.system.backoff import Backoff

_log = logging.getLogger(__name__)

CONNECTING, CONNECTED, AWAY = "connecting", "connected", "away"


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Bounds how often an exchange is bothered, and how much waits for it. Times in seconds."""

    first_probe: float = 0.5  # until an exchange that failed is tried again, doubled each time
    last_probe: float = 60.0
    look: float = 1.0  # between two looks at what other processes have put: their heads are announced as soon
    review: float = 600.0  # a daemon may lose everything and be back before its absence is noticed
    drain: float = 2.0  # a peer that leaves waits so long for what is still to be offered
    jobs: int = 16_384  # names; what does not fit is found by ``lacking`` when there is room again


@dataclass(eq=False)
class Link:
    """Uses ``exchange`` while it works, and leaves it alone while it does not.

    A failure costs the thread that met it one timeout; from then on the link is ``away`` for all, and only its own
    thread tries again, after longer and longer waits. They start over when a block has really come or gone.
    ``errors`` counts failures; ``joined`` is called every time that the exchange can be used again.
    """

    name: str
    exchange: Exchange
    store: LocalBlockStore
    errors: ErrorLog
    joined: Callable[[], None]
    policy: LinkPolicy

    def __post_init__(self) -> None:
        self.state = CONNECTING
        self._jobs: dict[Cid, bool] = {}  # True: offer, False: retract; the last word counts
        self._overflowed = False
        self._at_work = True  # it is not known yet what the exchange lacks
        self._backoff = Backoff(self.policy.first_probe, self.policy.last_probe)
        self._reason = ""
        self._due = 0.0  # time.monotonic of the next probe, or the next review
        self._arrivals: Arrivals | None = None  # while an exchange that holds blocks is connected
        self._next_look = math.inf  # time.monotonic
        self._until: float | None = None  # closing: jobs are done until then
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"link {self.name}", daemon=True)
        self._thread.start()

    # -- from any thread

    def describe(self) -> str:
        """Return the state, for people."""
        return f"{AWAY}: {self._reason}" if self.state == AWAY else self.state

    @property
    def is_idle(self) -> bool:
        """Return True if everything has been told."""
        with self._wake:
            return not self._jobs and not self._at_work

    def tell(self, cid: Cid, offer: bool) -> None:
        """Offer the block soon, or retract it."""
        with self._wake:
            self._jobs.pop(cid, None)
            if len(self._jobs) < self.policy.jobs:
                self._jobs[cid] = offer
            else:
                self._overflowed = True
            self._wake.notify()

    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        """Fetch a block and check it; raises BlockMissingError, or TransportError or EncodingError and is then away.

        Raises LimitError for one of more than ``most`` bytes, which is the fault of the peer that has named it.
        """
        if cid.names(b""):  # Bitswap takes an empty block for one that is not there
            return b""
        try:
            data = self.exchange.fetch(cid, most)
            if len(data) > most:
                raise LimitError(f"block {cid} has more than {most} bytes", "it is not kept")
            check_named(cid, data)
        except (BlockMissingError, LimitError):
            raise
        except PeerError as error:
            wrong = EncodingError(f"{self.name} sent wrong bytes for block {cid}", "it is left alone for a while")
            self._fail(wrong)
            raise wrong from error
        except TransportError as error:
            self._fail(error)
            raise
        self._backoff.succeeded()
        _log.debug("%s: fetched block %s, %d bytes", self.name, cid, len(data))
        return data

    def keep(self, cid: Cid) -> None:
        """Tell the exchange that a fetched block is held here now."""
        with suppress(TransportError):  # ``lacking`` makes up for it when the exchange can be used again
            self.exchange.keep(cid)

    def finish(self) -> None:
        """Let the thread do the jobs that are left, for ``drain`` seconds at most; does not wait."""
        with self._wake:
            self._until = time.monotonic() + self.policy.drain
            self._wake.notify()

    def close(self) -> None:
        """Wait for what ``finish`` allows, and let go."""
        assert self._until is not None, "finish comes first"
        if self.state == CONNECTED:
            self._thread.join(max(0.0, self._until - time.monotonic()))
        self.exchange.close()
        self._thread.join(self.policy.drain)

    # -- the thread

    def _run(self) -> None:
        while (step := self._next()) is not None:
            try:
                step()
            except LearnaeError as error:
                self._fail(error)

    def _next(self) -> Callable[[], None] | None:
        """Wait until there is something to do; None at the end."""
        with self._wake:
            self._at_work = False
            while self._until is None:
                now = time.monotonic()
                if self.state == CONNECTED and now >= self._next_look:
                    self._at_work = True
                    return self._look
                if self.state == CONNECTED and (self._jobs or self._overflowed):
                    return self._take_job()
                if now >= self._due:
                    self._at_work = True
                    return self._join
                self._wake.wait(min(self._due, self._next_look) - now if self.state == CONNECTED else self._due - now)
            may_go_on = self.state == CONNECTED and self._jobs and time.monotonic() < self._until
            return self._take_job() if may_go_on else None

    def _take_job(self) -> Callable[[], None]:
        self._at_work = True
        if not self._jobs:
            return self._join
        cid = next(iter(self._jobs))
        return partial(self._do, cid, self._jobs.pop(cid))

    def _do(self, cid: Cid, offer: bool) -> None:
        try:
            if offer:
                self._offer(cid)
            else:
                self.exchange.retract([cid])
                _log.debug("%s: retracted block %s", self.name, cid)
        except TransportError:
            with self._wake:
                self._jobs.setdefault(cid, offer)  # unless there is a newer job for it
            raise
        self._backoff.succeeded()

    def _offer(self, cid: Cid) -> None:
        try:
            data = self.store.get(cid)
        except (BlockMissingError, PeerError):  # deleted since, or damaged: its reader notices
            return
        self.exchange.offer(cid, data)
        _log.debug("%s: offered block %s, %d bytes", self.name, cid, len(data))

    def _look(self) -> None:
        """Offer what any process has put since the last look; what this one has told already is not offered twice."""
        self._next_look = time.monotonic() + self.policy.look
        found = self._arrivals.look() if self._arrivals else []
        if found is None:
            self._overflowed = True
        for cid in found or ():
            self.tell(cid, offer=True)

    def _join(self) -> None:
        """Find out whether the exchange can be used, and what it has to be told."""
        self._overflowed = False
        if self.exchange.holds:
            self._arrivals = Arrivals(self.store)  # before it is known what is held
            self._next_look = time.monotonic() + self.policy.look
        for cid in self.exchange.lacking(self.store.cids):
            self.tell(cid, offer=True)
        self._due = time.monotonic() + self.policy.review
        if self.state != CONNECTED:
            _log.info("%s: connected", self.name)
            self.state = CONNECTED
            self.joined()

    def _fail(self, error: LearnaeError) -> None:
        with self._wake:
            first = self.state != AWAY
            if not first and threading.current_thread() is not self._thread:
                return  # one of several calls that were under way
            self.state, self._reason = AWAY, error.problem
            self._due = time.monotonic() + self._backoff.failed()
            self._wake.notify()
        if first and self._until is None:
            _log.warning("%s: %s; working without it, it is tried again", self.name, error)
            self.errors.count(error)
