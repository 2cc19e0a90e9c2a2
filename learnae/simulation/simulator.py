"""A whole swarm in one process: many real peers on a virtual clock and a simulated network."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from learnae.adapters.composite.metered import MeteredStore
from learnae.basics.bounded_dict import BoundedDict
from learnae.errors import EquivocationError
from learnae.ipld.cid import Cid
from learnae.membership.sealing import Secrets
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.models.private.private_learner import PrivateLearner
from learnae.peer.learning.guard import suspicion_of
from learnae.peer.learning.training import ENDLESS
from learnae.peer.masking.sums import Source
from learnae.peer.peer import Options, Peer, Ports, Turn, compose_peer
from learnae.peer.publishing_policy import PublishPolicy
from learnae.peer.summaries.lessons import Lessons
from learnae.peer.summaries.releasing import Releasing
from learnae.ports import BlockStore, Clock, Learner, StateStore, Traffic
from learnae.privacy.clipping import NormClip
from learnae.privacy.floors import Floors, ReleaseFloor
from learnae.privacy.noise.gaussian import KEY_BYTES, normals_of
from learnae.privacy.spent import PrivacySpent
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.opener import MessageOpener
from learnae.protocol.tangle import Node, Tangle
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.simulation.batched import BatchedLearner, train_together
from learnae.simulation.in_memory import MemoryBlockStore, MemoryGossip, MemoryStateStore, SilentMonitor
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.simulation.sharded_network import ShardedNetwork
from learnae.simulation.shards import Shard
from learnae.simulation.shared_work import SharedDecoder
from learnae.swarm.manifest import Manifest

START = 1_700_000_000_000  # the virtual clock's first reading, Unix milliseconds
_OPENED = 16  # of each peer: messages that all share once they are opened; none is asked for when it is long replaced
_COLLECTED = 1_000_000  # objects more, until cycles are looked for: a thousand peers hold millions that are none
_NODES = 64  # of each peer, that all tangles share: what is dropped is made anew
_FEW = 256  # peers: as much is remembered of fewer

LearnerFactory = Callable[[Manifest, Dataset, np.random.Generator], Learner]


def numpy_learner(manifest: Manifest, data: Dataset, rng: np.random.Generator) -> Learner:
    """Make the reference learner, which clips the gradient of each row as both roles do."""
    batch = manifest.training.batch
    return BatchedLearner(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng, NormClip())


@dataclass(frozen=True, slots=True)
class Setting:
    """``period`` ms between a peer's ticks, each up to a quarter early or late; it listens every ``listen`` ms between
    them, 0 for never. It publishes every ``every`` ms at most, and settles after ``patience`` updates without a gain
    (Options). All have the same ``floors``; with ``summaries`` they tell of their rows, and judge by what others tell.
    Ticks that are due within ``together`` ms are taken at the end of these, so that learners train together; at 0 each
    is taken for itself.
    They hear zones of so many ``levels`` at first, and all up to so many as each ``hears`` (Options).
    """

    seed: int = 0
    period: int = 1000
    listen: int = 0
    follow: int = 8
    fanout: int = 4
    every: int = 0
    patience: int = 0
    weather: Weather = Weather()
    floors: Floors = Floors()
    summaries: bool = False
    together: int = 0
    levels: int = 0
    hears: int = 0


@dataclass(frozen=True, slots=True)
class Role:
    """What one machine can: optimiser ``steps`` between two merges, and how many it follows; 0 for what all do.

    One that ``sends_alone`` never trains: it tells of its rows, where the setting has ``summaries``.
    """

    name: str = "agent"
    steps: int = 0
    follow: int = 0
    sends_alone: bool = False


def identity_of(seed: int, index: int) -> Identity:
    """Return the key of a member of a simulation with that seed."""
    return Identity.from_seed(random.Random(f"{seed}/{index}").randbytes(32))


class Member:
    """A simulated machine: key, disk and network card last; the peer is rebuilt when it restarts.

    One that ``is_archive`` when its peer boots keeps every block.
    """

    is_archive = False

    def __init__(self, simulation: Simulation, index: int, data: Dataset) -> None:
        self._simulation = simulation
        self._index = index
        self._data = data
        self.identity = identity_of(simulation.setting.seed, index)
        self.clock = self.own_clock(simulation.clock)
        self._state, self._summaries, self._contributions = MemoryStateStore(), MemoryStateStore(), MemoryStateStore()
        self._entropy, self._noise = (
            random.Random(f"{simulation.setting.seed}/{index}/{use}") for use in ("entropy", "noise")
        )
        self.host = simulation.network.host(peer_name(self.identity.author))
        self.peer = self.boot()

    def own_clock(self, clock: Clock) -> Clock:
        """Return what this machine reads in place of the right ``clock``."""
        return clock

    def disk(self) -> tuple[BlockStore, StateStore]:
        """Return what is kept while the machine is down."""
        return MemoryBlockStore(self.host), self._state

    def turn(self, is_training: bool) -> None:
        """Take part; what is new is published only if all that ``is_training``."""
        for _ in self.part(is_training):
            pass

    def part(self, is_training: bool) -> Turn[None]:
        """Do what ``turn`` does, with the stops of Peer.turn."""
        if is_training:
            try:
                yield from self.peer.turn()
            except EquivocationError:  # its program ends
                self._simulation.crash(self._index)
        else:
            self.peer.hear()
            self.peer.replication.announce()

    def listen(self) -> None:
        """Listen between two turns."""
        self.peer.listen()

    def _rows_drawn(self, role: Role) -> int:
        """Return of how many rows an update is at least."""
        training, setting = self._simulation.manifest.training, self._simulation.setting
        once = 0 if setting.every else training.batch * (role.steps or training.steps)
        return max(once, setting.floors.draws)

    def boot(self) -> Peer:
        """Make the peer from what is on the disk, at first or after a crash."""
        simulation, manifest = self._simulation, self._simulation.manifest
        seed = simulation.setting.seed * 1_000_003 + self._index
        role = simulation.roles(self._index)
        passive = PassiveLearner(manifest.model.count, manifest.definition.moments)
        rng = np.random.default_rng(seed)
        learner = passive if role.sends_alone else simulation.learner(manifest, self._data, rng)
        traffic, gossip = Traffic(), MemoryGossip(self.host, simulation.setting.fanout)
        blocks, state = self.disk()
        store = MeteredStore(blocks, traffic, manifest.start)
        ports = Ports(store, gossip, learner, state, SilentMonitor(), self.clock)
        setting = simulation.setting
        options = Options(
            f"peer-{self._index}",
            role.name,
            role.follow or setting.follow,
            seed,
            steps=ENDLESS if setting.every else role.steps,
            publish=PublishPolicy(setting.every),
            patience=setting.patience,
            rows=lambda: len(self._data.train),
            chance=lambda: self._data.chance_loss,
            addend=lambda _: simulation.addends(self._index),
            is_archive=self.is_archive,
            suspicion=suspicion_of(manifest, self._data, self._rows_drawn(role)),
            floors=ReleaseFloor(setting.floors, self._data.train),
            held_out=self._data.holdout,
            levels=setting.levels,
            hears=setting.hears,
        )
        layout = layout_of(manifest) if setting.summaries else None
        if layout is not None:
            rows = self._data.train
            releasing = Releasing(
                manifest.privacy, partial(Statistics.of, layout, rows), lambda: len(rows), self._summaries,
                is_alone=lambda: role.sends_alone, rng=self._noise,
                normals=lambda count: normals_of(self._noise.randbytes(KEY_BYTES), count),
            )  # fmt: skip
            lessons = Lessons(layout, self._data, np.random.default_rng(seed))
            options = replace(options, summaries=releasing, lessons=lessons, contributions=self._contributions)
        if isinstance(learner, PrivateLearner):
            options = replace(options, privacy=partial(_spent, learner), recall=learner.recall)
        secrets, opener = simulation.secrets(self._index), simulation.opener
        peer = compose_peer(
            self.identity, manifest, ports, options, traffic=traffic, opener=opener, decode=simulation.decode,
            nodes=simulation.nodes, secrets=secrets, entropy=self._entropy.randbytes,
        )  # fmt: skip
        self.host.previous_of = peer.tangle.previous_of
        return peer


class Simulation:
    """Peers that train in virtual time; everything that happens follows from ``setting.seed``.

    In a sealed swarm ``secrets`` gives what the member of a number has, None for what records tell it. ``addends``
    gives what the member of a number adds to masked sums, ``roles`` what it can. ``make`` makes each machine.
    Of several processes that play it, ``members`` are those of this ``shard``; all do the same with all machines.
    """

    def __init__(
        self,
        manifest: Manifest,
        datasets: Sequence[Dataset],
        setting: Setting,
        learner: LearnerFactory = numpy_learner,
        secrets: Callable[[int], Secrets | None] = lambda _: None,
        addends: Callable[[int], Source | None] = lambda _: None,
        make: Callable[[Simulation, int, Dataset], Member] = Member,
        roles: Callable[[int], Role] = lambda _: Role(),
        shard: Shard | None = None,
    ) -> None:
        self.manifest = manifest
        self.learner = learner
        self.setting = setting
        self.secrets = secrets
        self.addends = addends
        self.roles = roles
        self.clock = VirtualClock(START)
        self.shard = shard or Shard()
        if self.shard.count > 1:
            self.network: Network = ShardedNetwork(self.clock, setting.seed, setting.weather, self.shard)
        else:
            self.network = Network(self.clock, random.Random(setting.seed), setting.weather)
        count = max(_FEW, len(datasets))
        self.opener = MessageOpener(_OPENED * count)
        self.decode = SharedDecoder()
        self.nodes = BoundedDict[Cid, Node](_NODES * count)
        self._due: list[Member] = []  # whose ticks are taken together
        self._training = True
        self.members: list[Member] = []
        for index, data in enumerate(datasets):
            if self.shard.has(index):
                self.members.append(make(self, index, data))
            else:
                self.network.host(peer_name(identity_of(setting.seed, index).author))
        for member in self.members:
            self.schedule(member)
            if setting.listen:
                self.listen(member)

    def run(self, milliseconds: int) -> None:
        """Let virtual time pass."""
        usual = gc.get_threshold()
        gc.set_threshold(_COLLECTED, *usual[1:])
        try:
            self.network.run_until(self.clock.time + milliseconds)
        finally:
            gc.set_threshold(*usual)

    def settle(self, milliseconds: int) -> None:
        """Let time pass in which peers hear and announce, but publish nothing new."""
        self._training = False
        self.run(milliseconds)
        self._training = True

    def partition(self, groups: Sequence[Sequence[int]]) -> None:
        """Let only members of the same group reach each other; ``heal`` ends it."""
        self.network.groups = {index: number for number, group in enumerate(groups) for index in group}

    def heal(self) -> None:
        """End every partition."""
        self.network.groups = {}

    def crash(self, index: int) -> None:
        """Stop a machine as ``kill -9`` does."""
        self.network.down.add(index)

    def restart(self, index: int) -> None:
        """Start a stopped machine again, from its disk."""
        self.network.down.discard(index)
        if not self.shard.has(index):
            return
        member = self.members[index // self.shard.count]
        member.host.inbox.clear()
        member.host.asked.clear()
        member.peer = member.boot()

    def message_sets(self) -> list[frozenset[Cid]]:
        """Return what each member would give a newcomer: every author's messages since its newest checkpoint."""
        return [frozenset(_live(member.peer.tangle)) for member in self.members]

    def schedule(self, member: Member) -> None:
        """Let a member take part from now on."""
        period, jitter = self.setting.period, self.setting.period // 4
        due = self.clock.time + period + self.network.rng.randint(-jitter, jitter)
        if together := self.setting.together:
            self.network.at(-(-due // together) * together, self._gather, member)
        else:
            self.network.at(due, self._turn, member)

    def _turn(self, member: Member) -> None:
        if member.host.index not in self.network.down:
            member.turn(self._training)
        self.schedule(member)

    def _gather(self, member: Member) -> None:
        if not self._due:
            self.network.at(self.clock.time, self._turn_together)  # after all others that are due now
        self._due.append(member)

    def _turn_together(self) -> None:
        members, self._due = self._due, []
        up = [member for member in members if member.host.index not in self.network.down]
        stopped = [(member, member.part(self._training)) for member in up]
        while stopped:
            asked = [(member, part, next(part, None)) for member, part in stopped]
            stopped = [(member, part) for member, part, steps in asked if steps is not None]
            learners = [(member.peer.ports.learner, steps) for member, _, steps in asked]
            train_together(
                (learner, steps) for learner, steps in learners if steps and isinstance(learner, BatchedLearner)
            )
        for member in members:
            self.schedule(member)

    def listen(self, member: Member) -> None:
        """Let a member listen between its ticks from now on, as often as the setting says."""

        def turn() -> None:
            if member.host.index not in self.network.down:
                member.listen()
            self.listen(member)

        self.network.at(self.clock.time + self.setting.listen + self.network.rng.randint(0, 20), turn)


def _spent(learner: PrivateLearner) -> PrivacySpent:
    return learner.spent.bounded()


def _live(tangle: Tangle) -> Iterator[Cid]:
    for _, entry in tangle.entries():
        step: Cid | None = entry.head
        while step is not None:
            yield step
            step = tangle.previous_of(step)
