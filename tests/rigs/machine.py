"""A peer with a disk of its own, whose swarm the test plays."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from builders import NOW, Author, identity, tiny_dataset, tiny_learner, tiny_manifest, update_body

from learnae.adapters.composite.metered import MeteredStore
from learnae.errors import NotWrittenError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid
from learnae.membership.sealing import NO_SECRETS, Secrets
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.peer import Options, Peer, Ports, compose_peer
from learnae.peer.summaries.releasing import CHECKS, Releasing
from learnae.ports import Heard, Traffic, Trained
from learnae.protocol.announcements import PREFIX_BYTES, Announcement, Entry
from learnae.protocol.bodies import KEY
from learnae.protocol.limits import HOUR, Limits
from learnae.protocol.messages import Message, open_message
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip, MemoryStateStore, SilentMonitor
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.swarm.manifest import Manifest

DAY = 24 * HOUR


class Crash(Exception):
    """The power goes."""


class Store(MemoryBlockStore):
    """A block store whose next message is never written."""

    failing = full = False

    def put(self, codec: int, data: bytes) -> Cid:
        if self.full and codec == DAG_CBOR:
            raise NotWrittenError("no space left")
        if self.failing and codec == DAG_CBOR:
            self.failing = False
            raise Crash
        return super().put(codec, data)


class Learner(NumpyLearner):
    """A learner that diverges when told to."""

    diverging = False

    def train(self, steps: int) -> Trained:
        trained = super().train(steps)
        if self.diverging:
            self.diverging = False
            self._weights[0] = np.nan
        return trained


class Gossip(MemoryGossip):
    """Gossip whose announcements count as those of other machines only if the peer is to hear these first."""

    listens = False

    @property
    def announcements(self) -> int | None:
        return super().announcements if self.listens else None


class Machine:
    """One peer with its disk; ``receive`` plays the rest of the swarm."""

    follow = 8
    secrets: Secrets = NO_SECRETS
    listens = is_back = False  # to what ``receive`` gives; whether it has been here before

    def __init__(self, number: int = 100, manifest: Manifest | None = None, data: Dataset | None = None) -> None:
        self.manifest = manifest or tiny_manifest()
        self.network = Network(VirtualClock(NOW), random.Random(0), Weather())
        self.clock = self.network.clock
        self.host = self.network.host()
        self.identity = identity(number)
        self.state = MemoryStateStore()
        self.store = Store(self.host)
        self.data = data or tiny_dataset(self.manifest)
        self.peer = self.boot()

    def lose_all(self) -> list[Message]:
        """Start again with neither the state nor the blocks of the own messages; returns these."""
        self.state = MemoryStateStore()
        past = list(self.said())
        for message in past:
            del self.host.blocks[message.cid]
        self.boot()
        return past

    def boot(self) -> Peer:
        self.learner = tiny_learner(self.manifest, self.data, 1, Learner)
        return self.compose(Options("me", "agent", self.follow, seed=1))

    def compose(self, options: Options) -> Peer:
        gossip, traffic, self.monitor = Gossip(self.host, 4), Traffic(), SilentMonitor()
        gossip.listens = self.listens
        store = MeteredStore(self.store, traffic)
        ports = Ports(store, gossip, self.learner, self.state, self.monitor, self.clock)
        self.peer = compose_peer(
            self.identity, self.manifest, ports, options, traffic=traffic, is_back=self.is_back, secrets=self.secrets
        )
        return self.peer

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.time += 1000
            self.peer.tick()

    def receive(self, *messages: Message, blocks: Sequence[bytes] = ()) -> None:
        for message in messages:
            self.host.blocks[message.cid] = message.data
        for block in blocks:
            self.host.blocks[Cid.of(RAW, block)] = block
        self.host.inbox += [announced(message) for message in messages]

    def heads_again(self) -> None:
        """Others announce all that is on the disk, as after a restart."""
        blocks = [data for cid, data in self.host.blocks.items() if cid.codec == DAG_CBOR]
        messages = [open_message(data, self.manifest.swarm, Limits()) for data in blocks]
        self.host.inbox += [announced(message) for message in messages]

    def said(self, author: bytes | None = None) -> list[Message]:
        """The messages on the disk by ``author`` (this peer), by seq."""
        blocks = [data for cid, data in self.host.blocks.items() if cid.codec == DAG_CBOR]
        messages = [open_message(data, self.manifest.swarm, Limits()) for data in blocks]
        return sorted(
            (message for message in messages if message.author == (author or self.identity.author)),
            key=lambda message: (message.seq, message.cid),
        )

    def problems(self) -> dict[str, int]:
        return dict(self.peer.status()["problems"])

    def other(self, number: int = 1) -> Author:
        return Author(number, self.manifest.swarm)

    def has_followed(self, author: Author) -> None:
        """Let the peer have followed an author before."""
        self.peer.following.ever[author.author] = None


def announced(message: Message) -> Heard:
    """Announce one message, as a peer does that knows nothing else."""
    checkpoint = message.cid if message.checkpoint else None
    entry = Entry(message.author[:PREFIX_BYTES], message.seq, message.cid, checkpoint)
    return Heard(str(message.cid), Announcement((entry,)))


def ticked(times: int = 1, listens: bool = False, **options: Any) -> Machine:
    """Make a machine that has ticked already."""
    machine = Machine(**options)
    machine.listens = listens
    machine.tick(times)
    return machine


def seqs(messages: Sequence[Message]) -> list[int]:
    return [message.seq for message in messages]


def frame_of(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def update_of(author: Author, data: bytes, kind: str = KEY, base: Cid | None = None, **options: Any) -> Message:
    time, blocks = options.pop("time", None), (Cid.of(RAW, data),)
    return author.say(body=update_body(kind, base, **options), blocks=blocks, time=time, checkpoint=kind == KEY)


class Board(Machine):
    """A machine whose peer sends summaries, and that keeps on its disk what it has ``released``."""

    trains = False

    def boot(self) -> Peer:
        layout = layout_of(self.manifest)
        assert layout
        self.statistics = Statistics(layout)
        self.released = getattr(self, "released", MemoryStateStore())
        if self.trains:
            self.learner = tiny_learner(self.manifest, self.data, 1, Learner)
        else:
            self.learner = PassiveLearner(self.manifest.model.count)  # type: ignore[assignment]
        releasing = Releasing(
            self.manifest.privacy,
            lambda: self.statistics,
            lambda: self.statistics.rows,
            self.released,
            lambda: not self.trains,
        )
        return self.compose(Options("me", "agent", 8, seed=1, summaries=releasing))

    def collect(self, rows: int) -> None:
        self.statistics.add(np.ones((rows, 2), np.float32), np.ones((rows, 1)))

    def wait(self) -> None:
        """Let the time pass until it is asked whether there are enough rows."""
        self.clock.time += self.manifest.limits.horizon // CHECKS


def kinds(machine: Machine) -> list[str]:
    return [type(message.body).__name__ for message in machine.said()]
