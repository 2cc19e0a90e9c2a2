"""Simulated swarms on the shipped recordings, and what they cost and reach."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.basics.overriding import override
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import evaluate
from learnae.ports import Trained
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower
from learnae.simulation.simulator import Member, Setting, Simulation, numpy_learner
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import demo_data, dense_config, preset
from learnae.weights.codecs import Vector

PEOPLE = range(1, 9)
HOLDOUT = 0.3  # the last part of each exercise
SECOND = 1000
FOUNDING = 12 * SECOND  # in which newcomers hear that they are the first, and neither train nor publish
_LISTEN = 250  # ms: as members do
_RAW_NAMES = "0155"  # CIDs of frames begin so, in hexadecimal
_STEPS = 26  # of a Wanderer at once, however many it may take
_WEIGHED = 4  # members whose tangles are weighed: all are much alike, and it is slow

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Features (n, count) and classes (n,)."""

    features: Array
    classes: Array

    def share(self, number: int, of: int) -> Rows:
        """Return every ``of``-th row from ``number`` on."""
        return Rows(self.features[number::of], self.classes[number::of])


@dataclass(frozen=True, slots=True)
class Person:
    """One person's training and held-out windows."""

    train: Rows
    holdout: Rows


@dataclass(frozen=True, slots=True)
class SwarmCost:
    """What a swarm costs and reaches. Bytes are received ones, a peer and tick, over the run's second half;
    memory is in bytes a peer at its end; ``accuracy`` is the mean over the peers' consensus
    estimates on all held-out windows, ``course`` the same after each quarter of the run."""

    peers: int
    follow: int
    ticks: int
    parameters: int
    frame_bytes: float
    message_bytes: float
    gossip_bytes: float
    replica_memory: float
    tangle_memory: float
    messages: float
    accuracy: float
    course: tuple[float, ...]
    worst: float

    @property
    def total_bytes(self) -> float:
        """Return all bytes that a peer receives in one tick."""
        return self.frame_bytes + self.message_bytes + self.gossip_bytes

    @property
    def total_memory(self) -> float:
        """Return the bytes of replicas and tangle."""
        return self.replica_memory + self.tangle_memory


def load_people(manifest: Manifest) -> list[Person]:
    """Return the shipped recordings as windows, 2 s long and half overlapping; raw samples are split first."""
    assert manifest.features is not None
    people = []
    for number in PEOPLE:
        samples = shipped_recording(Path(str(demo_data())), number).split_by_time(HOLDOUT)
        windows = Windower(manifest.features).push(samples)
        features = manifest.features.extract(windows.values)
        held = windows.holdout
        people.append(Person(Rows(features[~held], windows.label[~held]), Rows(features[held], windows.label[held])))
    return people


def split_over(people: Sequence[Person], peers: int, manifest: Manifest) -> list[Dataset]:
    """Give each peer a part of one person's windows."""
    datasets = []
    for index in range(peers):
        person, number = people[index % len(people)], index // len(people)
        sharers = len(range(index % len(people), peers, len(people)))
        data = Dataset(manifest.model, manifest.objective)
        for rows, holdout in ((person.train, False), (person.holdout, True)):
            part = rows.share(number, sharers)
            data.add(part.features, part.classes, holdout)
        datasets.append(data)
    return datasets


class Wanderer(PassiveLearner):
    """Takes steps at random instead of learning: what a large model costs without training it."""

    def __init__(self, manifest: Manifest, data: Dataset, rng: np.random.Generator) -> None:
        super().__init__(manifest.model.count)
        self._rows = len(data.train.rows)
        self._rng = rng

    @override
    def train(self, steps: int) -> Trained:
        self._weights += np.float32(0.01) * self._rng.standard_normal(len(self._weights), np.float32)
        return Trained(min(steps, _STEPS), self._rows, 0.0)


