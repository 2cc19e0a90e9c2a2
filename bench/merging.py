"""Outer momentum: what it gains and where it loses, with the product's learner, judge, merge and frames.

Peers take turns in plain memory: merge, train, publish. Runs of one seed differ by the momentum alone. What is reached
is that of the consensus of all, the mean over the last fifth of a run; and after a quarter of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.attacks.table import proxy_of
from bench.attacks.twin import Rows, Way, judge_on
from bench.harness import AT_LEAST, Race, in_processes
from bench.rigs.race_table import make_table
from bench.swarms import held_out, load_people
from learnae.ipld.cid import RAW, Cid
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.privacy.clipping import NormClip
from learnae.swarm.manifest import Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config, preset
from learnae.weights.codecs import Vector
from learnae.weights.frames import encode_frame
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import JUDGED, MEAN, MergePolicy, Vote, consensus, merge
from learnae.weights.momentum import Momentum

WRIST, RACE, SKEWED, VALUES = "wrist", "race", "race, rows unlike", "values"
RANDOM, ROBIN, AT_ONCE = "random", "round robin", "all at once"
TURNS, STEPS = "1 to 8 times as many turns", "1 to 8 times as many steps"
_BETAS = (0.3, 0.5)  # beside none; the second is bounded
_CHOSEN = 0.3
_SEEDS, _PEERS = 3, 8
_LOOKS = 20  # at the consensus, in one run
_TURN_MS = 1000
_PACES = (1, 1, 2, 2, 4, 4, 8, 8)  # of the peers in order: of orders of unlike speed
_UPDATE = Cid.of(RAW, b"the update that a delta stands on")
_POOLED_ROWS = 3000  # of values

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Course:
    """One kind of run: each peer takes so many ``turns`` of so many ``steps`` in some ``order``.

    What is merged is ``stale`` updates old, of so many others (``hears``; 0 for all), with ``noise`` as long as the own
    last phase times that; by which ``rule``, of so many ``peers``.
    """

    task: str = WRIST
    order: str = RANDOM
    steps: int = 26
    turns: int = 120
    stale: int = 0
    hears: int = 0
    noise: float = 0.0
    rule: str = MEAN
    peers: int = _PEERS

    @property
    def name(self) -> str:
        """Return what is unusual in it."""
        said = [self.task, f"{self.steps} steps", self.order]
        said += [f"{self.stale} updates old"] if self.stale else []
        said += [f"{self.hears} of {self.peers - 1} heard"] if self.hears else []
        said += [f"noise {self.noise:g}"] if self.noise else []
        said += [self.rule] if self.rule != MEAN else []
        return ", ".join(said + ([f"{self.peers} peers"] if self.peers != _PEERS else []))


COURSES = (
    Course(rule=JUDGED),
    Course(SKEWED, RANDOM, 98, 24, rule=JUDGED),
    Course(order=ROBIN, rule=JUDGED),
    Course(order=STEPS, rule=JUDGED),
    Course(RACE, ROBIN, 98, 24),
    Course(VALUES),
    Course(steps=104, turns=40, rule=JUDGED),
    Course(stale=2),
    Course(hears=3, rule=JUDGED),
    Course(steps=6, turns=300, rule=JUDGED),
    Course(noise=1.0),
    Course(peers=32, order=ROBIN, turns=40),
    Course(order=TURNS, rule=JUDGED),
    Course(order=AT_ONCE, rule=JUDGED),
    Course(),
    Course(order=ROBIN),
    Course(SKEWED, ROBIN, 98, 24),
)
_QUICK = (Course(turns=8), Course(VALUES, ROBIN, turns=8, rule=MEAN))


@dataclass(frozen=True, slots=True)
class Reached:
    """Accuracy, or R2 of values, as shares of 1: after a ``quarter`` of the run, and at its ``end``."""

    quarter: float
    end: float


def run(race: Race) -> None:
    """Run each course with no momentum and with some, from the same seeds; ``race.part`` names a task or an order."""
    courses = [each for each in (_QUICK if race.quick else COURSES) if race.part in each.name]
    seeds, betas = (1, _BETAS[:1]) if race.quick else (_SEEDS, _BETAS)
    tasks = [(course, beta, seed) for course in courses for seed in range(seeds) for beta in (0.0, *betas)]
    found = in_processes(race, "swarms, with momentum and without", reach, tasks)
    for course in courses:
        report(race, course, betas, {(beta, seed): each for (of, beta, seed), each in found.items() if of == course})


def report(race: Race, course: Course, betas: Sequence[float], found: Mapping[tuple[float, int], Reached]) -> None:
    """Say what a course reached, and hold the gains of the chosen momentum against their error."""
    seeds = sorted({seed for _, seed in found})
    race.figure(f"{course.name}: plain", 100 * float(np.mean([found[0.0, seed].end for seed in seeds])), "%")
    for beta in betas:
        gains = [100 * (found[beta, seed].end - found[0.0, seed].end) for seed in seeds]
        early = [100 * (found[beta, seed].quarter - found[0.0, seed].quarter) for seed in seeds]
        error = float(np.std(gains, ddof=1)) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
        race.figure(f"{course.name}: gain after a quarter, {beta:g}", float(np.mean(early)), "points")
        race.figure(f"{course.name}: gain, {beta:g}", float(np.mean(gains)), "points")
        race.figure(f"{course.name}: standard error of the gain, {beta:g}", error, "points")
        if beta == _CHOSEN:
            note = f"gain and two standard errors; {len(gains)} seeds"
            race.check(
                f"{course.name}: {beta:g} does not lose",
                float(np.mean(gains)) + 2 * error,
                0.0,
                AT_LEAST,
                "points",
                note,
            )


@dataclass(frozen=True, slots=True)
class Task:
    """``people``'s rows to train on and to hold out (for themselves), and the rows that all are tested on."""

    manifest: Manifest
    people: Sequence[tuple[Rows, Rows]]
    test: Rows


