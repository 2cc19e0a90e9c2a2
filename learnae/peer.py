"""The peer: one tick = hear, merge, train, publish. Talks only to ports; knows no role."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import learnae
from learnae.bodies import KEY, Evidence, Join, Metrics, Update
from learnae.cid import RAW, Cid
from learnae.codecs import Vector
from learnae.errors import FrameError, FutureError, StateError
from learnae.following import Following, Replica
from learnae.frames import encode_frame
from learnae.identity import Identity, peer_name
from learnae.manifest import Manifest
from learnae.merge import Vote, consensus, merge
from learnae.messages import Message, compose, open_message
from learnae.ports import BlockStore, Clock, Gossip, Learner, Monitor, StateStore, Trained
from learnae.replication import Opener, Replicator
from learnae.state import PeerState
from learnae.tangle import Equivocation, Outcome

_PATIENCE = 50  # ticks to wait for the past of one's own last message before going on without it


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
    """How one peer differs from another; all have the same rights.

    ``follow`` bounds the replicas that it keeps; ``seed`` makes its choices repeatable; ``steps``
    optimiser steps are taken between two merges, 0 for as many as the manifest says. ``facts`` are
    shown in the status as they are: what only the role knows, such as the device that trains.
    """

    name: str
    role: str
    follow: int
    seed: int | None = None
    steps: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did: messages attached, replicas merged, training, and the update's name."""

    heard: int
    merged: int
    trained: Trained
    published: Cid | None


