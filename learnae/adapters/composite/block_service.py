"""The block store of a machine with links to others: the own directory, and exchanges in the order configured.

What is put is kept here and offered in the background; what is wanted is fetched in the background from the
first exchange that has it. No method waits for a network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from learnae.adapters.composite.exchange_link import CONNECTED, Link
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.error_log import ErrorLog
from learnae.errors import LearnaeError, PeerError, StateError, TransportError
from learnae.ipld.cid import Cid
from learnae.ports import Exchange, check_named, name_block

_WORKERS = 8  # fetches at once: at most as many MiB in memory, and enough for one far away to cost the others nothing
_QUEUE = 8192  # names; more than Limits.wanted and the blocks of the largest frame. What does not fit is asked again
_REMEMBERED = 8192  # names that nobody had
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 30.0  # seconds until a block that nobody had is asked for again, doubled each time
_DOUBLINGS = 7
_ERRORS = 256  # that wait for the next tick to be counted
_JOIN_SECONDS = 2.0  # a fetch ends when its exchange is closed


class BlockService:
    """ports.BlockStore over ``local`` and any number of exchanges. Safe to use from several threads."""

    def __init__(self, local: LocalBlockStore) -> None:
        self._local = local
        self._links: list[Link] = []
        self._queue: dict[Cid, None] = {}
        self._busy: dict[Cid, bool] = {}  # being fetched; False if it has been deleted since
        self._later: dict[Cid, tuple[int, float]] = {}  # nobody had it: how often, and when it may be asked again
        self._errors: deque[LearnaeError] = deque(maxlen=_ERRORS)
        self._problems = ErrorLog()
        self._wake = threading.Condition()
        self._closing = False
        self._workers: list[threading.Thread] = []

    def join(self, exchanges: Mapping[str, Exchange]) -> dict[str, Link]:
        """Use these from now on, first ones first; returns the links by name, whose ``state`` people may see."""
        links = {
            name: Link(name, exchange, self._local, self._errors.append, self._forget_failures)
            for name, exchange in exchanges.items()
        }
        self._links = list(links.values())
        for number in range(_WORKERS if links else 0):
            self._workers.append(threading.Thread(target=self._work, name=f"fetch {number}", daemon=True))
            self._workers[-1].start()
        return links

    def count_in(self, problems: ErrorLog) -> None:
        """Count what fails in ``problems`` from now on; only in ``want``, so by the caller's thread."""
        self._problems = problems

    # -- ports.BlockStore

    def put(self, codec: int, data: bytes) -> Cid:
        """See ports.BlockStore; exchanges are offered it in the background."""
        cid = name_block(codec, data)
        with self._wake:
            if cid in self._busy:
                self._busy[cid] = True  # whatever was deleted before
        self._local.keep(cid, data)
        self._tell(cid, offer=True)
        return cid

    def get(self, cid: Cid) -> bytes:
        """See ports.BlockStore."""
        return self._local.get(cid)

    def has(self, cid: Cid) -> bool:
        """See ports.BlockStore."""
        return self._local.has(cid)

    def want(self, cids: Sequence[Cid]) -> None:
        """See ports.BlockStore."""
        self._count_errors()
        if not any(link.state == CONNECTED for link in self._links):
            return
        now = time.monotonic()
        with self._wake:
            before = len(self._queue)
            for cid in cids:
                if len(self._queue) >= _QUEUE:
                    break
                if cid not in self._busy and self._later.get(cid, (0, now))[1] <= now:
                    self._queue[cid] = None
            self._wake.notify(len(self._queue) - before)

    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        """See ports.BlockStore; exchanges let go of what has gone here, too."""
        names = list(cids)
        with self._wake:
            for cid in names:
                self._queue.pop(cid, None)
                if cid in self._busy:
                    self._busy[cid] = False
        # what is being fetched comes before this, or sees that it is not wanted
        self._local.delete(names, unused_for)
        for cid in names:
            if self._local.stat(cid) == (0, 0.0):  # nobody uses it, or has put it again
                self._tell(cid, offer=False)

    # -- for adapters

    def receive(self, cid: Cid, data: bytes, origin: str) -> None:
        """Keep a block that the exchange ``origin`` was sent, asked for or not; the other exchanges are offered it.

        Raises EncodingError or LimitError for wrong bytes, StateError if it cannot be kept.
        """
        check_named(cid, data)
        if not self._local.has(cid):
            self._keep(cid, data, origin)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: all offers and wishes have been tried."""
        with self._wake:
            fetching = bool(self._queue or self._busy)
        return not fetching and all(link.is_idle for link in self._links)

    def close(self) -> None:
        """End all threads and close the exchanges; what is here can still be read and put."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for link in self._links:
            link.finish()
        for link in self._links:
            link.close()
        for worker in self._workers:
            worker.join(_JOIN_SECONDS)
        self._links, self._workers = [], []
        self._count_errors()

    # -- fetching

    def _work(self) -> None:
        while (cid := self._next()) is not None:
            found = self._local.has(cid) or self._fetch(cid)
            with self._wake:
                wanted = self._busy.pop(cid)
                if found:
                    self._later.pop(cid, None)
                if not wanted:
                    self._delete(cid)
            if not wanted:  # the exchanges may have kept it, and may have been offered it
                self._tell(cid, offer=False)

    def _delete(self, cid: Cid) -> None:
        try:
            self._local.delete([cid])
        except StateError as error:
            self._errors.append(error)

    def _next(self) -> Cid | None:
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            if self._closing:
                return None
            cid = next(iter(self._queue))
            del self._queue[cid]
            self._busy[cid] = True
            return cid

    def _fetch(self, cid: Cid) -> bool:
        """Ask one exchange after the other; False if the block has not come."""
        asked = False
        for link in self._links:
            if link.state != CONNECTED:
                continue
            asked = True
            try:
                self._keep(cid, link.fetch(cid), link.name)
                link.keep(cid)
                return True
            except (TransportError, PeerError):  # the link has reported what is worth it
                continue
            except StateError as error:
                self._errors.append(error)
                break
        if asked:
            self._postpone(cid)
        return False

    def _keep(self, cid: Cid, data: bytes, origin: str) -> None:
        self._local.keep(cid, data)
        self._tell(cid, offer=True, besides=origin)

    def _postpone(self, cid: Cid) -> None:
        with self._wake:
            failures, _ = self._later.pop(cid, (0, 0.0))
            pause = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, _DOUBLINGS))
            self._later[cid] = (failures + 1, time.monotonic() + pause)
            while len(self._later) > _REMEMBERED:
                self._later.pop(next(iter(self._later)))

    def _forget_failures(self) -> None:
        """A link that has come back may have what nobody had."""
        with self._wake:
            self._later.clear()

    def _tell(self, cid: Cid, offer: bool, besides: str = "") -> None:
        for link in self._links:
            if link.name != besides:
                link.tell(cid, offer)

    def _count_errors(self) -> None:
        while self._errors:
            self._problems.count(self._errors.popleft())