def task_of(name: str, peers: int) -> Task:
    """Return the rows of a task, shared out over so many peers."""
    if name == WRIST:
        return _wrist(peers)
    return _values(peers) if name == VALUES else _race(peers, name == RACE)


@cache
def _wrist(peers: int) -> Task:
    manifest = replace(preset("wrist", 1), merge=MergePolicy())
    people = load_people(manifest)
    shares = []
    for index in range(peers):
        person, number = people[index % len(people)], index // len(people)
        of = len(range(index % len(people), peers, len(people)))
        parts = [rows.share(number, of) for rows in (person.train, person.holdout)]
        shares.append(tuple(Rows(part.features, part.classes) for part in parts))
    exam = held_out(people)
    return Task(manifest, [(train, held) for train, held in shares], Rows(exam.features, exam.classes))


@cache
def _race(peers: int, alike: bool) -> Task:
    manifest = Manifest(
        "race", dense_config(27, (64, 64), 1, "sigmoid"), "binary_crossentropy", classes=("0", "1"),
        training=TrainingPolicy(batch=64), optimiser=OptimiserPolicy("adam", learning_rate=1e-3),
    )  # fmt: skip
    table = make_table(peers)
    people = []
    for part in table.iid if alike else table.skewed:
        cut = len(part.y) - min(500, len(part.y) // 10)
        people.append((Rows(part.x[:cut], part.y[:cut]), Rows(part.x[cut:], part.y[cut:])))
    return Task(manifest, people, Rows(table.test.x, table.test.y[:, None]))


@cache
def _values(peers: int) -> Task:
    """Return a curved function of eight columns; peers share its rows out by the first one."""
    manifest = Manifest(
        "values", dense_config(8, (32, 32), 1, "linear"), "mean_squared_error",
        optimiser=OptimiserPolicy("adam", learning_rate=2e-3),
    )  # fmt: skip
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((2 * _POOLED_ROWS, 8)).astype(np.float32)
    values = np.sin(1.5 * rows[:, 0]) + rows[:, 1] * rows[:, 2] + 0.5 * np.abs(rows[:, 3])
    values = (values + 0.3 * rng.standard_normal(len(rows))).astype(np.float32)[:, None]
    mine = np.argsort(rows[:_POOLED_ROWS, 0])
    people = []
    for part in np.array_split(mine, peers):
        held = np.arange(len(part)) % 5 == 0
        people.append(tuple(Rows(rows[part[which]], values[part[which]]) for which in (~held, held)))
    return Task(manifest, [(train, held) for train, held in people], Rows(rows[_POOLED_ROWS:], values[_POOLED_ROWS:]))


class Member:
    """One peer of a course: what it trains with, and what it has published of late."""

    def __init__(self, task: Task, course: Course, index: int, beta: float, seed: int) -> None:
        manifest, (train, held) = task.manifest, task.people[index]
        data = Dataset(manifest.model, manifest.objective)
        data.add(train.rows, train.classes)
        data.add(held.rows, held.classes, holdout=True)
        rng = np.random.default_rng([seed, index])
        self.samples = len(train.rows)
        pace = course.peers * float(_shares(course.peers)[index]) if course.order == STEPS else 1.0
        self.steps = max(1, round(pace * course.steps))
        self.learner = NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, NormClip()
        )
        self.learner.load(manifest.definition.initial(seed))
        self.way = Way(Momentum(beta, MergePolicy().half_life, self.learner.moments))
        self.start = self.learner.weights()  # of the last phase
        self.said: deque[Vector] = deque(maxlen=course.stale + 1)
        self.judge = _judge(task, seed, index) if course.rule == JUDGED else None
        self.near: list[int] = []

    @property
    def seen(self) -> Vector:
        """Return the weights that others have of this peer."""
        return self.said[0]

    def publish(self, manifest: Manifest) -> None:
        """Publish the weights as the next frame."""
        before = self.said[-1] if self.said else None
        frame = encode_frame(self.learner.weights(), before, _UPDATE, manifest.codec)
        self.said.append(frame.replica)

    def loss_of(self, weights: Vector) -> float | None:
        """Return the loss on the own held-out rows."""
        metrics = self.learner.evaluate(weights)
        return metrics.loss if metrics else None


