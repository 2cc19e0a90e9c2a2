"""The peer: one tick = hear, merge, train, publish. Talks only to ports; knows no role."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import learnae
from learnae.error_log import ErrorLog
from learnae.errors import EquivocationError, FrameError, NotWrittenError, StateError
from learnae.ipld.cid import RAW, Cid
from learnae.peer.following import Following
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.merging import Merging
from learnae.peer.own_chain import OwnChain
from learnae.peer.rejoining import RejoinGuard
from learnae.peer.replication import Opener, Replicator
from learnae.peer.state import PeerState
from learnae.ports import BlockStore, Clock, Gossip, Learner, Monitor, StateStore, Trained
from learnae.protocol.bodies import Evidence, Join, Metrics, Summary, Update
from learnae.protocol.identity import Identity, peer_name
from learnae.protocol.messages import Message, open_message
from learnae.protocol.tangle import Equivocation, Outcome
from learnae.samples.dp_statistics import Statistics, next_summary
from learnae.swarm.initial_weights import starting_weights
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.frames import Frame
from learnae.weights.merge import Vote

_PRUNINGS = 16  # in a horizon
_LATELY = 2 * _PRUNINGS  # part of a horizon: at the first pruning, what was read at the start was not read lately
_RECALL = 60_000  # ms: who has been here before has heard its own past by then


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
    optimiser steps are taken between two merges, 0 for as many as the manifest says. ``facts`` gives
    what only the role knows, such as the device that trains: shown in the status as it is.
    ``statistics`` gives what this peer summarises instead of training; None while it trains. ``announcements``
    counts those heard from other machines, None if there are none; ``is_back`` says that this peer has been
    here before, also if nothing is left of its state (Listening).
    """

    name: str
    role: str
    follow: int
    seed: int | None = None
    steps: int = 0
    facts: Callable[[], Mapping[str, Any]] = dict
    statistics: Callable[[], Statistics | None] = lambda: None
    announcements: Callable[[], int] | None = None
    is_back: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did: messages attached, replicas merged, training, and the name of the update or summary."""

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
        errors: ErrorLog | None = None,
    ) -> None:
        self.author = identity.author
        self.manifest = manifest
        self.swarm = manifest.swarm
        self.metrics: Metrics | None = None
        self.loss: float | None = None
        self.steps = 0
        self._ports = ports
        self._options = options
        rng = random.Random(options.seed)
        self.replication = Replicator(
            self.swarm, manifest.limits, ports.store, ports.gossip, ports.clock, rng, opener, errors
        )
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
        self._has_start = False
        self._own = OwnChain(identity, self.replication, manifest.limits, ports.clock)
        self._listening = RejoinGuard(ports.clock, options.announcements)
        self._frames = FrameEncoder(manifest.codec, manifest.limits.horizon, phase=self.author[0])
        self._merging = Merging(self.author, manifest, ports.learner, self.following, self._frames)
        self._introduced = 0  # when, in Unix ms
        self._summary: Summary | None = None  # the own last one
        self._summary_time = 0
        self._accused: set[bytes] = set()
        self._to_accuse: dict[bytes, Equivocation] = {}
        self._unwritable: dict[str, Any] | None = None
        self._last_prune = ports.clock.now()
        self._find_start()
        self._restore()

    # -- the tick

    def tick(self) -> Tick:
        """Hear, merge, train, publish: as much of it as can be done now, and return soon."""
        heard = self.hear()
        try:
            may_begin = self._may_begin()
        except NotWrittenError:
            self._bide(heard)  # what is saved cannot be shown
            raise
        self._check_key()
        if not may_begin:
            return self._bide(heard)
        self._introduce()
        self._accuse()
        merged = self._merging.merge()
        trained = self._train()
        published = self._publish_update(trained) if trained.steps else self._go_without_training(merged)
        self.replication.announce()
        self._prune()
        self._ports.monitor.report(self.status())
        return Tick(heard, merged, trained, published)

    def hear(self) -> int:
        """Take in messages and frames; returns how many messages were attached."""
        outcome = self.replication.hear()
        self._note(outcome)
        self._listening.note(self.replication.oldest)
        self.following.advance(self.author, self._ports.clock.now())
        return len(outcome.attached)

    def listen(self) -> int:
        """Between two ticks: hear, and pass on what is new; returns how many messages were attached.

        What is heard between ticks is a tick younger when it is merged, at every hop.
        """
        heard = self.hear()
        if heard:
            self.replication.announce()
        return heard

    def endure(self, error: NotWrittenError) -> None:
        """The disk took nothing: nothing is published until it does, and people see why."""
        self.problems.count(error)
        since = self._unwritable["since"] if self._unwritable else self._ports.clock.now()
        self._unwritable = {"since": since, "error": str(error)}
        self._ports.monitor.report(self.status())

    def estimate(self) -> Vector:
        """The consensus estimate (count,): what this peer uses, shows and exports as the swarm's model."""
        return self._merging.estimate.vector

    def save(self) -> None:
        """Save weights and optimiser too, as before a planned stop."""
        if self._own.last is not None:
            self._save(self._own.last)

    # -- hear

    def _note(self, outcome: Outcome) -> None:
        for message in outcome.attached:
            self.following.note(message)
            if isinstance(message.body, Join):
                self.names[message.author] = message.body
            if message.author == self.author:
                self._note_own(message)
        for equivocation in outcome.equivocations:
            self._to_accuse.setdefault(equivocation.author, equivocation)

    def _note_own(self, message: Message) -> None:
        if isinstance(message.body, Update):  # of a later time than a state from a backup
            self.steps = max(self.steps, message.body.steps)
            traffic = self.replication.traffic
            traffic.bytes_out = max(traffic.bytes_out, message.body.bytes_out)
            traffic.bytes_in = max(traffic.bytes_in, message.body.bytes_in)
        if isinstance(message.body, Join):
            self._introduced = message.time
        if isinstance(message.body, Evidence):
            self._accused.add(message.body.author)
        if isinstance(message.body, Summary) and message.time > self._summary_time:
            self._summary, self._summary_time = message.body, message.time

    def _may_begin(self) -> bool:
        """Whether this peer may speak: it knows where all start, and its last message is attached or given up."""
        if not self._has_start and not self._find_start():
            return False
        before = self._own.last
        if self._listening.goes_on(before is not None) or not self._own.catch_up(self._ports.store):
            return False
        if self._own.last is not before:
            self._frames.forget()
        if not self._own.is_rooted():
            outcome = self._own.wait_for_root()
            if outcome is not None:
                self._note(outcome)
        return self._own.is_rooted()

    def _bide(self, heard: int) -> Tick:
        """Learn while nothing may or can be published."""
        if not self._has_start:
            return Tick(heard, 0, Trained(0, 0, 0.0), None)
        merged = self._merging.merge()
        if merged:
            self._merging.believe(None, self._ports.clock.now())
        tick = Tick(heard, merged, self._train(), None)
        if self._listening.since is not None:  # that may take minutes
            self.save()
        self._ports.monitor.report(self.status())
        return tick

    def _find_start(self) -> bool:
        """Load the swarm's starting weights, unless they are still on their way."""
        start = starting_weights(self.manifest, self._ports.store)
        if start is None:
            return False
        self._has_start, self._merging.start = True, start
        if self._own.last is None:
            self._merging.begin()
        return True

    # -- train

    def _train(self) -> Trained:
        trained = self._ports.learner.train(self._options.steps or self.manifest.training.steps)
        if trained.steps:
            self.steps += trained.steps
            self.loss = trained.loss
        return trained

    # -- publish

    def _check_key(self) -> None:
        """Raise EquivocationError if two messages of this peer have one seq: whatever it says, nobody hears it."""
        if self.author in self._to_accuse:
            raise EquivocationError

    def _introduce(self) -> None:
        """Say who this is, first and so often that whoever comes finds it within the horizon."""
        age = self._ports.clock.now() - self._introduced
        if self._own.last is None or (age >= self.manifest.limits.horizon // 2 and self._own.may_speak()):
            self._publish(Join(self._options.name, self._options.role, learnae.__version__).to_fields())

    def _accuse(self) -> None:
        """Publish evidence against each equivocating author, once."""
        for author in [author for author in self._to_accuse if self._own.may_speak()]:
            found = self._to_accuse[author]
            if author not in self._accused:
                self._publish(Evidence(author, found.first, found.second).to_fields())
            del self._to_accuse[author]  # not before: the disk may have taken nothing

    def _publish_update(self, trained: Trained) -> Cid | None:
        if not self._own.may_speak():
            return None
        now = self._ports.clock.now()
        try:
            frame = self._frames.encode(self._ports.learner.weights(), now)
        except FrameError as error:
            self.problems.count(error)
            self._merging.start_over()
            return None
        self._merging.believe(Vote(frame.replica, trained.rows, now), now)
        metrics = self._ports.learner.evaluate(self._merging.estimate.vector)
        self.metrics = metrics.bounded() if metrics else None
        try:
            return self._publish_frame(frame, trained.rows)
        except NotWrittenError:
            self._frames.give_up()
            raise

    def _go_without_training(self, merged: int) -> Cid | None:
        if merged:
            self._merging.believe(None, self._ports.clock.now())
        statistics = self._options.statistics()
        if statistics is None or not self._own.may_speak():
            return None
        age = self._ports.clock.now() - self._summary_time
        found = next_summary(statistics, self._summary, age, self.manifest.limits.horizon)
        return self._publish(found.to_fields()) if found else None

    def _publish_frame(self, frame: Frame, samples: int) -> Cid:
        blocks = tuple(self._ports.store.put(RAW, block) for block in frame.blocks)
        traffic = self.replication.traffic
        traffic.bytes_out += sum(map(len, frame.blocks))
        body = Update(
            frame=frame.header,
            steps=self.steps,
            samples=samples,
            metrics=self.metrics,
            merged=tuple(self._merging.unsaid),
            bytes_out=traffic.bytes_out,
            bytes_in=traffic.bytes_in,
        )
        published = self._publish(body.to_fields(), blocks, is_update=True)
        self._merging.unsaid.clear()
        return published

    def _publish(self, body: Mapping[str, Any], blocks: tuple[Cid, ...] = (), is_update: bool = False) -> Cid:
        message = self._own.compose(body, blocks)
        if is_update:
            self._frames.update = message.cid
        self._save(message)
        self._note(self._own.show(message))
        self._unwritable = None
        return message.cid

    # -- state

    def _save(self, message: Message) -> None:
        traffic, learner, frames = self.replication.traffic, self._ports.learner, self._frames
        state = PeerState(
            swarm=self.swarm,
            message=message.data,
            update=frames.update,
            since_keyframe=frames.since_keyframe,
            keyframe_time=frames.keyframe_time,
            steps=self.steps,
            bytes_out=traffic.bytes_out,
            bytes_in=traffic.bytes_in,
            weights=learner.weights(),
            replica=frames.replica,
            estimate=self._merging.estimate.vector,
            learner=learner.state(),
        )
        self._ports.state.save(state.to_bytes())

    def _restore(self) -> None:
        data = self._ports.state.load()
        if data is None:
            if self._options.is_back:
                self._listening.come_back(spoke=0)
            return
        state = PeerState.from_bytes(data)
        if state.swarm != self.swarm:
            raise StateError(f"the saved state belongs to swarm {state.swarm}", "give this peer another name")
        if state.learner:  # a peer that has only sent summaries has none
            self._ports.learner.restore(state.learner)
        self._ports.learner.load(state.weights)
        frames, traffic = self._frames, self.replication.traffic
        frames.update, frames.replica = state.update, state.replica
        frames.since_keyframe, frames.keyframe_time = state.since_keyframe, state.keyframe_time
        traffic.bytes_out, traffic.bytes_in = state.bytes_out, state.bytes_in
        self.steps, self._merging.estimate.vector = state.steps, state.estimate
        self._note(self._own.resume(state.message))
        assert self._own.last is not None
        if not self._introduced:
            self._introduced = self._ports.clock.now() + _RECALL - self.manifest.limits.horizon // 2
        self._listening.come_back(self._own.last.time)

    def _prune(self) -> None:
        now = self._ports.clock.now()
        if now - self._last_prune < self.manifest.limits.horizon // _PRUNINGS:
            return
        self._last_prune = now
        keep = [self._own.last.cid] if self._own.last else []
        # another peer of this machine that has used one lately knows it, and forgets it itself
        self._ports.store.delete(self.tangle.prune(now, keep), unused_for=self.manifest.limits.horizon // _LATELY)
        self.names = {author: join for author, join in self.names.items() if self.tangle.newest_of(author)}

    # -- what people see

    def status(self) -> dict[str, Any]:
        """A plain map for people and monitors; accuracy and loss as in bodies.Metrics.

        ``unwritable`` says since when (Unix milliseconds) and why nothing can be saved, and thus published;
        ``listening`` since when it has heard others before it speaks; ``banned`` that its key has equivocated.
        """
        metrics = self.metrics
        return {
            "peer": peer_name(self.author),
            "name": self._options.name,
            "role": self._options.role,
            "software": learnae.__version__,
            "swarm": str(self.swarm),
            "time": self._ports.clock.now(),
            "seq": self._own.last.seq if self._own.last else None,
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
            "unwritable": self._unwritable,
            "listening": self._listening.since,
            "banned": self.author in self._to_accuse,
            "problems": dict(self.problems.counts),
            "last_problems": dict(self.problems.last),
            **self._options.facts(),
        }