class Meter:
    """Tells frames, messages and gossip apart on a simulated network."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._gossip = self._frames = 0
        network = simulation.network
        send = network.send

        def counted(source: Any, target: Any, size: int, note: str, deliver: Any, *args: Any) -> None:
            self._gossip += size if note in ("heads", "want") else 0
            self._frames += size if note.startswith(_RAW_NAMES) else 0
            send(source, target, size, note, deliver, *args)

        network.send = counted  # type: ignore[method-assign]

    def read(self) -> tuple[int, int, int]:
        """Return bytes of frames, of gossip and of all that hosts have received."""
        return self._frames, self._gossip, sum(member.host.bytes_in for member in self._simulation.members)


def run_swarm(peers: int, follow: int, ticks: int, large: bool = False) -> SwarmCost:
    """Let a swarm train for ``ticks`` of 1 s; a ``large`` one, of some 100,000 parameters, does as if it trained."""
    manifest = preset("wrist", 1)
    if large:
        manifest = replace(manifest, config=dense_config(30, (300, 300), 7, "softmax"))
    people = load_people(manifest)
    setting = Setting(seed=1, follow=follow, listen=_LISTEN)
    learner = Wanderer if large else numpy_learner
    simulation = Simulation(manifest, split_over(people, peers, manifest), setting, learner)
    meter, course = Meter(simulation), []
    simulation.run(FOUNDING)
    for quarter in range(4):
        simulation.run((ticks * (quarter + 1) // 4 - ticks * quarter // 4) * SECOND)
        course.append(float(np.mean(accuracies(simulation, people))))
        if quarter == 1:
            half = meter.read()
    frame_bytes, gossip, everything = (later - earlier for later, earlier in zip(meter.read(), half, strict=True))
    per = peers * (ticks - ticks // 2)
    weighed = simulation.members[:: max(1, peers // _WEIGHED)]
    return SwarmCost(
        peers=peers,
        follow=follow,
        ticks=ticks,
        parameters=manifest.model.count,
        frame_bytes=frame_bytes / per,
        message_bytes=(everything - frame_bytes - gossip) / per,
        gossip_bytes=gossip / per,
        replica_memory=float(np.mean([replica_memory(member) for member in simulation.members])),
        tangle_memory=float(np.mean([deep_size(member.peer.tangle, simulation.nodes) for member in weighed])),
        messages=float(np.mean([len(member.peer.tangle) for member in simulation.members])),
        accuracy=course[-1],
        course=tuple(course),
        worst=float(np.min(accuracies(simulation, people))),
    )


def accuracies(
    simulation: Simulation, people: Sequence[Person], members: Sequence[Member] | None = None
) -> list[float]:
    """Return the accuracy of each peer's, or ``members``', consensus estimate on the held-out windows of all people."""
    measured, exam = simulation.members if members is None else members, held_out(people)
    return [accuracy_of(simulation.manifest, member.peer.estimate(), exam) for member in measured]


def held_out(people: Sequence[Person]) -> Rows:
    """Return the held-out windows of all people."""
    parts = [person.holdout for person in people]
    return Rows(np.concatenate([part.features for part in parts]), np.concatenate([part.classes for part in parts]))


def accuracy_of(manifest: Manifest, weights: Vector, exam: Rows) -> float:
    """Return the accuracy of ``weights`` (count,) on the rows of ``exam``."""
    metrics = evaluate(manifest.definition, manifest.objective, weights, exam.features, exam.classes)
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


def replica_memory(member: Member) -> int:
    """Return the bytes of the replicas that a peer keeps of others, as they would be on a machine of its own."""
    return sum(replica.vector.nbytes for replica in member.peer.following.replicas.values())


def deep_size(root: object, *but: object) -> int:
    """Return the bytes of an object and of all that it refers to, each counted once; ``but`` not what peers share."""
    passed_over = (type, ModuleType, FunctionType, MethodType, Random)
    seen = set(map(id, but))
    total, stack = 0, [root]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, passed_over):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        stack.extend(gc.get_referents(value))
    return total
