"""The peer: one tick = hear, merge, train, publish. Speaks only to ports; knows no role."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import learnae
from learnae.error_log import ErrorLog
from learnae.errors import EquivocationError, NotWrittenError
from learnae.ipld.cid import Cid
from learnae.peer.following import Following
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.merging import Merging
from learnae.peer.own_chain import OwnChain
from learnae.peer.publisher import Publisher
from learnae.peer.rejoining import RejoinGuard
from learnae.peer.replication import Opener, Replicator
from learnae.peer.swarm_view import SwarmView
from learnae.peer.training import Training
from learnae.ports import BlockStore, Clock, Gossip, Learner, Monitor, StateStore, Traffic, Trained
from learnae.protocol.bodies import Join
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import open_message
from learnae.protocol.tangle import Tangle
from learnae.samples.dp_statistics import Statistics, next_summary
from learnae.swarm.initial_weights import starting_weights
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector

_PRUNINGS_PER_HORIZON = 16
_LATELY = 2 * _PRUNINGS_PER_HORIZON  # part of a horizon: what was read at the start is not in use at the first pruning
_RECALL_MS = 60_000  # a peer that has been here before has heard its own past by then


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside that a peer uses."""

    store: BlockStore
    gossip: Gossip
    learner: Learner
    state: StateStore
    monitor: Monitor
    clock: Clock


