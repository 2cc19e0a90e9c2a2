"""A simulated network on a virtual clock: hosts with blocks, packets that are late or lost, partitions.

It has one seeded source of chance, so that a run replays byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial

from learnae.basics.overriding import override
from learnae.ipld.cid import CID_BYTES, Cid
from learnae.ports import Clock, Heard
from learnae.protocol.limits import HOUR

PACKET_BYTES = 40  # what an announcement or a request costs beside its CIDs
_RETRY_MS = 2000  # after which a request that was not answered is made again
_GUESSES = 8  # hosts asked at random before all are
_CHAIN_BLOCKS = 256  # a message that was asked for, and its author's older ones that come along


class VirtualClock(Clock):
    """The time of day of a whole swarm, as the simulator moves it."""

    def __init__(self, start: int) -> None:
        self.time = start
        self.booted = start - HOUR

    @override
    def now(self) -> int:
        return self.time

    @override
    def uptime(self) -> int:
        return self.time - self.booted


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network behaves: one-way ``delay`` (least, most) in ms; ``loss``, and ``doubles``, as shares of packets.

    Where delays differ, packets overtake each other.
    """

    delay: tuple[int, int] = (10, 100)
    loss: float = 0.0
    doubles: float = 0.0


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
        """Return True if packets can pass now."""
        return self.down.isdisjoint((source, target)) and self.groups.get(source, 0) == self.groups.get(target, 0)

    def send(self, source: Host, target: Host, size: int, note: str, deliver: Callable[[], None]) -> None:
        """Send one packet; it may be lost, and it is late. ``note`` goes into the trace."""
        source.bytes_out += size
        if not self.reaches(source.index, target.index) or self.rng.random() < self.weather.loss:
            return

        def arrive() -> None:
            if self.reaches(source.index, target.index):
                target.bytes_in += size
                self.trace.update(f"{self.clock.time} {source.index} {target.index} {size} {note}\n".encode())
                deliver()

        copies = 2 if self.weather.doubles and self.rng.random() < self.weather.doubles else 1
        for _ in range(copies):
            self.at(self.clock.time + self.rng.randint(*self.weather.delay), arrive)

    def holder(self, asker: int, cid: Cid) -> Host | None:
        """Return any reachable host with the block, as a provider record would tell; None without one."""
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
        self.blocks: MutableMapping[Cid, bytes] = {}
        self.inbox: list[Heard] = []
        self.bytes_out = 0
        self.bytes_in = 0
        self.asked: dict[Cid, int] = {}
        self.previous_of: Callable[[Cid], Cid | None] = lambda _: None

    def ask(self, cids: Sequence[Cid]) -> None:
        """Request blocks from hosts that hold them, one packet each."""
        now = self.network.clock.time
        by_holder: dict[int, list[Cid]] = {}
        for cid in cids:
            if cid in self.blocks or self.asked.get(cid, 0) > now:
                continue
            holder = self.network.holder(self.index, cid)
            if holder is not None:
                self.asked[cid] = now + _RETRY_MS
                by_holder.setdefault(holder.index, []).append(cid)
        for index, wanted in by_holder.items():
            holder = self.network.hosts[index]
            size = PACKET_BYTES + CID_BYTES * len(wanted)
            self.network.send(self, holder, size, "want", partial(holder.answer, self, wanted))

    def answer(self, asker: Host, wanted: Sequence[Cid]) -> None:
        """Send the blocks that are here; with a message those that it continues, as far as the asker lacks them."""
        for cid in wanted:
            for each in filter(self.blocks.__contains__, self._chain(asker, cid)):
                data = self.blocks[each]
                self.network.send(self, asker, len(data), each.to_bytes().hex(), partial(asker.receive, each, data))

    def receive(self, cid: Cid, data: bytes) -> None:
        """Keep a block that was asked for."""
        self.asked.pop(cid, None)
        if cid not in self.blocks and cid.names(data):
            self.blocks[cid] = data

    def _chain(self, asker: Host, cid: Cid) -> list[Cid]:
        """Return the block and the messages back to a checkpoint that the asker lacks, newest first, bounded."""
        chain, previous = [cid], self.previous_of(cid)
        while previous is not None and previous not in asker.blocks and len(chain) < _CHAIN_BLOCKS:
            chain.append(previous)
            previous = self.previous_of(previous)
        return chain
