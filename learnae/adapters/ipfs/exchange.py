"""Exchange over a Kubo daemon: blocks are put and pinned there, and Bitswap carries them between daemons."""

import hashlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from learnae.adapters.block_backoffs import BlockBackoffs
from learnae.adapters.ipfs.rpc import KuboError, KuboRpc
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, EncodingError, TransportError
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import Exchange

_log = logging.getLogger(__name__)

_CODECS = {RAW: "raw", DAG_CBOR: "dag-cbor"}
_DIRECT = {"recursive": "false", "offline": "true"}  # one block, which is here: no search in the network
_GRACE_SECONDS = 2.0  # that a daemon may be late after its own timeout; later than that it hangs
_MEET_SECONDS = 5.0  # between two attempts to reach the named daemons
_PINS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class KuboWaits:
    """Bounds, in seconds, how long a daemon is waited for."""

    first: float = 1.0  # for a block at first: connected daemons answer in milliseconds
    grace: float = _GRACE_SECONDS
    pins: float = 60.0  # between two lines: listing a hundred thousand pins takes some


def pin_name(swarm: Cid, directory: Path) -> str:
    """Name the pins of a swarm's directory: people see whose they are, and no machine takes another's for its own."""
    return f"learnae {swarm} {hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]}"


class Acquaintances:
    """Connects to the daemons that the configuration names by multiaddress, again and again, as links break."""

    def __init__(self, rpc: KuboRpc, addresses: Sequence[str], seconds: float, interval: float = _MEET_SECONDS) -> None:
        self._rpc = rpc
        self._addresses = addresses
        self._seconds = seconds
        self._interval = interval
        self._lock = threading.Lock()
        self._next = 0.0

    def meet(self) -> None:
        """Connect in the background if it is time to; a daemon that is away is met later."""
        with self._lock:
            if not self._addresses or time.monotonic() < self._next:
                return
            self._next = math.inf
        threading.Thread(target=self._connect, name="meet", daemon=True).start()

    def _connect(self) -> None:
        options = {"timeout": f"{self._seconds:g}s"}
        try:
            for address in self._addresses:
                try:
                    self._rpc.ask("swarm/connect", address, seconds=self._seconds + _GRACE_SECONDS, options=options)
                except TransportError as error:
                    _log.debug("ipfs: %s", error)
        finally:
            self._next = time.monotonic() + self._interval


