"""Swarms as the simulator runs them, and learners together; what each costs is measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, interleaved
from bench.rigs.processes import memory_bytes
from bench.swarms import FOUNDING, SECOND, Person, accuracies, load_people
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.clipping import NormClip
from learnae.protocol.neighbourhood.attention import levels_of
from learnae.simulation.batched import BatchedLearner, train_together
from learnae.simulation.shards import Shard, play_in_shards
from learnae.simulation.simulator import START, Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset

Kind = TypeVar("Kind", bound=NumpyLearner)
_FOLLOW = 8
_TRAIN, _HELD = 64, 20  # rows of each peer, drawn from those of one person
_MEETING = 8 * SECOND  # in which newcomers have heard of each other, and begin
_TURNS = 100  # peers of a process whose ticks are taken together: of more, processes wait less for each other
_SMALL = 13  # hidden units: 501 weights
_WEIGHED = 64  # members whose estimates are measured
CORES = 2  # that a whole swarm may take: as many processes play it
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Cost:
    """What one simulation took: seconds of the processor and of a clock, and bytes of memory.

    ``memory`` is the most that all processes had, ``per_peer`` what came to it by the end, for each peer. What was
    ``received`` is for each peer and update, ``updates`` are those of a peer in so many ``ticks``.
    """

    peers: int
    seconds: float
    wall: float
    memory: int
    per_peer: float
    received: float
    updates: float
    ticks: float
    accuracy: float
    trace: str

    @property
    def per_update(self) -> float:
        """Return the seconds of the processor that one update of one peer took, with all that it heard."""
        return self.seconds / self.updates / self.peers


# -- learners together


def check_learners(race: Race) -> None:
    """Check that learners are faster together, and come to the same."""
    count, repeats = (8, 3) if race.quick else (16, 9)
    manifest = preset("wrist", 1)
    data, steps = rows_of(manifest, load_people(manifest), count), manifest.training.steps
    alone = [learner(NumpyLearner, manifest, rows) for rows in data]
    together = [learner(BatchedLearner, manifest, rows) for rows in data]

    def train_alone() -> float:
        return processor_seconds(lambda: [each.train(steps) for each in alone])

    def prepare_and_train() -> None:
        train_together([(each, steps) for each in together])
        for each in together:
            each.train(steps)

    def train_all() -> float:
        return processor_seconds(prepare_and_train)

    with race.step(f"{count} learners alone and together"):
        one, all_ = (median(found) / count for found in interleaved(repeats, train_alone, train_all))
    apart = max(float(np.abs(a.weights() - b.weights()).max()) for a, b in zip(alone, together, strict=True))
    race.figure(f"{steps} steps of a learner alone", one * 1e3, "ms")
    race.figure(f"{steps} steps of each of {count} learners together", all_ * 1e3, "ms")
    race.check("time together to alone", all_ / one, 0.5, AT_MOST, "times", f"median of {repeats}, in turn")
    race.check("largest difference of a weight", apart, 1e-6, AT_MOST, "", f"after {repeats * steps} steps")


def learner(kind: type[Kind], manifest: Manifest, data: Dataset) -> Kind:
    """Make a learner at the swarm's start."""
    definition, rng = manifest.definition, np.random.default_rng(1)
    made = kind(definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, NormClip())
    made.load(definition.initial(manifest.seed))
    return made


# -- a swarm


def check_growth(race: Race) -> None:
    """Compare a peer's share of ever larger swarms, and check that the same seed does the same again."""
    sizes, ticks = ((8, 40), 6) if race.quick else ((100, 300, 1000), 10)
    found = {}
    for peers in sizes:
        with race.step(f"{peers} peers, {ticks} ticks"):
            found[peers] = measured(Task(peers, ticks, founding=FOUNDING + _MEETING))
        _show(race, found[peers])
    few, many = found[sizes[0]], found[sizes[-1]]
    with race.step(f"{sizes[0]} peers again"):
        again = measured(Task(sizes[0], ticks, founding=FOUNDING + _MEETING))
    race.check("the same seed replays byte for byte", float(again.trace == few.trace), 1, AT_LEAST)
    least = min(cost.updates / cost.ticks for cost in found.values())
    race.check("updates of a peer and tick", least, 0.8, AT_LEAST, "", "in the swarm where there are fewest")
    sizes_said, note = f"{sizes[-1]:,} peers to {sizes[0]:,}", "of a peer and update"
    race.check(f"processor: {sizes_said}", many.per_update / few.per_update, _GROWTH, AT_MOST, "times", note)
    race.check(f"received: {sizes_said}", many.received / few.received, _GROWTH, AT_MOST, "times", note)
    race.check(f"memory: {sizes_said}", many.per_peer / few.per_peer, _GROWTH, AT_MOST, "times", "of a peer")


def check_thousand(race: Race) -> None:
    """Let a thousand peers of the wrist's model publish a hundred updates each."""
    task = Task(16, 5, processes=CORES) if race.quick else Task(1_000, 100, processes=CORES)
    _check_whole(race, task, minutes=5, memory=6 * 10**9)


