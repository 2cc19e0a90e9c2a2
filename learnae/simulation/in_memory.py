"""In-memory ports on a simulated network: real implementations, for the simulator and for tests.

They obey the same contract suite as every other adapter. The network has one seeded source of
chance and one virtual clock, so that a run replays byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from learnae.errors import BlockMissingError, TransportError
from learnae.ipld.cid import CID_BYTES, Cid
from learnae.ports import Gossip, Inference, check_heads, name_block
from learnae.protocol.limits import HOUR

_PACKET_BYTES = 40  # what an announcement or a request costs beside its CIDs
_RETRY = 2000  # ms after which a request that was not answered is made again
_GUESSES = 8  # hosts asked at random before all are
_CONE = 256  # ancestors that come along with a message that was asked for


class VirtualClock:
    """ports.Clock that the simulator moves."""

    def __init__(self, start: int) -> None:
        self.time = start
        self.booted = start - HOUR

    def now(self) -> int:
        """Virtual Unix milliseconds."""
        return self.time

    def uptime(self) -> int:
        """See ports.Clock."""
        return self.time - self.booted


class MemoryStateStore:
    """ports.StateStore that survives the simulated death of its peer."""

    def __init__(self) -> None:
        self._data: bytes | None = None

    def load(self) -> bytes | None:
        """See ports.StateStore."""
        return self._data

    def save(self, data: bytes) -> None:
        """See ports.StateStore."""
        self._data = data


class SilentMonitor:
    """ports.Monitor that keeps the last report."""

    def __init__(self) -> None:
        self.last: Mapping[str, Any] = {}

    def report(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        self.last = status

    def infer(self, results: Sequence[Inference]) -> None:
        """Nobody watches."""

    def close(self, status: Mapping[str, Any]) -> None:
        """See ports.Monitor."""
        self.last = status


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network behaves: one-way ``delay`` (least, most) in ms, ``loss`` as a share of packets."""

    delay: tuple[int, int] = (10, 100)
    loss: float = 0.0


class Network:
    """Hosts that exchange packets. ``groups`` partitions them; a host that is down hears nothing."""

    def __init__(self, clock: VirtualClock, rng: random.Random, weather: Weather) -> None:
        self.clock = clock
        self.rng = rng
        self.weather = weather
        self.hosts: list[Host] = []
        self.groups: dict[int, int] = {}
        self.down: set[int] = set()
        self.trace = hashlib.sha256()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0

    def host(self) -> Host:
        """Add a host."""
        self.hosts.append(Host(self, len(self.hosts)))
        return self.hosts[-1]

    def at(self, time: int, action: Callable[[], None]) -> None:
        """Let ``action`` happen at a virtual time."""
        self._order += 1
        heapq.heappush(self._events, (time, self._order, action))

    def run_until(self, time: int) -> None:
        """Let everything happen that is due before ``time``."""
        while self._events and self._events[0][0] <= time:
            due, _, action = heapq.heappop(self._events)
            self.clock.time = max(self.clock.time, due)
            action()
        self.clock.time = max(self.clock.time, time)

    def reaches(self, source: int, target: int) -> bool:
        """Whether packets can pass now."""
        return (
            source not in self.down
            and target not in self.down
            and self.groups.get(source, 0) == self.groups.get(target, 0)
        )

    def send(self, source: Host, target: Host, size: int, note: str, deliver: Callable[[], None]) -> None:
        """Send one packet; it may be lost, and it is late. ``note`` goes into the trace."""
        source.bytes_out += size
        if not self.reaches(source.index, target.index) or self.rng.random() < self.weather.loss:
            return
        arrival = self.clock.time + self.rng.randint(*self.weather.delay)

        def arrive() -> None:
            if self.reaches(source.index, target.index):
                target.bytes_in += size
                self.trace.update(f"{self.clock.time} {source.index} {target.index} {size} {note}\n".encode())
                deliver()

        self.at(arrival, arrive)

    def holder(self, asker: int, cid: Cid) -> Host | None:
        """Somebody reachable who has the block, as a provider record would tell; any of them."""
        for _ in range(_GUESSES):  # most blocks are soon in many places: looking everywhere takes longer
            host = self.rng.choice(self.hosts)
            if cid in host.blocks and self.reaches(asker, host.index):
                return host
        holders = [host for host in self.hosts if cid in host.blocks and self.reaches(asker, host.index)]
        return self.rng.choice(holders) if holders else None