@dataclass(eq=False)
class KuboExchange(Exchange):
    """Exchanges blocks through the daemon behind ``rpc``. What it holds of ours is pinned directly, by ``label``."""

    rpc: KuboRpc
    label: str
    timeout: float
    acquaintances: Acquaintances
    waits: KuboWaits = KuboWaits()

    def __post_init__(self) -> None:
        self._backoffs = BlockBackoffs(self.waits.first, self.timeout)
        self._pinned: set[Cid] = set()
        self._to_pin: dict[Cid, None] = {}
        self._pinning = threading.Lock()

    @property
    @override
    def holds(self) -> bool:
        return True

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        if cid in self._pinned or self._is_pinned(cid):
            return
        options = {"cid-codec": _CODECS[cid.codec], "mhtype": "sha2-256"}
        self.rpc.ask("block/put", seconds=self.timeout, options=options, data=data)
        _log.debug("put block %s, %d bytes", cid, len(data))
        self.keep(cid)

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        """Let the daemon search the network for the block, longer each time."""
        search = self._backoffs.seconds(cid)
        try:
            options = {"timeout": f"{search:g}s"}
            seconds = search + self.waits.grace
            data = self.rpc.call("block/get", str(cid), seconds=seconds, options=options, most=most)
        except KuboError as error:
            self._backoffs.failed(cid)
            self.acquaintances.meet()
            raise BlockMissingError(f"block {cid} is not in IPFS now: {error.problem}") from error
        self._backoffs.succeeded(cid)
        _log.debug("got block %s, %d bytes", cid, len(data))
        return data

    @override
    def keep(self, cid: Cid) -> None:
        self._to_pin[cid] = None
        self._pin_waiting()

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """Return blocks without a pin; remove pins of ours on blocks that are not held any more.

        Other processes have the same directory and the same pins. A block is held before it is pinned, so what was
        pinned and then is not held has been deleted; what has come back before its pin was removed is pinned again.
        """
        self.rpc.version(self.timeout)
        self.acquaintances.meet()
        with self._not_pinning():
            self._pinned = set()  # from now on it fills again with what is fetched meanwhile
        names = self.pins()
        present = set(held())
        stale = {cid for cid, name in names.items() if name == self.label and cid not in present}
        if stale:
            self.retract(stale)
            present = set(held())
        with self._not_pinning():
            self._pinned.update(names.keys() & present - stale)
            return [cid for cid in present if cid not in self._pinned]

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        """Unpin blocks; the daemon's garbage collection does the rest."""
        for cid in cids:
            with self._not_pinning():
                self._to_pin.pop(cid, None)
                self._pinned.discard(cid)
                with suppress(KuboError):  # not pinned, or pinned by its owner for another reason
                    self.rpc.ask("pin/rm", str(cid), seconds=self.timeout, options=_DIRECT)

    @override
    def close(self) -> None:
        self.rpc.close()

    def pins(self) -> dict[Cid, str]:
        """List all direct pins of the daemon with their names."""
        found: dict[Cid, str] = {}
        options = {"type": "direct", "names": "true", "stream": "true"}
        for line in self.rpc.lines("pin/ls", silence=self.waits.pins, options=options):
            pin = _parse_pin(line)
            if pin is not None:
                found[pin[0]] = pin[1]
        return found

    def _is_pinned(self, cid: Cid) -> bool:
        """Return True if another process has had the daemon pin the block."""
        try:
            self.rpc.ask("pin/ls", str(cid), seconds=self.timeout, options={"type": "direct"})
        except KuboError:
            return False
        self._pinned.add(cid)
        return True

    @contextmanager
    def _not_pinning(self) -> Iterator[None]:
        """Keep other threads from pinning meanwhile; what waits is pinned afterwards."""
        with self._pinning:
            yield
        self._pin_waiting()

    def _pin_waiting(self) -> None:
        """Pin what waits, unless another thread does so already and takes it along: many pins cost one call."""
        while self._to_pin and self._pinning.acquire(blocking=False):
            try:
                batch = list(self._to_pin)[:_PINS_AT_ONCE]
                for cid in batch:
                    del self._to_pin[cid]
                if batch:
                    self._pin_all(batch)
            except TransportError as error:
                if not isinstance(error, KuboError):  # the others have not waited for theirs: it is for the next one
                    self._to_pin.update(dict.fromkeys(batch))
                raise
            finally:
                self._pinning.release()

    def _pin_all(self, cids: Sequence[Cid]) -> None:
        """Pin directly: recursively would mean the whole history, as a message links to its parents."""
        options = {**_DIRECT, "name": self.label}
        try:
            self.rpc.ask("pin/add", *map(str, cids), seconds=self.timeout, options=options)
        except KuboError:
            if len(cids) == 1:
                raise
            for cid in cids:  # one that is not there spoils it for all
                with suppress(KuboError):
                    self._pin_all([cid])
            return
        self._pinned.update(cids)
        _log.debug("pinned %d blocks", len(cids))


def _parse_pin(line: bytes) -> tuple[Cid, str] | None:
    """Return the names of the block and of its pin; None for a block that is not of our kind."""
    try:
        pin = json.loads(line)
        fields = pin if isinstance(pin, dict) else {}
        return Cid.parse(str(fields.get("Cid"))), str(fields.get("Name", ""))
    except (EncodingError, ValueError, RecursionError):
        return None