def check_ten_thousand(race: Race) -> None:
    """Let ten thousand peers of a model of 501 weights publish twenty updates each."""
    peers, updates = (32, 5) if race.quick else (10_000, 20)
    _check_whole(race, Task(peers, updates, hidden=_SMALL, processes=CORES), minutes=15)


def _check_whole(race: Race, task: Task, minutes: float, memory: float = 0.0) -> None:
    with race.step(f"{task.peers:,} peers, {task.updates} updates of {task.manifest.model.count:,} weights"):
        cost = measured(task)
    _show(race, cost)
    said = f"{task.peers:,} peers, {task.updates} updates of {task.manifest.model.count:,} weights"
    race.check(said, cost.wall / 60, minutes, AT_MOST, "minutes", "from the first tick on, as a clock shows it")
    race.check(f"{said}: updates of a peer", cost.updates, task.updates, AT_LEAST, "", "on the mean")
    if memory:
        race.check(f"{said}: memory", cost.memory / 1e9, memory / 1e9, AT_MOST, "GB", f"of {task.processes} processes")


def _show(race: Race, cost: Cost) -> None:
    name = f"{cost.peers:,} peers"
    race.figure(f"{name}: a peer and update", cost.per_update * 1e3, "ms of one core")
    race.figure(f"{name}: received", cost.received, "B a peer and update")
    race.figure(f"{name}: memory", cost.memory / 2**20, "MiB")
    race.figure(f"{name}: memory of one", cost.per_peer / 2**10, "KiB")
    race.figure(f"{name}: accuracy", cost.accuracy, "after so many updates")


@dataclass(frozen=True, slots=True)
class Task:
    """A swarm of so many ``peers``, which is measured after ``founding`` ms until each has published ``updates``.

    Its model has a layer of so many ``hidden`` units; 0 for the wrist's. So many ``processes`` play it.
    """

    peers: int
    updates: int
    founding: int = 0
    hidden: int = 0
    processes: int = 1

    @property
    def manifest(self) -> Manifest:
        """Return what is trained."""
        manifest = preset("wrist", 1)
        return replace(manifest, config=dense_config(30, (self.hidden,), 7, "softmax")) if self.hidden else manifest


def measured(task: Task) -> Cost:
    """Return what a simulation in a process of its own takes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(play_in_shards, task.processes, simulated, task).result()


def simulated(shard: Shard, task: Task) -> Cost:
    """Let a swarm train that ticks every second."""
    manifest, peers = task.manifest, task.peers
    people, empty = load_people(manifest), _resident()
    together = min(250, max(20, _TURNS * shard.count * SECOND // peers))
    setting = Setting(seed=1, follow=_FOLLOW, together=together, levels=levels_of(peers))
    simulation = Simulation(manifest, rows_of(manifest, people, peers), setting, shard=shard)
    simulation.run(task.founding)
    said, taken = updates(simulation), received(simulation)
    wall, before = time.monotonic(), time.process_time()
    while (done := updates(simulation) - said) < task.updates * peers:
        simulation.run(max(1, task.updates - done // peers) * setting.period)
    seconds, wall = shard.sum(time.process_time() - before), time.monotonic() - wall
    weighed = simulation.members[:: max(1, peers // _WEIGHED)]
    return Cost(
        peers,
        seconds=seconds,
        wall=wall,
        memory=shard.sum(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10),
        per_peer=shard.sum(_resident() - empty) / peers,
        received=(received(simulation) - taken) / done,
        updates=done / peers,
        ticks=(simulation.clock.time - START - task.founding) / setting.period,
        accuracy=shard.sum(float(np.mean(accuracies(simulation, people, weighed)))) / shard.count,
        trace=simulation.network.digest(),
    )


def _resident() -> float:
    return memory_bytes("status", "VmRSS", os.getpid())


def updates(simulation: Simulation) -> int:
    """Return how many messages all peers have published."""
    lasts = [member.peer.own.last for member in simulation.members]
    return simulation.shard.sum(sum(last.seq + 1 for last in lasts if last))


def received(simulation: Simulation) -> int:
    """Return how many bytes all peers have taken in."""
    return simulation.shard.sum(sum(host.bytes_in for host in simulation.network.hosts))


def rows_of(manifest: Manifest, people: list[Person], peers: int) -> list[Dataset]:
    """Draw rows for each peer from those of one person, some for several."""
    rng, datasets = np.random.default_rng(1), []
    for index in range(peers):
        person, data = people[index % len(people)], Dataset(manifest.model, manifest.objective)
        for rows, count, holdout in ((person.train, _TRAIN, False), (person.holdout, _HELD, True)):
            drawn = rng.integers(0, len(rows.features), count)
            data.add(rows.features[drawn], rows.classes[drawn], holdout)
        datasets.append(data)
    return datasets


def processor_seconds(action: Callable[[], object]) -> float:
    """Return how much time of the processor one call takes, whatever else the machine does."""
    start = time.process_time()
    action()
    return time.process_time() - start
