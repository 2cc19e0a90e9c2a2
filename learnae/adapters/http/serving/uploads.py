"""Blocks from members that cannot be reached: the own announcement says what is lacked, and they bring it."""

import threading
import time
from collections.abc import Callable, Iterable

from learnae.adapters.block_backoffs import BlockBackoffs
from learnae.adapters.http.own_vector import OwnVector
from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import Exchange, check_named

CALLER_SECONDS = 150.0  # after its last call a member is gone; it calls every minute
_FIRST_WAIT, _LAST_WAIT = 2.0, 10.0  # seconds for a block
_REMEMBERED = 1024  # blocks that have come: two members may bring one


class _Wish:
    def __init__(self, most: int) -> None:
        self.most = most  # bytes
        self.arrived = threading.Event()
        self.data: bytes | None = None


class HttpUploads(Exchange):
    """Fetches from the members that call this machine's server. Safe to use from several threads."""

    def __init__(self, own: OwnVector, first_wait: float = _FIRST_WAIT, last_wait: float = _LAST_WAIT) -> None:
        self._own = own
        self._backoffs = BlockBackoffs(first_wait, last_wait)
        self._lock = threading.Lock()
        self._wishes: dict[Cid, _Wish] = {}
        self._came = BoundedDict[Cid, None](_REMEMBERED)
        self._called = float("-inf")  # time.monotonic
        self._is_closed = False

    # -- for the server

    def note_caller(self) -> None:
        """Note that a member has called."""
        self._called = time.monotonic()

    def takes(self, cid: Cid, size: int) -> bool:
        """Return True if a block of ``size`` bytes was asked for, now or lately."""
        with self._lock:
            return cid in self._came or (cid in self._wishes and size <= self._wishes[cid].most)

    def bring(self, cid: Cid, data: bytes) -> None:
        """Give the block to what waits for it; raises EncodingError or LimitError for wrong bytes."""
        check_named(cid, data)
        with self._lock:
            wish = self._wishes.get(cid)
            if wish is None:
                return
            self._came.renew(cid, None)
            wish.data = data
            wish.arrived.set()

    # -- ports.Exchange

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        """Do nothing: members that call ask this machine's server."""

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        missing = BlockMissingError(f"no member that calls has brought block {cid}")
        if self._is_closed:
            raise TransportError("this machine's HTTP server is closed")
        if time.monotonic() - self._called > CALLER_SECONDS:
            raise missing
        with self._lock:
            wish = self._wishes.setdefault(cid, _Wish(most))
        self._own.want(cid)
        try:
            came = wish.arrived.wait(self._backoffs.seconds(cid))
        finally:
            self._own.forget(cid)
            with self._lock:
                if self._wishes.get(cid) is wish and not self._own.wants(cid):
                    del self._wishes[cid]
        if self._is_closed:
            raise TransportError("this machine's HTTP server is closed")
        if not came or wish.data is None:
            self._backoffs.failed(cid)
            raise missing
        self._backoffs.succeeded(cid)
        return wish.data

    @override
    def keep(self, cid: Cid) -> None:
        """Do nothing: blocks are served from this machine's own store."""

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return nothing."""
        if self._is_closed:
            raise TransportError("this machine's HTTP server is closed")
        return ()

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        """Do nothing: blocks are served from this machine's own store."""

    @override
    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for wish in self._wishes.values():
                wish.arrived.set()
