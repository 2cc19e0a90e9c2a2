"""The block store of a machine with links to others: the own directory, and exchanges in the order configured.

What is put is kept here and offered in the background; what is wanted is fetched in the background from the
first exchange that has it. No method waits for a network.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from learnae.adapters.composite.exchange_link import CONNECTED, Link, LinkPolicy
from learnae.adapters.composite.lobby import Lobby
from learnae.adapters.composite.turns import OWN, TurnPolicy, Turns, Wanted
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.error_log import ErrorLog
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, LimitError, PeerError, StateError, StrangerError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import BlockStore, Exchange, check_named, name_block
from learnae.system.backoff import Backoff

_JOIN_SECONDS = 2.0  # a fetch ends when its exchange is closed
_LOOK_SECONDS = 1.0  # between two looks at whether an origin that has named too much in vain may go on
_TRIAL_SECONDS = 60.0  # in which this peer refuses what it has fetched, or it was worth it


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Bounds the fetching of blocks. Pauses in seconds."""

    workers: int = 8  # fetches at once: as many MiB in memory, and enough for a slow one to cost the others nothing
    turns: TurnPolicy = TurnPolicy()  # what does not fit is asked for again
    remembered: int = 8192  # names of blocks that no exchange had
    first_pause: float = 0.25  # until a block that no exchange had is asked for again, doubled each time
    last_pause: float = 30.0


