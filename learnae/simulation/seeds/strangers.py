"""Strangers who disturb a swarm: keys that lie twice, blocks of nothing, old news, invented heads, wrong dates."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.ports import Heard
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import KEY, FrameHeader, Update
from learnae.protocol.identity import Identity
from learnae.protocol.limits import HOUR
from learnae.protocol.messages import Message, compose
from learnae.simulation.network import PACKET_BYTES, Host
from learnae.simulation.seeds.scenario import DATES, EQUIVOCATE, FLOOD, GARBAGE, REPLAY, Event
from learnae.simulation.simulator import Simulation

_TURN_MS = 700
_FLOOD = 32  # names in an announcement
_REMEMBERED = 16  # announcements that are said again


class Stranger:
    """A host with a key of its own that does what ``event`` says, while it lasts."""

    def __init__(self, simulation: Simulation, event: Event, rng: random.Random) -> None:
        self._simulation = simulation
        self._event = event
        self._rng = rng
        self._identity = Identity.from_seed(rng.randbytes(32))
        self._victims = [member.identity.author for member in simulation.members]
        self._host: Host = simulation.network.host()
        self._old: list[Heard] = []
        self._last: Message | None = None
        self._is_over = False
        self.author = self._identity.author
        self._acts = {
            EQUIVOCATE: self._equivocate,
            GARBAGE: self._garbage,
            REPLAY: self._replay,
            FLOOD: self._flood,
            DATES: self._dates,
        }

    def begin(self) -> None:
        """Do it, again and again until the time is over."""
        self._until = self._simulation.clock.time + self._event.length
        self._turn()

    def end(self) -> None:
        """Be quiet from now on; what was asked of this host is answered still."""
        self._is_over = True

    def _turn(self) -> None:
        if self._is_over or self._simulation.clock.time > self._until:
            return
        self._acts[self._event.kind]()
        self._simulation.network.at(self._simulation.clock.time + _TURN_MS, self._turn)

    # -- what it does

    def _equivocate(self) -> None:
        """Tell one half of the swarm one thing, and the other another."""
        first, second = self._say({"kind": "yes"}), self._say({"kind": "no"})
        halves = self._simulation.members[::2], self._simulation.members[1::2]
        for message, half in zip((first, second), halves, strict=True):
            for member in half:
                self._announce(member.host, self._entry(message))
        self._last = first

    def _garbage(self) -> None:
        """Name blocks that are no messages, and an update whose frame is noise."""
        noise = self._put(DAG_CBOR, self._rng.randbytes(400))
        frame = self._put(RAW, self._rng.randbytes(60))
        header = FrameHeader(KEY, "q8", self._simulation.manifest.model.count, None)
        body = Update(header, 10, 10**6, None, (), 0, 0).to_fields()
        self._last = self._say(body, (frame,), checkpoint=True)
        entries = [self._entry(self._last)]
        entries += [Entry(self._prefix(), self._rng.randrange(100), noise, noise)]
        for member in self._simulation.members:
            self._announce(member.host, *entries)

    def _replay(self) -> None:
        """Say again what was announced before, in the name of those who did."""
        self._old = [*self._host.inbox, *self._old][:_REMEMBERED]
        self._host.inbox.clear()
        for heard in self._old[-4:]:
            for member in self._simulation.members:
                self._tell(member.host, heard)

    def _flood(self) -> None:
        """Invent heads of everybody and nobody."""
        for member in self._simulation.members:
            names = [Cid.of(DAG_CBOR, self._rng.randbytes(8)) for _ in range(_FLOOD)]
            entries = [Entry(self._prefix(), self._rng.randrange(1, 10**6), name, name) for name in names]
            self._announce(member.host, *entries)

    def _dates(self) -> None:
        """Sign messages from long ago, and from the future."""
        for away in (-48 * HOUR, -HOUR, HOUR):
            message = self._say({"kind": "note"}, away=away)
            for member in self._simulation.members:
                self._announce(member.host, self._entry(message))

    # -- how it speaks

    def _prefix(self) -> bytes:
        return self._rng.choice([*self._victims, self._rng.randbytes(32)])[:PREFIX_BYTES]

    def _put(self, codec: int, data: bytes) -> Cid:
        cid = Cid.of(codec, data)
        self._host.blocks[cid] = data
        return cid

    def _say(
        self, body: Mapping[str, Any], blocks: tuple[Cid, ...] = (), away: int = 0, checkpoint: bool = False
    ) -> Message:
        seq, parents = (self._last.seq + 1, (self._last.cid,)) if self._last else (0, ())
        time = max(self._simulation.clock.time, self._last.time + 50 if self._last else 0) + away
        swarm = self._simulation.manifest.swarm
        message = compose(self._identity, swarm, seq, parents, time, body, blocks, checkpoint=checkpoint)
        self._put(DAG_CBOR, message.data)
        return message

    def _entry(self, message: Message) -> Entry:
        return Entry(self.author[:PREFIX_BYTES], message.seq, message.cid, message.cid if message.checkpoint else None)

    def _announce(self, target: Host, *entries: Entry) -> None:
        self._tell(target, Heard(str(self._host.index), Announcement(entries)))

    def _tell(self, target: Host, heard: Heard) -> None:
        network, size = self._simulation.network, PACKET_BYTES + len(heard.announcement.to_bytes())
        network.send(self._host, target, size, "lies", partial(target.inbox.append, heard))
