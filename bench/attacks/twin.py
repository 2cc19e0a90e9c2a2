"""The swarm as plain rounds: each peer trains, publishes, judges, merges. The rules are the product's own.

No chain or network, and frames only where they are asked for: a table of attacks takes minutes where the simulator
takes hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.peer.frame_encoder import FrameEncoder
from learnae.peer.learning.jury import CappedLoss
from learnae.privacy.clipping import NormClip
from learnae.protocol.messages import Message
from learnae.simulation.attacks import HONEST, Knowledge, adapt, flipped, forge
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.frames import FramePolicy
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import JUDGED, MergePolicy, Vote, merge
from learnae.weights.momentum import FREE, LossOf, Momentum

LABEL_FLIP = "label-flip"  # told with data
_ROUND_MS = 1000
_OLD = 3  # round whose weights a stale liar publishes for ever
_SEED = 7


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows (n, columns) and their classes (n,)."""

    rows: NDArray[np.float32]
    classes: NDArray[np.int64]


Proxy = Callable[[Sequence[Rows], np.random.Generator], Rows]


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: ``people`` train, the last ``liars`` of them lie as ``attack`` says; ``rule`` is mean or judged.

    ``proxy`` draws the rows that replicas are judged on, from what people's rows are summarised as. ``absent`` leaves
    the liars and their data away: what honest peers would reach then. Each hears ``hears`` others, drawn anew in each
    round; 0 for all. Liars that are ``adaptive`` lie as much as a judge lets through. With ``frames`` others have what
    is decoded of what is said, in place of the weights themselves; merges go ``step`` of the way, and on from there
    with ``momentum``. The mean accuracy of the honest is noted after each number of rounds among ``marks``.
    """

    manifest: Manifest
    people: Sequence[Rows]
    test: Rows
    proxy: Proxy
    attack: str = HONEST
    liars: int = 0
    rule: str = JUDGED
    rounds: int = 60
    seed: int = _SEED
    absent: bool = False
    hears: int = 0
    adaptive: bool = False
    frames: FramePolicy | None = None
    step: float = 1.0
    momentum: float = FREE
    marks: tuple[int, ...] = ()
    policy: JudgingPolicy = field(default_factory=JudgingPolicy)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracy of what each honest peer merges at the end, shares of judgements that muted honest peers, and liars.

    ``still`` is the share that muted honest peers as they moved too little; ``course`` the mean accuracy at each mark;
    ``frame_bytes`` those of an update, keyframes included.
    """

    accuracies: NDArray[np.float64]
    honest_muted: float
    liars_muted: float
    still: float = 0.0
    course: Mapping[int, float] = field(default_factory=dict)
    frame_bytes: float = 0.0


def run(trial: Trial) -> Outcome:
    """Train, publish, judge and merge, ``rounds`` times."""
    rng = np.random.default_rng(trial.seed)
    count = len(trial.people)
    lying = set(rng.permutation(count)[: trial.liars].tolist())
    people = [rows for index, rows in enumerate(trial.people) if not (trial.absent and index in lying)]
    lying = set() if trial.absent else lying
    manifest, classes = trial.manifest, trial.manifest.class_count
    shown = [_flipped(rows, classes) if index in lying else rows for index, rows in enumerate(people)]
    trained = shown if trial.attack == LABEL_FLIP else people
    learners = [_learner(manifest, rows, rng) for rows in trained]
    judges = [_judge(manifest.definition, trial, shown, rng) for _ in people]
    ways = [Way(Momentum(trial.momentum, manifest.merge.half_life)) for _ in people]
    base = manifest.definition.initial(manifest.seed)
    old, muted = base, {False: Tally(), True: Tally()}
    authors, course = [FrameAuthor(trial.frames) for _ in people], {}
    for number in range(trial.rounds):
        now = number * _ROUND_MS
        for learner in learners:
            learner.train(manifest.training.steps)
        own = [learner.weights() for learner in learners]
        honest = [vector for index, vector in enumerate(own) if index not in lying]
        said = list(own)
        for index in lying:
            lie = _said(trial, Knowledge(own[index], honest, base, old, rng))
            said[index] = adapt(lie, honest, judges[index].loss_of, len(lying)) if trial.adaptive else lie
        said = [author.publish(vector, now) for author, vector in zip(authors, said, strict=True)]
        votes = [Vote(vector, len(rows.rows), now, False) for vector, rows in zip(said, people, strict=True)]
        if number == _OLD:
            old = np.mean(honest, axis=0).astype(np.float32)
        merged = []
        for index, learner in enumerate(learners):
            near = [other for other in range(len(people)) if other != index]
            if trial.hears:
                near = sorted(rng.choice(near, trial.hears, replace=False).tolist())
            others = {bytes([other]): votes[other] for other in near}
            mine = Vote(own[index], len(people[index].rows), now, False)
            kept = list(others)
            if trial.rule == JUDGED and index not in lying:
                judgement = judges[index].judge(mine, others, manifest.merge.half_life, now)
                kept = list(judgement.kept)
                for other in others:
                    muted[other[0] in lying].note(judgement.muted.get(other, ""))
            heard = [votes[index] if trial.frames else mine, *(others[key] for key in kept)]
            result = merge(own[index], heard, MergePolicy(trial.step), now)
            start = ways[index].go_on(own[index], result, kept, others, now)
            judges[index].note_own(start)
            learner.load(start)
            if index not in lying:
                merged.append(result)
        base = np.mean(merged, axis=0).astype(np.float32)
        if number + 1 in (*trial.marks, trial.rounds):
            accuracies = np.array([_accuracy(manifest.definition, vector, trial.test) for vector in merged])
            course[number + 1] = float(accuracies.mean())
    put_out = float(np.mean([author.bytes for author in authors])) / trial.rounds
    return Outcome(accuracies, muted[False].share, muted[True].share, muted[False].still_share, course, put_out)


