"""What a simulated peer costs: processor time and memory by the number of peers, and what training together saves."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, interleaved
from bench.swarms import FOUNDING, SECOND, Person, accuracies, load_people
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.clipping import NormClip
from learnae.simulation.batched import BatchedLearner, train_together
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

Kind = TypeVar("Kind", bound=NumpyLearner)
_FOLLOW = 8
_TRAIN, _HELD = 64, 20  # rows of each peer, drawn from those of one person
_MEETING = 8 * SECOND  # in which newcomers have heard of each other, and begin
_TURNS = 20  # peers whose ticks are taken together


@dataclass(frozen=True, slots=True)
class Cost:
    """What one simulation took: seconds of the processor, bytes at the most, updates a peer; and what came of it."""

    peers: int
    seconds: float
    memory: int
    updates: float
    accuracy: float
    trace: str


def run(race: Race) -> None:
    """Run all checks."""
    check_learners(race)
    check_growth(race)


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
    race.check("largest difference of a weight", apart, 1e-5, AT_MOST, "", f"after {repeats * steps} steps")


def learner(kind: type[Kind], manifest: Manifest, data: Dataset) -> Kind:
    """Make a learner at the swarm's start."""
    definition, rng = manifest.definition, np.random.default_rng(1)
    made = kind(definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng, NormClip())
    made.load(definition.initial(manifest.seed))
    return made


# -- a swarm


def check_growth(race: Race) -> None:
    """Measure a peer's share of ever larger swarms, and check that the same seed does the same again."""
    sizes, ticks = ((8, 16), 6) if race.quick else ((50, 100, 200, 400), 20)
    found = []
    for peers in sizes:
        with race.step(f"{peers} peers, {ticks} ticks"):
            found.append(measured(peers, ticks))
        cost = found[-1]
        race.figure(f"{peers} peers: a peer and tick", cost.seconds / peers / ticks * 1e3, "ms of one core")
        race.figure(f"{peers} peers: memory", cost.memory / 2**20, "MiB")
        race.figure(f"{peers} peers: accuracy", cost.accuracy)
    with race.step(f"{sizes[0]} peers again"):
        again = measured(sizes[0], ticks)
    race.check("the same seed replays byte for byte", float(again.trace == found[0].trace), 1, AT_LEAST)
    least = min(cost.updates / ticks for cost in found)
    race.check("updates of a peer and tick", least, 0.8, AT_LEAST, "", "in the swarm where there are fewest")


def measured(peers: int, ticks: int) -> Cost:
    """Return what a simulation in a process of its own takes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(simulated, peers, ticks).result()


def simulated(peers: int, ticks: int) -> Cost:
    """Let a swarm of the wrist's model train for ``ticks`` of 1 s."""
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    setting = Setting(seed=1, follow=_FOLLOW, together=min(250, max(20, _TURNS * 1000 // peers)))
    simulation = Simulation(manifest, rows_of(manifest, people, peers), setting)
    simulation.run(FOUNDING + _MEETING)
    before, said = time.process_time(), updates(simulation)
    simulation.run(ticks * setting.period)
    seconds = time.process_time() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    accuracy = float(np.mean(accuracies(simulation, people)))
    return Cost(
        peers, seconds, memory, (updates(simulation) - said) / peers, accuracy, simulation.network.trace.hexdigest()
    )


def updates(simulation: Simulation) -> int:
    """Return how many messages all peers have published."""
    return sum(member.peer.own.last.seq + 1 for member in simulation.members if member.peer.own.last)


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