@dataclass(frozen=True, slots=True)
class Options:
    """How one peer differs from another, as its role decides; all have the same rights.

    ``follow`` bounds the replicas that it keeps (Following); ``seed`` makes its choices repeatable; ``steps``
    optimiser steps are taken between two merges, 0 for as many as the manifest says (Training). ``facts`` gives
    what only the role knows, such as the device that trains: shown in the status as it is.
    ``statistics`` gives what this peer summarises instead of training; None while it trains.
    """

    name: str
    role: str
    follow: int
    seed: int | None = None
    steps: int = 0
    facts: Callable[[], Mapping[str, Any]] = dict
    statistics: Callable[[], Statistics | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did: messages attached, replicas merged, training, and the name of the update or summary."""

    heard: int
    merged: int
    trained: Trained
    published: Cid | None


@dataclass(eq=False)
class Peer:
    """Takes part in a swarm: decides at each tick what its parts do. ``compose_peer`` makes it and its parts."""

    manifest: Manifest
    ports: Ports
    options: Options
    errors: ErrorLog
    traffic: Traffic
    replication: Replicator
    following: Following
    own: OwnChain
    guard: RejoinGuard
    frames: FrameEncoder
    merging: Merging
    training: Training
    view: SwarmView
    publisher: Publisher

    def __post_init__(self) -> None:
        self.author = self.own.author
        self.swarm = self.manifest.swarm
        self.tangle = self.replication.tangle
        self._has_start = False
        self._last_prune = self.ports.clock.now()

    def start(self, is_back: bool) -> None:
        """Go on from the saved state; without one, ``is_back`` says that this key has spoken here before.

        Called once, before the first tick. Raises StateError.
        """
        self._find_start()
        if self.publisher.restore():
            assert self.own.last is not None
            if not self.view.introduced:
                self.view.introduced = self.ports.clock.now() + _RECALL_MS - self.manifest.limits.horizon // 2
            self.guard.start(self.own.last.time)
        elif is_back:
            self.guard.start(None)

    @property
    def steps(self) -> int:
        """Return how many optimiser steps this peer has taken in all."""
        return self.training.steps

    # -- the tick

    def tick(self) -> Tick:
        """Hear, merge, train, publish: as much of it as can be done now, and return soon."""
        heard = self.hear()
        try:
            may_begin = self._may_begin()
        except NotWrittenError:
            self._bide(heard)  # what is saved cannot be shown
            raise
        if self.view.is_banned:  # no other peer takes in what it says
            raise EquivocationError
        if not may_begin:
            return self._bide(heard)
        self._introduce()
        self._accuse()
        merged = self.merging.merge()
        trained = self.training.train()
        published = self.publisher.publish_update(trained.rows) if trained.steps else self._go_without_training(merged)
        self.replication.announce()
        self._prune()
        self.ports.monitor.report(self.status())
        return Tick(heard, merged, trained, published)

    def hear(self) -> int:
        """Take in messages and frames; return how many messages were attached."""
        outcome = self.replication.hear()
        self.view.note(outcome)
        self.guard.note_heard(outcome.oldest)
        self.following.advance(self.ports.clock.now())
        return len(outcome.attached)

    def listen(self) -> int:
        """Hear between two ticks, and pass on what is new; return how many messages were attached.

        What is heard between ticks is a tick younger when it is merged, at every hop.
        """
        heard = self.hear()
        if heard:
            self.replication.announce()
        return heard

    def endure(self, error: NotWrittenError) -> None:
        """Show that the disk took nothing: nothing is published until it does."""
        self.publisher.fail(error)
        self.ports.monitor.report(self.status())

    def estimate(self) -> Vector:
        """Return the consensus estimate (count,): what is used, shown and exported as the swarm's model."""
        return self.merging.estimate

    def save(self) -> None:
        """Save weights and optimiser too, as before a planned stop; raises NotWrittenError."""
        if self.own.last is not None:
            self.publisher.save(self.own.last)

    # -- before the first message

    def _may_begin(self) -> bool:
        """Return True if this peer may speak: it knows where all start, and its last message is attached or lost."""
        if not self._has_start and not self._find_start():
            return False
        before = self.own.last
        if self.guard.must_stay_silent(before is not None) or not self.own.catch_up(self.ports.store):
            return False
        if self.own.last is not before:
            self.frames.forget()
        if not self.own.is_rooted():
            self.view.note(self.own.wait_for_root())
        return self.own.is_rooted()

    def _bide(self, heard: int) -> Tick:
        """Learn while nothing may or can be published."""
        if not self._has_start:
            return Tick(heard, 0, Trained(0, 0, 0.0), None)
        merged = self.merging.merge()
        if merged:
            self.merging.believe(None, self.ports.clock.now())
        tick = Tick(heard, merged, self.training.train(), None)
        if self.guard.since is not None:  # that may take minutes
            self.save()
        self.ports.monitor.report(self.status())
        return tick

    def _find_start(self) -> bool:
        """Begin with the swarm's starting weights; return False while they are still on their way."""
        start = starting_weights(self.manifest, self.ports.store)
        if start is None:
            return False
        self._has_start = True
        self.merging.begin(start)
        return True

    # -- what to publish

    def _introduce(self) -> None:
        """Publish the own name, first and so often that a newcomer finds it within the horizon."""
        age = self.ports.clock.now() - self.view.introduced
        if self.own.last is None or (age >= self.manifest.limits.horizon // 2 and self.own.may_speak()):
            self.publisher.publish(Join(self.options.name, self.options.role, learnae.__version__).to_fields())

    def _accuse(self) -> None:
        """Publish evidence against each equivocating author, once."""
        for author in [author for author in self.view.to_accuse if self.own.may_speak()]:
            if author not in self.view.accused:
                self.publisher.publish(self.view.to_accuse[author].to_fields())
            del self.view.to_accuse[author]  # not before: the disk may have taken nothing

    def _go_without_training(self, merged: int) -> Cid | None:
        if merged:
            self.merging.believe(None, self.ports.clock.now())
        statistics = self.options.statistics()
        if statistics is None or not self.own.may_speak():
            return None
        age = self.ports.clock.now() - self.view.summary_time
        found = next_summary(statistics, self.view.summary, age, self.manifest.limits.horizon)
        return self.publisher.publish(found.to_fields()) if found else None

    def _prune(self) -> None:
        now = self.ports.clock.now()
        if now - self._last_prune < self.manifest.limits.horizon // _PRUNINGS_PER_HORIZON:
            return
        self._last_prune = now
        keep = [self.own.last.cid] if self.own.last else []
        # another peer of this machine that has used one lately knows it, and forgets it itself
        self.ports.store.delete(self.tangle.prune(now, keep), unused_for=self.manifest.limits.horizon // _LATELY)
        self.view.forget_pruned(self.tangle)

    # -- what people see

    def status(self) -> dict[str, Any]:
        """Return a plain map for people and monitors; accuracy and loss as in bodies.Metrics.

        ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved, and thus published;
        ``listening`` since when it has heard others before it speaks; ``banned`` that its key has equivocated.
        """
        metrics, now = self.training.metrics, self.ports.clock.now()
        return {
            "peer": peer_name(self.author),
            "name": self.options.name,
            "role": self.options.role,
            "software": learnae.__version__,
            "swarm": str(self.swarm),
            "time": now,
            "seq": self.own.last.seq if self.own.last else None,
            "steps": self.steps,
            "training_loss": self.training.loss,
            "loss": metrics.loss if metrics else None,
            "accuracy": metrics.accuracy if metrics else None,
            "holdout_rows": metrics.rows if metrics else 0,
            "peers": len(self.following.live(now)),
            "following": len(self.following.replicas),
            "messages": len(self.tangle),
            "bytes_out": self.traffic.bytes_out,
            "bytes_in": self.traffic.bytes_in,
            "unwritable": self.publisher.unwritable,
            "listening": self.guard.since,
            "banned": self.view.is_banned,
            "problems": self.errors.counts,
            "last_problems": self.errors.last,
            **self.options.facts(),
        }


def compose_peer(
    identity: Identity,
    manifest: Manifest,
    ports: Ports,
    options: Options,
    errors: ErrorLog | None = None,
    traffic: Traffic | None = None,
    opener: Opener = open_message,
    *,
    is_back: bool = False,
) -> Peer:
    """Make a peer and its parts, and let it go on from its saved state; raises StateError.

    Survived errors are counted in ``errors``; ``traffic`` is counted by the store in ``ports`` (MeteredStore).
    ``is_back`` says that this key has spoken here before, also if nothing is left of its state (RejoinGuard).

    A peer alone, in memory, publishes its name and an update:

    >>> import numpy as np
    >>> from learnae.models.dataset import Dataset
    >>> from learnae.simulation import in_memory, network, simulator
    >>> from learnae.swarm.presets import dense_config
    >>> manifest = Manifest(name="line", config=dense_config(1, (), 1, "linear"), loss="mean_squared_error")
    >>> data = Dataset(manifest.model, manifest.objective)
    >>> data.add(np.ones((8, 1)), np.ones((8, 1)))
    >>> clock = network.VirtualClock(simulator.START)
    >>> host = network.Network(clock, random.Random(1), network.Weather()).host()
    >>> store, gossip = in_memory.MemoryBlockStore(host), in_memory.MemoryGossip(host, fanout=4)
    >>> learner = simulator.numpy_learner(manifest, data, np.random.default_rng(1))
    >>> state, monitor = in_memory.MemoryStateStore(), in_memory.SilentMonitor()
    >>> ports = Ports(store, gossip, learner, state, monitor, clock)
    >>> peer = compose_peer(Identity.from_seed(bytes(32)), manifest, ports, Options("alice", "agent", follow=8))
    >>> peer.tick().published == peer.tangle.heads()[0]
    True
    >>> peer.status()["seq"]
    1
    """
    errors, traffic, clock, author = errors or ErrorLog(), traffic or Traffic(), ports.clock, identity.author
    rng = random.Random(options.seed)
    tangle = Tangle(manifest.limits, rng)
    replication = Replicator(manifest.swarm, tangle, ports.store, ports.gossip, clock, errors, opener)
    following = Following(
        tangle, ports.store, errors, rng, author, manifest.model.count, options.follow, manifest.merge.half_life
    )
    own = OwnChain(identity, replication, clock, errors)
    frames = FrameEncoder(manifest.codec, manifest.limits.horizon, phase=author[0])
    merging = Merging(manifest, ports.learner, following, frames)
    training = Training(ports.learner, options.steps or manifest.training.steps)
    view = SwarmView(author, following, training, traffic)
    publisher = Publisher(
        manifest.swarm, ports.store, ports.state, clock, own, frames, merging, training, view, errors, traffic
    )
    peer = Peer(
        manifest, ports, options, errors, traffic, replication, following, own, RejoinGuard(clock, ports.gossip),
        frames, merging, training, view, publisher,
    )  # fmt: skip
    peer.start(is_back)
    return peer
