"""A simulated network on a virtual clock: hosts with blocks, packets that are late or lost, partitions.

It has one seeded source of chance, so that a run replays byte for byte.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from learnae.basics.bounded_dict import BoundedDict
from learnae.basics.overriding import override
from learnae.ipld.cid import CID_BYTES, DAG_CBOR, MAX_BLOCK_BYTES, RAW, Cid
from learnae.ports import Clock, Heard
from learnae.protocol.limits import HOUR
from learnae.protocol.neighbourhood.interest import Zone
from learnae.simulation.audience import Audience

PACKET_BYTES = 40  # what an announcement or a request costs beside its CIDs
_RETRY_MS = 2000  # after which a request that was not answered is made again
_PLACES = 8  # hosts that are remembered of a block, those that got it last; where they are gone all are asked
_PLACES_OF = 128  # blocks, for each host; a keyframe is asked for as long as its author has no newer one
_NAMED = 32  # blocks, for each host: what is given at about the same time
_FEW = 1024  # hosts: as much is remembered of fewer
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
    """Hosts that exchange packets. ``groups`` partitions them; a host that is down hears nothing.

    Nothing passes between two hosts that are among the ``cuts``: the lesser index first.
    """

    def __init__(self, clock: VirtualClock, rng: random.Random, weather: Weather) -> None:
        self.clock = clock
        self.rng = rng
        self.weather = weather
        self.hosts: list[Host] = []
        self.groups: dict[int, int] = {}
        self.down: set[int] = set()
        self.audience = Audience[Host]()
        self.cuts: set[tuple[int, int]] = set()
        self.trace = hashlib.sha256()
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._named = BoundedDict[Cid, bytes](_NAMED * _FEW)  # blocks whose names are right
        self._holders = BoundedDict[Cid, list[int]](_PLACES_OF * _FEW)

    def host(self, name: str = "") -> Host:
        """Add a host; without a name it has its number."""
        self.hosts.append(self._made(len(self.hosts), name))
        hosts = max(_FEW, len(self.hosts))
        self._named.limit, self._holders.limit = _NAMED * hosts, _PLACES_OF * hosts
        return self.hosts[-1]

    def _made(self, index: int, name: str) -> Host:
        return Host(self, index, name)

    def at(self, time: int, action: Callable[..., None], *args: Any) -> None:
        """Let ``action(*args)`` happen at a virtual time."""
        self._order += 1
        heapq.heappush(self._events, (time, self._order, action, args))

    def run_until(self, time: int) -> None:
        """Let everything happen that is due before ``time``."""
        while self._events and self._events[0][0] <= time:
            due, _, action, args = heapq.heappop(self._events)
            self.clock.time = max(self.clock.time, due)
            action(*args)
        self.clock.time = max(self.clock.time, time)

    def digest(self) -> str:
        """Return the digest of all packets so far."""
        return self.trace.hexdigest()

    def reaches(self, source: int, target: int) -> bool:
        """Return True if packets can pass now."""
        if self.down and (source in self.down or target in self.down):
            return False
        if self.cuts and (min(source, target), max(source, target)) in self.cuts:
            return False
        return not self.groups or self.groups.get(source, 0) == self.groups.get(target, 0)

    def send(self, source: Host, target: Host, size: int, note: str, deliver: Callable[..., None], *args: Any) -> None:
        """Send one packet; it may be lost, and it is late. ``note`` goes into the trace."""
        source.bytes_out += size
        for due in self.arrivals(source, target):
            self.at(due, self.arrive, source, target, size, note, deliver, args)

    def arrivals(self, source: Host, target: Host) -> Iterator[int]:
        """Draw when the copies of a packet arrive; none does where it is lost."""
        if not self.reaches(source.index, target.index) or self.rng.random() < self.weather.loss:
            return
        copies = 2 if self.weather.doubles and self.rng.random() < self.weather.doubles else 1
        least, most = self.weather.delay
        for _ in range(copies):
            yield self.clock.time + least + int(self.rng.random() * (most - least + 1))

    def tell(self, source: Host, targets: Sequence[Host], heard: Heard) -> None:
        """Send an announcement to hosts."""
        for target in targets:
            self.send(source, target, PACKET_BYTES + heard.announcement.size, "heads", target.hear, heard)

    def attend(self, host: Host, zones: tuple[Zone, ...]) -> None:
        """Let a host hear these zones, and no others."""
        self.audience.attend(host.index, host, zones)

    def arrive(
        self, source: Host, target: Host, size: int, note: str, deliver: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        """Deliver a packet, if it can pass now."""
        if self.reaches(source.index, target.index):
            target.bytes_in += size
            self.trace.update(f"{self.clock.time} {source.index} {target.index} {size} {note}\n".encode())
            deliver(*args)

    def note_holder(self, cid: Cid, index: int) -> None:
        """Remember that a host has a block, in place of the one that has had it longest."""
        places = self._holders.get(cid)
        if places is None:
            self._holders[cid] = [index]
            return
        places.append(index)
        if len(places) > _PLACES:
            del places[0]

    def names(self, cid: Cid, data: bytes) -> bool:
        """Return True if ``data`` is the block that ``cid`` names: hashed once, for all who get these same bytes."""
        if self._named.get(cid) is data:
            return True
        if not cid.names(data):
            return False
        self._named[cid] = data
        return True

    def holder(self, asker: int, cid: Cid) -> Host | None:
        """Return any reachable host with the block, as a provider record would tell; None without one."""
        places = self._holders.get(cid, ())
        start = int(self.rng.random() * len(places))
        for place in (*places[start:], *places[:start]):
            if self.gives(asker, self.hosts[place], cid):
                return self.hosts[place]
        holders = [host for host in self.hosts if self.gives(asker, host, cid)]
        return self.rng.choice(holders) if holders else None

    def gives(self, asker: int, host: Host, cid: Cid) -> bool:
        """Return True if a host has the block, and the asker reaches it."""
        return cid in host.blocks and self.reaches(asker, host.index)


class Host:
    """One machine's blocks and announcements; its disk survives while it is down."""

    def __init__(self, network: Network, index: int, name: str = "") -> None:
        self.network = network
        self.index = index
        self.name = name or str(index)
        self.blocks: MutableMapping[Cid, bytes] = {}
        self.inbox: list[Heard] = []
        self.bytes_out = 0
        self.bytes_in = 0
        self.asked: dict[Cid, int] = {}
        self.most: dict[Cid, int] = {}
        self.previous_of: Callable[[Cid], Cid | None] = lambda _: None

    def hear(self, heard: Heard) -> None:
        """Take in an announcement."""
        self.inbox.append(heard)

    def keep(self, cid: Cid, data: bytes) -> None:
        """Hold a block, and let others know."""
        self.blocks[cid] = data
        self.network.note_holder(cid, self.index)

    def drop(self, cids: Iterable[Cid]) -> None:
        """Hold these blocks no longer."""
        for cid in cids:
            self.blocks.pop(cid, None)

    def ask(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES) -> None:
        """Request blocks from hosts that hold them, as few as it takes, with one packet each."""
        now, holder = self.network.clock.time, None
        by_holder: dict[int, list[Cid]] = {}
        for cid in cids:
            if cid in self.blocks or self.asked.get(cid, 0) > now:
                continue
            if holder is None or not self.network.gives(self.index, holder, cid):
                holder = self.network.holder(self.index, cid)
            if holder is not None:
                self.asked[cid] = now + _RETRY_MS
                self.most[cid] = most
                by_holder.setdefault(holder.index, []).append(cid)
        for index, wanted in by_holder.items():
            holder = self.network.hosts[index]
            size = PACKET_BYTES + CID_BYTES * len(wanted)
            self.network.send(self, holder, size, "want", holder.answer, self, wanted)

    def answer(self, asker: Host, wanted: Sequence[Cid]) -> None:
        """Send the blocks that are here; with a message those that it continues, as far as the asker lacks them."""
        found: dict[int, dict[Cid, bytes]] = {RAW: {}, DAG_CBOR: {}}
        for cid in wanted:
            for each in self._chain(asker, cid) if cid.codec == DAG_CBOR else (cid,):
                if each in self.blocks:
                    found[each.codec][each] = self.blocks[each]
        for blocks in found.values():  # what is asked for together comes together
            if blocks:
                size, note = sum(map(len, blocks.values())), next(iter(blocks)).to_bytes().hex()
                self.network.send(self, asker, size, note, asker.receive, blocks)

    def receive(self, blocks: Mapping[Cid, bytes]) -> None:
        """Keep blocks that were asked for, and what comes with them."""
        for cid, data in blocks.items():
            if self.index in self.network.down:  # a disk may have ended it in the middle of a packet
                return
            self.asked.pop(cid, None)
            most = self.most.pop(cid, MAX_BLOCK_BYTES)
            if cid not in self.blocks and self.network.names(cid, data) and len(data) <= most:
                self.keep(cid, data)

    def _chain(self, asker: Host, cid: Cid) -> list[Cid]:
        """Return the block and the messages back to a checkpoint that the asker lacks, newest first, bounded."""
        chain, previous = [cid], self.previous_of(cid)
        while previous is not None and previous not in asker.blocks and len(chain) < _CHAIN_BLOCKS:
            chain.append(previous)
            previous = self.previous_of(previous)
        return chain
