"""A simulated network whose hosts are spread over processes; what happens follows from the seed and their number.

All let the same short time pass, then tell each other what has happened. Nothing that is said in it can arrive in it,
since each packet takes as long, so that all happens when it would in one process. What crosses are announcements; of
blocks, each process keeps those of the others, so that they are asked for and given within one.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2

from learnae.basics.overriding import override
from learnae.ipld.cid import Cid
from learnae.ports import Heard
from learnae.protocol.announcements import Announcement, Entry
from learnae.protocol.neighbourhood.interest import Zone
from learnae.simulation.network import PACKET_BYTES, Host, Network, VirtualClock, Weather
from learnae.simulation.shards import Shard

_TOLD = 3  # hosts that have a block, and are known of elsewhere: its author, and those that got it first


@dataclass(slots=True)
class _Block:
    """A block of hosts that are elsewhere: its bytes, the message that it continues, and who has it."""

    data: bytes
    previous: Cid | None
    holders: set[int] = field(default_factory=set)


class ShardedNetwork(Network):
    """The hosts of a whole network, of which those of this ``shard`` have peers here."""

    def __init__(self, clock: VirtualClock, seed: int, weather: Weather, shard: Shard) -> None:
        super().__init__(clock, random.Random(f"{seed}/{shard.index}"), weather)
        assert weather.delay[0] > 0, "packets that take no time leave none to wait for each other"
        self._shard = shard
        self._said: list[tuple[object, ...]] = []
        self._elsewhere: dict[Cid, _Block] = {}
        self._told: dict[Cid, list[int]] = {}
        self._takes: dict[str, Callable[..., None]] = {
            "heads": self._take_heads, "block": self._take_block, "holder": self._take_holder, "drop": self._take_drop,
            "zones": self._take_zones,
        }  # fmt: skip

    @override
    def _made(self, index: int, name: str) -> Host:
        return _OwnHost(self, index, name) if self._shard.has(index) else _FarHost(self, index, name)

    @override
    def digest(self) -> str:
        return hashlib.sha256("".join(self._shard.gather(super().digest())).encode()).hexdigest()

    @override
    def run_until(self, time: int) -> None:
        while self.clock.time < time:
            super().run_until(min(time, self.clock.time + self.weather.delay[0]))
            said, self._said = [self._whole(each) for each in self._said], []
            for data in self._shard.exchange(cbor2.dumps(said)):
                for kind, *told in cbor2.loads(data):
                    self._takes[kind](*told)

    def previous_of(self, cid: Cid) -> Cid | None:
        """Return the message that one of elsewhere continues."""
        block = self._elsewhere.get(cid)
        return block.previous if block else None

    # -- what is told

    @override
    def tell(self, source: Host, targets: Sequence[Host], heard: Heard) -> None:
        here = [target for target in targets if self._shard.has(target.index)]
        super().tell(source, here, heard)
        far = [target for target in targets if not self._shard.has(target.index)]
        source.bytes_out += (PACKET_BYTES + heard.announcement.size) * len(far)
        ways = [(target.index, due) for target in far for due in self.arrivals(source, target)]
        if ways:
            said = heard.announcement
            entries = [(entry.author, entry.seq, entry.head, entry.checkpoint) for entry in said.entries]
            self._said.append(("heads", source.index, entries, said.kept, ways))

    @override
    def attend(self, host: Host, zones: tuple[Zone, ...]) -> None:
        super().attend(host, zones)
        self._said.append(("zones", host.index, [(zone.levels, zone.start) for zone in zones]))

    def note_kept(self, host: Host, cid: Cid, data: bytes) -> None:
        """Tell of a block that a host has from now on, if it is made here, and few have it."""
        if cid in self._elsewhere:
            return
        told = self._told.setdefault(cid, [])
        if len(told) < _TOLD and host.index not in told:
            told.append(host.index)
            is_first = len(told) == 1
            self._said.append(("block", host.index, cid, data) if is_first else ("holder", host.index, cid))

    def note_dropped(self, host: Host, cids: Iterable[Cid]) -> None:
        """Tell of blocks that a host has no longer."""
        gone = []
        for cid in cids:
            told = self._told.get(cid, [])
            if host.index in told:
                told.remove(host.index)
                gone.append(cid)
                if not told:
                    del self._told[cid]
        if gone:
            self._said.append(("drop", host.index, gone))

    def _whole(self, said: tuple[Any, ...]) -> tuple[object, ...]:
        """Return what is said of a block with the message that it continues, which is known once it is attached."""
        kind, index, cid, *_ = said
        return (*said, self.hosts[index].previous_of(cid)) if kind == "block" else said

    # -- what the others tell

    def _take_heads(
        self, source: int, entries: list[list[Any]], kept: list[list[Any]], ways: list[tuple[int, int]]
    ) -> None:
        ways = [way for way in ways if self._shard.has(way[0])]
        if not ways:
            return
        said = Announcement(
            tuple(Entry(author, seq, Cid(*head), at and Cid(*at)) for author, seq, head, at in entries),
            tuple(Cid(*cid) for cid in kept),
        )
        host, size = self.hosts[source], PACKET_BYTES + said.size
        heard = Heard(host.name, said)
        for index, due in ways:
            target = self.hosts[index]
            self.at(due, self.arrive, host, target, size, "heads", target.hear, (heard,))

    def _take_block(self, index: int, cid: list[Any], data: bytes, previous: list[Any] | None) -> None:
        name = Cid(*cid)
        self._elsewhere[name] = _Block(data, Cid(*previous) if previous else None)
        self._take_holder(index, name)

    def _take_holder(self, index: int, cid: Sequence[Any]) -> None:
        name = Cid(*cid)
        block = self._elsewhere.get(name)
        if block is not None:
            block.holders.add(index)
            self.hosts[index].blocks[name] = block.data
            super().note_holder(name, index)

    def _take_drop(self, index: int, cids: list[list[Any]]) -> None:
        for name in [Cid(*cid) for cid in cids]:
            if self.hosts[index].blocks.pop(name, None) is not None:
                holders = self._elsewhere[name].holders
                holders.discard(index)
                if not holders:
                    del self._elsewhere[name]

    def _take_zones(self, index: int, zones: list[tuple[int, int]]) -> None:
        super().attend(self.hosts[index], tuple(Zone(*zone) for zone in zones))


class _OwnHost(Host):
    """A host with a peer here, of whose blocks the other processes know."""

    network: ShardedNetwork

    @override
    def keep(self, cid: Cid, data: bytes) -> None:
        super().keep(cid, data)
        self.network.note_kept(self, cid, data)

    @override
    def drop(self, cids: Iterable[Cid]) -> None:
        cids = list(cids)
        super().drop(cids)
        self.network.note_dropped(self, cids)


class _FarHost(Host):
    """A host with a peer elsewhere, which gives here what it has told of."""

    network: ShardedNetwork

    @override
    def __init__(self, network: ShardedNetwork, index: int, name: str) -> None:
        super().__init__(network, index, name)
        self.previous_of = network.previous_of
