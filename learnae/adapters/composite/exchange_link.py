"""A link: one exchange, its health, and what it is still to be told. Its own thread does the telling."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import BlockMissingError, EncodingError, LearnaeError, PeerError, TransportError
from learnae.ipld.cid import Cid
from learnae.ports import Exchange, check_named

log = logging.getLogger("learnae")

CONNECTING, CONNECTED, AWAY = "connecting", "connected", "away"
_JOBS = 16_384  # names; what does not fit is found by ``lacking`` when there is room again
_FIRST_PROBE, _LAST_PROBE = 0.5, 60.0  # seconds until an exchange that failed is tried again, doubled each time
_DOUBLINGS = 7
_REVIEW_SECONDS = 600.0  # a daemon may lose everything and be back before anybody notices that it was away
_DRAIN_SECONDS = 2.0  # a peer that leaves waits so long for what is still to be offered


class Link:
    """Uses ``exchange`` while it works, and leaves it alone while it does not.

    A failure costs whoever met it one timeout; from then on the link is ``away`` for everybody, and only its own
    thread tries again, ever more seldom. Waiting times start over when a block has really come or gone.
    """

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        store: LocalBlockStore,
        report: Callable[[LearnaeError], None],
        joined: Callable[[], None],
    ) -> None:
        """``report`` hears of failures, ``joined`` of every time that the exchange can be used again."""
        self.name = name
        self.state = CONNECTING
        self._exchange = exchange
        self._store = store
        self._report = report
        self._joined = joined
        self._jobs: dict[Cid, bool] = {}  # True: offer, False: retract; the last word counts
        self._overflowed = False
        self._at_work = True  # it is not known yet what the exchange lacks
        self._failures = 0
        self._reason = ""
        self._due = 0.0  # time.monotonic of the next probe, or the next review
        self._until: float | None = None  # closing: jobs are done until then
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"link {name}", daemon=True)
        self._thread.start()

    # -- from any thread

    def describe(self) -> str:
        """The state, for people."""
        return f"{AWAY}: {self._reason}" if self.state == AWAY else self.state

    @property
    def is_idle(self) -> bool:
        """Whether everything has been told."""
        with self._wake:
            return not self._jobs and not self._at_work

    def tell(self, cid: Cid, offer: bool) -> None:
        """Offer the block soon, or retract it."""
        with self._wake:
            self._jobs.pop(cid, None)
            if len(self._jobs) < _JOBS:
                self._jobs[cid] = offer
            else:
                self._overflowed = True
            self._wake.notify()

    def fetch(self, cid: Cid) -> bytes:
        """The block, checked; raises BlockMissingError, or TransportError or EncodingError and is then away."""
        if cid.names(b""):  # Bitswap takes an empty block for one that is not there
            return b""
        try:
            data = self._exchange.fetch(cid)
            check_named(cid, data)
        except BlockMissingError:
            raise
        except PeerError as error:
            wrong = EncodingError(f"{self.name} sent wrong bytes for block {cid}", "it is left alone for a while")
            self._fail(wrong)
            raise wrong from error
        except TransportError as error:
            self._fail(error)
            raise
        self._failures = 0
        return data

    def keep(self, cid: Cid) -> None:
        """What ``fetch`` gave is held here now."""
        with suppress(TransportError):  # ``lacking`` makes up for it when the exchange can be used again
            self._exchange.keep(cid)

    def finish(self) -> None:
        """Say what is still to be said if it can be said soon, and nothing more; does not wait."""
        with self._wake:
            self._until = time.monotonic() + _DRAIN_SECONDS
            self._wake.notify()

    def close(self) -> None:
        """Wait for what ``finish`` allows, and let go."""
        assert self._until is not None, "finish comes first"
        if self.state == CONNECTED:
            self._thread.join(max(0.0, self._until - time.monotonic()))
        self._exchange.close()
        self._thread.join(_DRAIN_SECONDS)

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
                left = self._due - time.monotonic()
                if self.state == CONNECTED and (self._jobs or self._overflowed):
                    return self._take_job()
                if left <= 0:
                    self._at_work = True
                    return self._join
                self._wake.wait(left)
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
            self._offer(cid) if offer else self._exchange.retract([cid])
        except TransportError:
            with self._wake:
                self._jobs.setdefault(cid, offer)  # unless something newer has been said
            raise
        self._failures = 0

    def _offer(self, cid: Cid) -> None:
        try:
            data = self._store.get(cid)
        except (BlockMissingError, PeerError):  # deleted since, or damaged: whoever reads it notices
            return
        self._exchange.offer(cid, data)

    def _join(self) -> None:
        """Find out whether the exchange can be used, and what it has to be told."""
        self._overflowed = False
        for cid in self._exchange.lacking(self._store.cids):
            self.tell(cid, offer=True)
        self._due = time.monotonic() + _REVIEW_SECONDS
        if self.state != CONNECTED:
            log.info("%s: connected", self.name)
            self.state = CONNECTED
            self._joined()

    def _fail(self, error: LearnaeError) -> None:
        with self._wake:
            first = self.state != AWAY
            if not first and threading.current_thread() is not self._thread:
                return  # one of several calls that were under way
            self.state, self._reason = AWAY, error.problem
            self._due = time.monotonic() + min(_LAST_PROBE, _FIRST_PROBE * 2 ** min(self._failures, _DOUBLINGS))
            self._failures += 1
            self._wake.notify()
        if first and self._until is None:
            log.warning("%s: %s; working without it, it is tried again", self.name, error)
            self._report(error)
