"""In-memory ports on a simulated network: real implementations, for the simulator and for tests.

They obey the same contract suite as every other adapter.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import BlockStore, Exchange, Gossip, Heard, Inference, Monitor, StateStore, name_block
from learnae.protocol.announcements import Announcement
from learnae.protocol.neighbourhood.interest import Interest, Zone
from learnae.simulation.network import Host


class MemoryStateStore(StateStore):
    """A state that survives the simulated death of its peer."""

    def __init__(self) -> None:
        self._data: bytes | None = None

    @override
    def load(self) -> bytes | None:
        return self._data

    @override
    def save(self, *pieces: bytes | memoryview) -> None:
        self._data = b"".join(pieces)


class SilentMonitor(Monitor):
    """Keeps the last report."""

    def __init__(self) -> None:
        self.last: Mapping[str, Any] = {}

    @override
    def report(self, status: Mapping[str, Any]) -> None:
        self.last = status

    @override
    def infer(self, results: Sequence[Inference]) -> None:
        pass

    @override
    def close(self, status: Mapping[str, Any]) -> None:
        self.last = status


class MemoryBlockStore(BlockStore):
    """The blocks of a simulated host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        cid = name_block(codec, data)
        self._host.keep(cid, data)
        return cid

    @override
    def get(self, cid: Cid) -> bytes:
        try:
            return self._host.blocks[cid]
        except KeyError:
            raise BlockMissingError(f"block {cid} is not here") from None

    @override
    def has(self, cid: Cid) -> bool:
        return cid in self._host.blocks

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        self._host.ask(cids, most)

    @override
    def cids(self) -> Iterable[Cid]:
        return list(self._host.blocks)

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        self._host.drop(cids)


class MemoryExchange(Exchange):
    """Carries blocks, by name, through a dict that stands for what other machines hold."""

    def __init__(self, shared: dict[Cid, bytes]) -> None:
        self._shared = shared
        self._closed = False

    @override
    def offer(self, cid: Cid, data: bytes) -> None:
        self._check_open()
        self._shared[cid] = data

    @override
    def fetch(self, cid: Cid, most: int = MAX_BLOCK_BYTES) -> bytes:
        self._check_open()
        try:
            return self._shared[cid][: most + 1]
        except KeyError:
            raise BlockMissingError(f"block {cid} is not shared") from None

    @override
    def keep(self, cid: Cid) -> None:
        pass  # what was fetched is shared already

    @override
    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        self._check_open()
        return [cid for cid in held() if cid not in self._shared]

    @override
    def retract(self, cids: Iterable[Cid]) -> None:
        self._check_open()
        for cid in cids:
            self._shared.pop(cid, None)

    @override
    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError("the exchange is closed")


class MemoryGossip(Gossip):
    """Tells ``fanout`` random hosts, of those that hear this one, as a gossip mesh does."""

    def __init__(self, host: Host, fanout: int) -> None:
        self._heard = 0
        self._host = host
        self._fanout = fanout
        self._place = 0
        host.network.attend(host, (Zone(),))

    @override
    def attend(self, interest: Interest) -> bool:
        self._place = interest.place
        self._host.network.attend(self._host, interest.zones)
        return True

    @override
    def announce(self, announcement: Announcement) -> None:
        announcement.check()
        network, own = self._host.network, self._host.index
        audience = network.audience.listeners(network.hosts, self._place)
        mine = bisect_left(audience, own, key=lambda host: host.index)
        is_in = mine < len(audience) and audience[mine] is self._host
        others = len(audience) - is_in
        chosen = network.rng.sample(range(others), min(self._fanout, others))
        targets = [audience[place + (is_in and place >= mine)] for place in chosen]
        network.tell(self._host, targets, Heard(self._host.name, announcement))

    @override
    def heard(self) -> Iterable[Heard]:
        inbox, self._host.inbox = self._host.inbox, []
        self._heard += len(inbox)
        return inbox

    @property
    @override
    def announcements(self) -> int | None:
        return self._heard