class Host:
    """One machine's blocks and announcements; its disk survives while it is down."""

    def __init__(self, network: Network, index: int) -> None:
        self.network = network
        self.index = index
        self.blocks: dict[Cid, bytes] = {}
        self.inbox: list[Sequence[Cid]] = []
        self.bytes_out = 0
        self.bytes_in = 0
        self.asked: dict[Cid, int] = {}
        self.parents_of: Callable[[Cid], Sequence[Cid]] = lambda _: ()

    def ask(self, cids: Sequence[Cid]) -> None:
        """Request blocks from whoever has them, one packet a holder."""
        now = self.network.clock.time
        by_holder: dict[int, list[Cid]] = {}
        for cid in cids:
            if cid in self.blocks or self.asked.get(cid, 0) > now:
                continue
            holder = self.network.holder(self.index, cid)
            if holder is not None:
                self.asked[cid] = now + _RETRY
                by_holder.setdefault(holder.index, []).append(cid)
        for index, wanted in by_holder.items():
            holder = self.network.hosts[index]
            size = _PACKET_BYTES + CID_BYTES * len(wanted)
            self.network.send(self, holder, size, "want", lambda h=holder, w=wanted: h.answer(self, w))  # type: ignore[misc]

    def answer(self, asker: Host, wanted: Sequence[Cid]) -> None:
        """Send what is here, with the past of messages that the asker has not got."""
        for cid in wanted:
            found = [cid for cid in self._cone(asker, cid) if cid in self.blocks]
            for each in found:
                data = self.blocks[each]
                self.network.send(
                    self,
                    asker,
                    len(data),
                    each.digest.hex(),
                    lambda c=each, d=data: asker.receive(c, d),  # type: ignore[misc]
                )

    def receive(self, cid: Cid, data: bytes) -> None:
        """Keep a block that was asked for."""
        self.asked.pop(cid, None)
        if cid not in self.blocks and cid.names(data):
            self.blocks[cid] = data

    def _cone(self, asker: Host, cid: Cid) -> list[Cid]:
        """The block and those ancestors that the asker lacks, nearest first, bounded."""
        cone = {cid: None}
        level = [cid]
        while level and len(cone) < _CONE:
            level = [p for c in level for p in self.parents_of(c) if p not in asker.blocks and p not in cone]
            cone.update(dict.fromkeys(level))
        return list(cone)


class MemoryBlockStore:
    """ports.BlockStore of a simulated host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def put(self, codec: int, data: bytes) -> Cid:
        """See ports.BlockStore."""
        cid = name_block(codec, data)
        self._host.blocks[cid] = data
        return cid

    def get(self, cid: Cid) -> bytes:
        """See ports.BlockStore."""
        try:
            return self._host.blocks[cid]
        except KeyError:
            raise BlockMissingError(f"block {cid} is not here") from None

    def has(self, cid: Cid) -> bool:
        """See ports.BlockStore."""
        return cid in self._host.blocks

    def want(self, cids: Sequence[Cid]) -> None:
        """See ports.BlockStore."""
        self._host.ask(cids)

    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:  # noqa: ARG002 - a host has one peer
        """See ports.BlockStore."""
        for cid in cids:
            self._host.blocks.pop(cid, None)


class MemoryExchange:
    """ports.Exchange of a machine that shares a warehouse of blocks, by name, with others."""

    def __init__(self, warehouse: dict[Cid, bytes]) -> None:
        self._warehouse = warehouse
        self._closed = False

    def offer(self, cid: Cid, data: bytes) -> None:
        """See ports.Exchange."""
        self._check_open()
        self._warehouse[cid] = data

    def fetch(self, cid: Cid) -> bytes:
        """See ports.Exchange."""
        self._check_open()
        try:
            return self._warehouse[cid]
        except KeyError:
            raise BlockMissingError(f"block {cid} is in no warehouse") from None

    def keep(self, cid: Cid) -> None:
        """Nothing: what was fetched is in the warehouse."""

    def lacking(self, held: Callable[[], Iterable[Cid]]) -> Iterable[Cid]:
        """See ports.Exchange."""
        self._check_open()
        return [cid for cid in held() if cid not in self._warehouse]

    def retract(self, cids: Iterable[Cid]) -> None:
        """See ports.Exchange; what is in the warehouse is gone for all."""
        self._check_open()
        for cid in cids:
            self._warehouse.pop(cid, None)

    def close(self) -> None:
        """See ports.Exchange."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError("the exchange is closed")


class MemoryGossip(Gossip):
    """ports.Gossip that tells ``fanout`` random hosts, as a gossip mesh does."""

    def __init__(self, host: Host, fanout: int) -> None:
        self.count = 0  # announcements heard
        self._host = host
        self._fanout = fanout

    def announce(self, heads: Sequence[Cid]) -> None:
        """See ports.Gossip."""
        check_heads(heads)
        network, size = self._host.network, _PACKET_BYTES + CID_BYTES * len(heads)
        others = [host for host in network.hosts if host is not self._host]
        for target in network.rng.sample(others, min(self._fanout, len(others))):
            network.send(self._host, target, size, "heads", lambda t=target: t.inbox.append(tuple(heads)))  # type: ignore[misc]

    def heard(self) -> Iterable[Sequence[Cid]]:
        """See ports.Gossip."""
        inbox, self._host.inbox = self._host.inbox, []
        self.count += len(inbox)
        return inbox