@dataclass(eq=False)
class Way:
    """Where a peer's merges have gone, ``merged`` by the last one (as learnae.peer.learning.merging goes on)."""

    momentum: Momentum
    merged: set[bytes] = field(default_factory=set)

    def go_on(
        self,
        own: Vector,
        result: Vector,
        kept: Sequence[bytes],
        heard: Mapping[bytes, Vote],
        now: int,
        loss_of: LossOf = lambda _: None,
    ) -> Vector:
        """Return what the next phase of training begins with."""
        before, self.merged = self.merged, set(kept)
        gone = before - self.merged
        fresh = not gone.isdisjoint(heard) or 2 * len(gone) > len(before)
        return self.momentum.go_on(own, result, len(kept), now, loss_of, fresh, young=True)


@dataclass(eq=False)
class Tally:
    """Counts judgements, those that mute, and those that do so as a replica moves too little."""

    asked: int = 0
    muted: int = 0
    still: int = 0

    def note(self, why: str) -> None:
        """Count one judgement: why it mutes, empty if it does not."""
        self.asked += 1
        self.muted += bool(why)
        self.still += "has moved" in why

    @property
    def share(self) -> float:
        """Return how many of the judgements mute."""
        return self.muted / max(self.asked, 1)

    @property
    def still_share(self) -> float:
        """Return how many of the judgements mute what moves too little."""
        return self.still / max(self.asked, 1)


class FrameAuthor:
    """Says weights as frames, as a peer does, and counts their ``bytes``; as they are without a policy."""

    def __init__(self, policy: FramePolicy | None) -> None:
        self._encoder = FrameEncoder(policy) if policy else None
        self.bytes = 0

    def publish(self, weights: Vector, now: int) -> Vector:
        """Return what others have (n,) after the next frame of ``weights``."""
        if self._encoder is None:
            return weights
        frame = self._encoder.encode(weights, 1, now)
        self._encoder.published(cast(Message, _Update(now)), frame, settled=False)
        self.bytes += sum(map(len, frame.blocks))
        return frame.replica


class _Update(NamedTuple):
    """What an encoder takes of the message that announces a frame."""

    time: int
    cid: Cid = Cid.of(DAG_CBOR, b"an update")
    data: bytes = bytes(500)


def _said(trial: Trial, known: Knowledge) -> Vector:
    return forge(HONEST if trial.attack == LABEL_FLIP else trial.attack, known)


def _learner(manifest: Manifest, rows: Rows, rng: np.random.Generator) -> NumpyLearner:
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows.rows, rows.classes)
    own = np.random.default_rng(rng.integers(2**63))
    learner = NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, own, NormClip()
    )
    learner.load(manifest.definition.initial(manifest.seed))
    return learner


def _judge(model: ModelDefinition, trial: Trial, shown: Sequence[Rows], rng: np.random.Generator) -> Judge:
    own = np.random.default_rng(rng.integers(2**63))
    return judge_on(trial.proxy(shown, own), model, trial.manifest.class_count, own, trial.policy)


def judge_on(
    proxy: Rows, model: ModelDefinition, classes: int, rng: np.random.Generator, policy: JudgingPolicy
) -> Judge:
    """Return a judge of the weights of ``model`` by their losses on ``proxy``, as a peer has one."""
    loss = CappedLoss(model, proxy.rows, proxy.classes, classes)
    return Judge(loss, policy, rng=rng, losses_of=loss.of_each)


def _flipped(rows: Rows, classes: int) -> Rows:
    return Rows(rows.rows, flipped(rows.classes, classes).astype(np.int64))


def _accuracy(model: ModelDefinition, weights: Vector, test: Rows) -> float:
    output = predict(model, weights, test.rows)
    return float(np.mean(output.argmax(axis=1) == test.classes))