class Peer:
    """A member of a swarm."""

    def __init__(
        self,
        identity: Identity,
        manifest: Manifest,
        ports: Ports,
        options: Options,
        opener: Opener = open_message,
    ) -> None:
        self.author = identity.author
        self.manifest = manifest
        self.swarm = manifest.swarm
        self.metrics: Metrics | None = None
        self.loss: float | None = None
        self.steps = 0
        self._identity = identity
        self._ports = ports
        self._options = options
        rng = random.Random(options.seed)
        self.replication = Replicator(self.swarm, manifest.limits, ports.store, ports.gossip, ports.clock, rng, opener)
        self.tangle = self.replication.tangle
        self.problems = self.replication.problems
        self.following = Following(
            self.tangle,
            ports.store,
            self.problems,
            self.replication.traffic,
            rng,
            count=manifest.model.count,
            most=options.follow,
            half_life=manifest.merge.half_life,
        )
        self.names: dict[bytes, Join] = {}
        self._initial: Vector = manifest.model.initial(manifest.seed)
        self._estimate: Vector = self._initial
        ports.learner.load(self._initial)
        self._fresh_learner = {name: array.copy() for name, array in ports.learner.state().items()}
        self._last: Message | None = None  # the last message signed, on disk before anybody sees it
        self._update: Cid | None = None  # the update that the own replica stands for
        self._replica: Vector | None = None
        self._since_keyframe = 0
        self._keyframe_time = 0
        self._merged: dict[bytes, Cid] = {}  # replicas that the weights already contain
        self._patience = _PATIENCE
        self._accused: set[bytes] = set()
        self._last_prune = ports.clock.now()
        self._restore()

    # -- the tick

    def tick(self) -> Tick:
        """Hear, merge, train, publish: as much of it as can be done now, and return soon."""
        heard = self.hear()
        if not self._is_rooted() and not self._take_root():
            return Tick(heard, 0, Trained(0, 0, 0.0), None)
        merged = self._merge()
        trained = self._train()
        published = self._publish_update(trained)
        self.replication.announce()
        self._prune()
        self._ports.monitor.report(self.status())
        return Tick(heard, merged, trained, published)

    def hear(self) -> int:
        """Take in messages and frames; returns how many messages were attached."""
        outcome = self.replication.hear()
        self._note(outcome)
        self.following.advance(self.author, self._ports.clock.now())
        return len(outcome.attached)

    def estimate(self) -> Vector:
        """The consensus estimate (count,): what this peer uses, shows and exports as the swarm's model."""
        return self._estimate

    def save(self) -> None:
        """Save weights and optimiser too, as before a planned stop."""
        if self._last is not None:
            self._save(self._last)

    # -- hear

    def _note(self, outcome: Outcome) -> None:
        for message in outcome.attached:
            self.following.note(message)
            if isinstance(message.body, Join):
                self.names[message.author] = message.body
        for equivocation in outcome.equivocations:
            self._accuse(equivocation)

    def _accuse(self, found: Equivocation) -> None:
        if found.author == self.author:
            raise StateError(
                "this peer's key is used by two processes or two copies of its state",
                "remove one copy, and join again under a new name",
            )
        if found.author not in self._accused and self._is_rooted():
            self._accused.add(found.author)
            self._publish(Evidence(found.author, found.first, found.second).to_fields())

    def _is_rooted(self) -> bool:
        """Whether the own last message is attached; a peer must not speak before it is."""
        return self._last is None or self._last.cid in self.tangle

    def _take_root(self) -> bool:
        """Wait for the past of the own last message; when it is lost everywhere, go on without it."""
        assert self._last is not None
        self._patience -= 1
        if self._patience > 0:
            return False
        self._note(self.replication.add_own(self._last, rooted=True))
        return self._is_rooted()

    # -- merge

    def _merge(self) -> int:
        """Move the weights towards the replicas if any is new; returns how many are."""
        replicas = self.following.replicas
        new = [author for author, replica in replicas.items() if self._merged.get(author) != replica.cid]
        if not new:
            return 0
        votes = self._votes(replicas)
        learner = self._ports.learner
        learner.load(merge(learner.weights(), votes, self.manifest.merge))
        self._merged = {author: replica.cid for author, replica in replicas.items()}
        return len(new)

    def _votes(self, replicas: Mapping[bytes, Replica]) -> list[Vote]:
        votes = [replica.vote() for replica in replicas.values()]
        own = self.following.news.get(self.author)
        if self._replica is not None and own is not None:
            votes.append(Vote(self._replica, own.update.samples, own.time))
        return votes

    # -- train

    def _train(self) -> Trained:
        trained = self._ports.learner.train(self._options.steps or self.manifest.training.steps)
        if trained.steps:
            self.steps += trained.steps
            self.loss = trained.loss
        return trained

    # -- publish

    def _publish_update(self, trained: Trained) -> Cid | None:
        if self._last is None:
            self._publish(Join(self._options.name, self._options.role, learnae.__version__).to_fields())
        if not trained.steps or not self._may_speak():
            return None
        try:
            return self._publish_frame(trained)
        except FrameError as error:
            self.problems.count(error)
            self._start_over()
            return None

    def _publish_frame(self, trained: Trained) -> Cid:
        now = self._ports.clock.now()
        delta = self._update if self._may_send_delta(now) else None
        frame = encode_frame(self._ports.learner.weights(), self._replica, delta, self.manifest.codec)
        blocks = tuple(self._ports.store.put(RAW, block) for block in frame.blocks)
        self._replica = frame.replica
        self._estimate = self._consensus(trained.rows, now)
        self.metrics = self._ports.learner.evaluate(self._estimate)
        if frame.header.kind == KEY:
            self._since_keyframe, self._keyframe_time = 0, now
        self._since_keyframe += 1
        traffic = self.replication.traffic
        traffic.bytes_out += sum(map(len, frame.blocks))
        body = Update(
            frame=frame.header,
            steps=self.steps,
            samples=trained.rows,
            metrics=self.metrics,
            merged=tuple(dict.fromkeys(self._merged.values()))[: self.manifest.limits.merged],
            bytes_out=traffic.bytes_out,
            bytes_in=traffic.bytes_in,
        )
        message = self._publish(body.to_fields(), blocks, is_update=True)
        return message.cid

    def _may_send_delta(self, now: int) -> bool:
        """Keyframes come often enough that a newcomer finds one within the horizon."""
        old = now - self._keyframe_time > self.manifest.limits.horizon // 2
        return self._since_keyframe < self.manifest.codec.every and not old

    def _consensus(self, samples: int, now: int) -> Vector:
        assert self._replica is not None
        own = Vote(self._replica, samples, now)
        others = [replica.vote() for replica in self.following.replicas.values()]
        return consensus([*others, own], self.manifest.merge.half_life)

    def _may_speak(self) -> bool:
        """Whether the next message would be dated near enough to this machine's clock."""
        now = self._ports.clock.now()
        parents = self.tangle.parents_for(self.author, now)
        return self.tangle.time_for(self.author, parents, now) <= now + self.manifest.limits.skew // 2

    def _publish(self, body: Mapping[str, Any], blocks: tuple[Cid, ...] = (), is_update: bool = False) -> Message:
        """Sign, save, store, attach: in this order, so that a crash never makes one seq mean two things."""
        now = self._ports.clock.now()
        parents = self.tangle.parents_for(self.author, now)
        message = compose(
            self._identity,
            self.swarm,
            seq=self._last.seq + 1 if self._last else 0,
            parents=parents,
            time=self.tangle.time_for(self.author, parents, now),
            body=body,
            blocks=blocks,
        )
        if is_update:
            self._update = message.cid
        self._save(message)
        self._last = message
        self.replication.traffic.bytes_out += len(message.data)
        self._note(self.replication.add_own(message))
        return message

    def _start_over(self) -> None:
        """Own training has diverged: go on from what the swarm believes."""
        self._ports.learner.restore(self._fresh_learner)
        replicas = self.following.replicas
        votes = self._votes(replicas)
        self._ports.learner.load(consensus(votes, self.manifest.merge.half_life) if votes else self._initial)

    # -- state

    def _save(self, message: Message) -> None:
        traffic, learner = self.replication.traffic, self._ports.learner
        state = PeerState(
            swarm=self.swarm,
            message=message.data,
            update=self._update,
            since_keyframe=self._since_keyframe,
            keyframe_time=self._keyframe_time,
            steps=self.steps,
            bytes_out=traffic.bytes_out,
            bytes_in=traffic.bytes_in,
            weights=learner.weights(),
            replica=self._replica,
            estimate=self._estimate,
            learner=learner.state(),
        )
        self._ports.state.save(state.to_bytes())

    def _restore(self) -> None:
        data = self._ports.state.load()
        if data is None:
            self._find_own_past()
            return
        state = PeerState.from_bytes(data)
        if state.swarm != self.swarm:
            raise StateError(f"the saved state belongs to swarm {state.swarm}", "use another state directory")
        self._ports.learner.restore(state.learner)
        self._ports.learner.load(state.weights)
        self._update, self._replica, self._estimate = state.update, state.replica, state.estimate
        self._since_keyframe, self._keyframe_time = state.since_keyframe, state.keyframe_time
        self.steps = state.steps
        traffic = self.replication.traffic
        traffic.bytes_out, traffic.bytes_in = state.bytes_out, state.bytes_in
        self._last = open_message(state.message, self.swarm, self.manifest.limits)
        try:
            self._note(self.replication.add_own(self._last))
        except FutureError as error:  # the clock was set back: hear first, then go on where it was
            self.problems.count(error)

    def _find_own_past(self) -> None:
        """Without a state, others may still hold messages of this key: continue their chain."""
        self.hear()
        newest = self.tangle.newest_of(self.author)
        if newest is not None:
            data = self._ports.store.get(newest)
            self._last = open_message(data, self.swarm, self.manifest.limits)

    def _prune(self) -> None:
        now = self._ports.clock.now()
        if now - self._last_prune < self.manifest.limits.horizon // 16:
            return
        self._last_prune = now
        keep = [self._last.cid] if self._last else []
        self._ports.store.delete(self.tangle.prune(now, keep))

    # -- what people see

    def status(self) -> dict[str, Any]:
        """A plain map for people and monitors; accuracy and loss as in bodies.Metrics."""
        metrics = self.metrics
        return {
            "peer": peer_name(self.author),
            "name": self._options.name,
            "role": self._options.role,
            "software": learnae.__version__,
            "swarm": str(self.swarm),
            "time": self._ports.clock.now(),
            "seq": self._last.seq if self._last else None,
            "steps": self.steps,
            "training_loss": self.loss,
            "loss": metrics.loss if metrics else None,
            "accuracy": metrics.accuracy if metrics else None,
            "holdout_rows": metrics.rows if metrics else 0,
            "peers": len(self.following.live(self._ports.clock.now())),
            "following": len(self.following.replicas),
            "messages": len(self.tangle),
            "bytes_out": self.replication.traffic.bytes_out,
            "bytes_in": self.replication.traffic.bytes_in,
            "problems": dict(self.problems.counts),
            "last_problems": dict(self.problems.last),
            **self._options.facts,
        }
