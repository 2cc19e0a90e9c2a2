"""The swarm as plain rounds: each peer trains, publishes, judges, merges. The rules are the product's own.

No chain, codec or network: a table of attacks takes minutes where the simulator takes hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.peer.learning.jury import CappedLoss
from learnae.privacy.clipping import NormClip
from learnae.simulation.attacks import HONEST, Knowledge, adapt, flipped, forge
from learnae.swarm.manifest import Manifest
from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import JUDGED, MergePolicy, Vote, merge

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
    round; 0 for all. Liars that are ``adaptive`` lie as much as a judge lets through.
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
    policy: JudgingPolicy = field(default_factory=JudgingPolicy)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Accuracy of each honest peer at the end, and the shares of judgements that muted honest peers, and liars."""

    accuracies: NDArray[np.float64]
    honest_muted: float
    liars_muted: float


def run(trial: Trial) -> Outcome:
    """Train, publish, judge and merge, ``rounds`` times."""
    rng = np.random.default_rng(trial.seed)
    count = len(trial.people)
    lying = set(rng.permutation(count)[: trial.liars].tolist())
    if trial.absent:
        people = [rows for index, rows in enumerate(trial.people) if index not in lying]
        lying = set()
    else:
        people = list(trial.people)
    manifest, classes = trial.manifest, trial.manifest.class_count
    shown = [_flipped(rows, classes) if index in lying else rows for index, rows in enumerate(people)]
    trained = shown if trial.attack == LABEL_FLIP else people
    learners = [_learner(manifest, rows, rng) for rows in trained]
    judges = [_judge(manifest.definition, trial, shown, rng) for _ in people]
    base = manifest.definition.initial(manifest.seed)
    old, muted = base, {False: [0, 0], True: [0, 0]}
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
                    tally = muted[other[0] in lying]
                    tally[0] += other in judgement.muted
                    tally[1] += 1
            result = merge(own[index], [mine, *(others[key] for key in kept)], MergePolicy(), now)
            judges[index].note_own(result)
            learner.load(result)
            if index not in lying:
                merged.append(result)
        base = np.mean(merged, axis=0).astype(np.float32)
    accuracies = [_accuracy(manifest.definition, vector, trial.test) for vector in merged]
    shares = {who: tally[0] / max(tally[1], 1) for who, tally in muted.items()}
    return Outcome(np.array(accuracies), shares[False], shares[True])


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
    proxy, classes = trial.proxy(shown, own), trial.manifest.class_count

    loss = CappedLoss(model, proxy.rows, proxy.classes, classes)
    return Judge(loss, trial.policy, rng=own, losses_of=loss.of_each)


def _flipped(rows: Rows, classes: int) -> Rows:
    return Rows(rows.rows, flipped(rows.classes, classes).astype(np.int64))


def _accuracy(model: ModelDefinition, weights: Vector, test: Rows) -> float:
    output = predict(model, weights, test.rows)
    return float(np.mean(output.argmax(axis=1) == test.classes))