@dataclass(eq=False)
class BlockService(BlockStore):
    """Serves blocks from ``local`` and any number of exchanges. Safe to use from several threads.

    ``check`` raises StrangerError for a block of another machine that is not to be kept, before it is decoded.
    """

    local: LocalBlockStore
    errors: ErrorLog = field(default_factory=ErrorLog)
    fetching: FetchPolicy = FetchPolicy()
    linking: LinkPolicy = LinkPolicy()
    check: Callable[[bytes], None] = lambda _: None

    def __post_init__(self) -> None:
        self._links: list[Link] = []
        self._turns = Turns(self.fetching.turns, self.fetching.workers)
        self._lobby = Lobby()
        self._trials = BoundedDict[Cid, tuple[str, int, float]](self.fetching.remembered)  # origin, bytes, when it came
        self._busy: dict[Cid, bool] = {}  # being fetched; False if it has been deleted since
        self._later = BoundedDict[Cid, tuple[Backoff, float]](self.fetching.remembered)  # when they are asked again
        self._wake = threading.Condition()
        self._closing = False
        self._workers: list[threading.Thread] = []

    def join(self, exchanges: Mapping[str, Exchange]) -> dict[str, Link]:
        """Use these from now on, first ones first; returns the links by name."""
        links = {
            name: Link(name, exchange, self.local, self.errors, self._forget_failures, self.linking)
            for name, exchange in exchanges.items()
        }
        self._links = list(links.values())
        for number in range(self.fetching.workers if links else 0):
            self._workers.append(threading.Thread(target=self._work, name=f"fetch {number}", daemon=True))
            self._workers[-1].start()
        return links

    def states(self) -> dict[str, str]:
        """Return the state of each link by name, for people."""
        return {link.name: link.describe() for link in self._links}

    # -- ports.BlockStore

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        """Keep the block here and offer it to the exchanges in the background."""
        cid = name_block(codec, data)
        with self._wake:
            if cid in self._busy:
                self._busy[cid] = True  # it may have been deleted before
        self.local.keep(cid, data)
        self._tell(cid, offer=True)
        return cid

    @override
    def get(self, cid: Cid) -> bytes:
        """Return the block's bytes; what has come unasked is kept from now on."""
        if (guest := self._lobby.take(cid)) is not None:
            with self._wake:
                self._trials[cid] = guest.by, len(guest.data), time.monotonic()
            try:
                self._keep(cid, guest.data, guest.link)
            except StateError as error:
                self._lobby.put(cid, guest.data, guest.by, guest.link)
                raise BlockMissingError(f"block {cid}: {error.problem}", error.remedy) from error
            return guest.data
        return self.local.get(cid)

    @override
    def has(self, cid: Cid) -> bool:
        return cid in self._lobby or self.local.has(cid)

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = OWN) -> None:
        if not any(link.state == CONNECTED for link in self._links):
            return
        now = time.monotonic()
        with self._wake:
            added = 0
            for cid in cids:
                if cid not in self._busy and (cid not in self._later or self._later[cid][1] <= now):
                    added += self._turns.add(cid, most, origin, is_again=cid in self._later)
            self._wake.notify(added)

    @override
    def cids(self) -> Iterable[Cid]:
        return self.local.cids()

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        """Delete blocks here; exchanges let go of those that have gone, too."""
        names = list(cids)
        with self._wake:
            for cid in names:
                self._lobby.take(cid)
                self._turns.forget(cid)
                self._trials.pop(cid, None)
                if cid in self._busy:
                    self._busy[cid] = False
        # what is being fetched comes before this, or sees that it is not wanted
        self.local.delete(names, unused_for)
        held = self.local.held(names)  # another process uses it, or has put it again
        for cid in names:
            if cid not in held:
                self._tell(cid, offer=False)

    @override
    def refuse(self, cid: Cid) -> None:
        """Delete the block, and book its bytes on who has named or sent it, if it came lately."""
        with self._wake:
            origin, size, came = self._trials.pop(cid, (OWN, 0, 0.0))
            if size and time.monotonic() - came < _TRIAL_SECONDS:
                self._turns.book(origin, size)
        self.delete([cid])

    # -- for adapters

    def receive(self, cid: Cid, data: bytes, origin: str, by: str = "") -> None:
        """Keep a block that the exchange ``origin`` has received, and offer it to the others.

        What ``by`` has sent unasked waits in memory until this peer reads it, or it makes room. Raises EncodingError
        or LimitError for wrong bytes, StrangerError, StateError if it cannot be kept.
        """
        check_named(cid, data)
        self.check(data)
        if self.local.has(cid):
            return
        if by:
            self._lobby.put(cid, data, by, origin)
        else:
            self._keep(cid, data, origin)

    @property
    def is_idle(self) -> bool:
        """Return True if nothing is under way: all offers and wishes have been tried."""
        with self._wake:
            fetching = bool(len(self._turns) or self._busy)
        return not fetching and all(link.is_idle for link in self._links)

    def close(self) -> None:
        """End all threads, close the exchanges and the store; what is here can still be read and put."""
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
        self.local.close()

    # -- fetching

    def _work(self) -> None:
        while (wanted := self._next()) is not None:
            cid, found = wanted.cid, self._fetch(wanted)
            with self._wake:
                is_wanted = self._busy.pop(cid)
                self._turns.done(wanted, found)
                if found:
                    self._later.pop(cid, None)
                if not is_wanted:
                    self._delete(cid)
                self._wake.notify()  # this origin may have another turn
            if not is_wanted:  # the exchanges may have kept it, and may have been offered it
                self._tell(cid, offer=False)

    def _delete(self, cid: Cid) -> None:
        try:
            self.local.delete([cid])
        except StateError as error:
            self.errors.count(error)

    def _next(self) -> Wanted | None:
        with self._wake:
            while not self._closing:
                wanted = self._turns.take(besides=self._busy.__contains__)
                if wanted is not None:
                    self._busy[wanted.cid] = True
                    return wanted
                self._wake.wait(_LOOK_SECONDS if self._turns.waiting else None)
            return None

    def _fetch(self, wanted: Wanted) -> bool:
        """Ask one exchange after the other, unless the block is here; return False if none had it."""
        cid = wanted.cid
        try:
            if self.has(cid):
                return True
            links = [link for link in self._links if link.state == CONNECTED]
            if any(self._fetch_from(link, wanted) for link in links):
                return True
        except StateError as error:  # it cannot be kept here
            self.errors.count(error)
            links = self._links
        if links:
            self._postpone(cid)
        return False

    def _fetch_from(self, link: Link, wanted: Wanted) -> bool:
        cid = wanted.cid
        try:
            data = link.fetch(cid, wanted.most)
            self.check(data)
            with self._wake:
                self._trials[cid] = wanted.origin, len(data), time.monotonic()
            self._keep(cid, data, link.name)
            link.keep(cid)
        except LimitError as error:
            self.errors.count(error)
            with self._wake:
                self._turns.book(wanted.origin, wanted.most)
            return False
        except StrangerError as error:
            self.errors.count(error)
            return False
        except (TransportError, PeerError):  # the link has counted it
            return False
        return True

    def _keep(self, cid: Cid, data: bytes, origin: str) -> None:
        self.local.keep(cid, data)
        self._tell(cid, offer=True, besides=origin)

    def _postpone(self, cid: Cid) -> None:
        with self._wake:
            fetching = self.fetching
            backoff, _ = self._later.pop(cid, (Backoff(fetching.first_pause, fetching.last_pause), 0.0))
            self._later[cid] = backoff, time.monotonic() + backoff.failed()

    def _forget_failures(self) -> None:
        """Ask for all missing blocks again: a link that has come back may have them."""
        with self._wake:
            self._later.clear()
            self._turns.forgive()

    def _tell(self, cid: Cid, offer: bool, besides: str = "") -> None:
        for link in self._links:
            if link.name != besides:
                link.tell(cid, offer)