def _judge(task: Task, seed: int, index: int) -> Judge:
    own = np.random.default_rng([seed, index, 1])
    proxy = proxy_of(task.manifest, [train for train, _ in task.people], own)
    return judge_on(proxy, task.manifest.definition, task.manifest.class_count, own, JudgingPolicy())


def reach(course: Course, beta: float, seed: int) -> Reached:
    """Run a course; return what the consensus of all reaches."""
    task, rng = task_of(course.task, course.peers), np.random.default_rng([seed, 9])
    members = [Member(task, course, index, beta, seed) for index in range(course.peers)]
    for member in members:
        member.learner.train(member.steps)
        member.publish(task.manifest)
    rounds = list(_rounds(course, rng))
    looks: list[float] = []
    every = max(1, len(rounds) // _LOOKS)
    with np.errstate(all="ignore"):  # of what has gone far off
        for number, turns in enumerate(rounds, 1):
            _round(task, course, members, turns, number * _TURN_MS, rng)
            if number % every == 0:
                looks.append(_score(task, members))
    return Reached(looks[len(looks) // 4 - 1], float(np.mean(looks[-max(1, len(looks) // 5) :])))


def _round(
    task: Task, course: Course, members: Sequence[Member], turns: Sequence[int], now: int, rng: np.random.Generator
) -> None:
    for index in turns:
        _turn(course, members, index, now, rng)
        if course.order != AT_ONCE:
            members[index].publish(task.manifest)
    for index in turns if course.order == AT_ONCE else ():
        members[index].publish(task.manifest)


def _rounds(course: Course, rng: np.random.Generator) -> Iterator[Sequence[int]]:
    """Give the order of turns, round after round; each has as many turns as there are peers."""
    for _ in range(course.turns):
        if course.order in (RANDOM, STEPS):
            yield rng.permutation(course.peers).tolist()
        elif course.order == TURNS:
            yield rng.choice(course.peers, course.peers, p=_shares(course.peers)).tolist()
        else:
            yield range(course.peers)


def _shares(peers: int) -> Doubles:
    paces = np.resize(_PACES, peers)
    return paces / paces.sum()


def _turn(course: Course, members: Sequence[Member], index: int, now: int, rng: np.random.Generator) -> None:
    """Let one peer merge and train; ``publish`` is next."""
    member = members[index]
    own, near = member.learner.weights(), _near(course, member, index, rng)
    length = course.noise * float(np.linalg.norm(own - member.start))
    others = {
        bytes([other]): Vote(_noisy(members[other].seen, length, rng), members[other].samples, now, settled=False)
        for other in near
    }
    kept = list(others)
    if member.judge:
        mine = Vote(own, member.samples, now, settled=False)
        kept = list(member.judge.judge(mine, others, MergePolicy().half_life, now).kept)
    votes = [Vote(member.said[-1], member.samples, now, settled=False), *(others[key] for key in kept)]
    merged = merge(own, votes, MergePolicy(), now, member.learner.moments)
    member.start = member.way.go_on(own, merged, kept, others, now, member.loss_of)
    if member.judge:
        member.judge.note_own(member.start)
    member.learner.load(member.start)
    member.learner.train(member.steps)


def _near(course: Course, member: Member, index: int, rng: np.random.Generator) -> list[int]:
    """Return whom a peer hears: all, or so many, one of whom is another at each turn."""
    others = [other for other in range(course.peers) if other != index]
    if not course.hears:
        return others
    if not member.near:
        member.near = rng.choice(others, course.hears, replace=False).tolist()
    member.near = [*member.near[1:], int(rng.choice([other for other in others if other not in member.near]))]
    return member.near


def _noisy(vector: Vector, length: float, rng: np.random.Generator) -> Vector:
    if not length:
        return vector
    noise = rng.standard_normal(len(vector)).astype(np.float32)
    return vector + noise * np.float32(length / np.linalg.norm(noise))


def _score(task: Task, members: Sequence[Member]) -> float:
    votes = [Vote(member.said[-1], member.samples, 0, settled=False) for member in members]
    vector = consensus(votes, MergePolicy().half_life, 0, members[0].learner.moments)
    metrics = evaluate(task.manifest.definition, task.manifest.objective, vector, task.test.rows, task.test.classes)
    assert metrics is not None
    return float((metrics.accuracy if metrics.accuracy is not None else metrics.r2) or 0.0)
