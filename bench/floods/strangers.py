"""Strangers at a real broker: one process that floods a swarm's topics in one of several ways.

``python -m bench.floods.strangers KIND BROKER MEETING RATE SECONDS``, where KIND is a key of ``KINDS``.
"""

import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from learnae.adapters.mqtt.blocks.wire_format import Want, pack
from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Received
from learnae.adapters.mqtt.topics import Topics
from learnae.config.sections import MqttSection
from learnae.errors import LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, Cid
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import compose

_MESSAGE_BYTES, _LARGE_BYTES = 400, 60_000  # of a message's body: as much as an update says; as much as it may
_ENTRIES, _NAMES = 64, 64  # in one announcement, and in one want
_PREPARED, _PLANTED = 2000, 256  # messages that are signed, blocks that are made before the flood begins


@dataclass(eq=False)
class Stranger:
    """One key, one connection, and what it has heard others name."""

    connection: MqttConnection
    meeting: str
    swarm: Cid
    identity: Identity = field(default_factory=Identity.generate)
    named: list[Cid] = field(default_factory=list)
    garbage: dict[Cid, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.topics = Topics("learnae/1", self.meeting, peer_name(self.identity.author))
        self._random = random.Random(self.topics.peer)
        self._messages = list[bytes]()

    def invented(self) -> Cid:
        """Return the name of a block that no peer has."""
        return Cid.of(DAG_CBOR, self._random.randbytes(16))

    def planted(self, size: int) -> Cid:
        """Return the name of a block of so many bytes that only this stranger has, which is nothing."""
        head = self._random.randbytes(16)
        data = head * (size // len(head))
        cid = Cid.of(DAG_CBOR, data)
        self.garbage[cid] = data
        return cid

    def any_of(self, names: list[Cid]) -> Cid:
        """Return one of them."""
        return self._random.choice(names)

    def announce(self, name: Callable[[], Cid], entries: int = _ENTRIES) -> None:
        """Name heads of authors that there are not."""
        said = [Entry(self._random.randbytes(PREFIX_BYTES), 7, name(), None) for _ in range(entries)]
        self.publish("heads", Announcement(tuple(said)).to_bytes(), retain=True)

    def prepare(self, size: int) -> None:
        """Sign messages of so many bytes and some more that continue what no peer has."""
        now = time.time_ns() // 1_000_000
        for number in range(_PREPARED if size < _LARGE_BYTES else _PREPARED // 10):
            body = {"kind": "note", "text": self._random.randbytes(size)}
            made = compose(self.identity, self.swarm, 1 + number, (self.invented(),), now, body)
            self._messages.append(made.data)

    def push(self) -> None:
        """Push one of them."""
        self.publish("message", self._random.choice(self._messages))

    def ask(self, names: Callable[[], list[Cid]]) -> None:
        """Ask for blocks."""
        if found := names():
            self.publish("want", Want(tuple(found)).to_bytes(), qos=0)

    def listen(self) -> None:
        """Hear which messages there are."""
        self.connection.subscribe(self.topics.all("heads/#"), self._on_heads)
        self.connection.subscribe(self.topics.all("message/#"), self._on_message)

    def answer(self) -> None:
        """Answer each question with what was planted."""

        def on_want(received: Received) -> None:
            for cid in Want.from_bytes(received.payload).cids:
                if cid in self.garbage:
                    self.publish("have", dagcbor.encode([cid]), qos=0)
                    self.publish(f"block/{cid}", pack([self.garbage[cid]]))

        self.connection.subscribe(self.topics.all("want/#"), on_want)

    def claim(self) -> None:
        """Say of each block that it is here and about to be sent."""

        def on_want(received: Received) -> None:
            for cid in Want.from_bytes(received.payload).cids:
                self.publish("have", dagcbor.encode([cid]), qos=0)

        self.connection.subscribe(self.topics.all("want/#"), on_want)

    def known(self) -> list[Cid]:
        """Return names of blocks that there are, each time others."""
        return self._random.sample(self.named, min(_NAMES, len(self.named)))

    def publish(self, channel: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Say it below the own name."""
        self.connection.publish(self.topics.own(channel), payload, qos, retain)

    def _on_heads(self, received: Received) -> None:
        with suppress(LearnaeError):
            said = Announcement.from_bytes(received.payload)
            self._note(*(cid for entry in said.entries for cid in (entry.head, entry.checkpoint) if cid))

    def _on_message(self, received: Received) -> None:
        self._note(Cid.of(DAG_CBOR, received.payload))

    def _note(self, *cids: Cid) -> None:
        self.named = [*dict.fromkeys((*self.named, *cids))][-1024:]


def _garbage(stranger: Stranger, size: int) -> Callable[[], None]:
    stranger.answer()
    names = [stranger.planted(size) for _ in range(_PLANTED)]
    return lambda: stranger.announce(lambda: stranger.any_of(names), 8)


def _pushes(stranger: Stranger, size: int) -> Callable[[], None]:
    stranger.prepare(size)
    return stranger.push


def _wants(stranger: Stranger) -> Callable[[], None]:
    stranger.listen()
    return lambda: stranger.ask(stranger.known)


def _liar(stranger: Stranger) -> Callable[[], None]:
    stranger.claim()
    return lambda: None


KINDS: dict[str, Callable[[Stranger], Callable[[], None]]] = {
    "heads": lambda stranger: lambda: stranger.announce(stranger.invented),
    "one head": lambda stranger: lambda: stranger.announce(stranger.invented, 1),
    "garbage": lambda stranger: _garbage(stranger, MAX_BLOCK_BYTES),
    "small garbage": lambda stranger: _garbage(stranger, _LARGE_BYTES),
    "messages": lambda stranger: _pushes(stranger, _MESSAGE_BYTES),
    "large messages": lambda stranger: _pushes(stranger, _LARGE_BYTES),
    "wants": _wants,
    "invented wants": lambda stranger: lambda: stranger.ask(lambda: [stranger.invented() for _ in range(8)]),
    "claims": _liar,
}


def main() -> None:
    """Flood as the command line says."""
    kind, broker, meeting, rate, seconds = sys.argv[1:]
    connection = MqttConnection(MqttSection(broker=broker))
    stranger = Stranger(connection, meeting, Cid.parse(meeting))
    act = KINDS[kind](stranger)
    connection.start()
    while not connection.is_connected:
        time.sleep(0.05)
    begun, done = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < float(seconds):
        while done < passed * float(rate):
            act()
            done += 1
        time.sleep(0.01)
    connection.close()


if __name__ == "__main__":
    main()
