"""A newcomer with few rows, or rows of few classes, joins a swarm that has learnt: what the members lose by it."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.harness import AT_MOST, Race, in_processes
from bench.rigs.copies import in_copy
from bench.swarms import SECOND, Person, load_people, split_over
from learnae.models.dataset import Dataset
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

_LISTEN = 250  # ms
_MOST_POINTS = 1.0
_CONTROL = (0, 0)
_NEWCOMERS = ((1, 20), (1, 400), (4, 174), (7, 200))  # classes and rows
_SEEDS = (1, 2, 3)
_PARTS = 2  # of the copies of each seed's swarm: so many processes more share the work

Courses = NDArray[np.float64]  # (runs, windows, members): accuracies
Found = dict[tuple[int, int], Courses]


def run(race: Race) -> None:
    """Compare the members' courses with and without each newcomer; and without, to see what is chance."""
    seeds, parts, sizes = ((1,), 1, (2, 1, 3, 1)) if race.quick else (_SEEDS, _PARTS, (240, 3, 30, 2))
    tasks = [(seed, part, *sizes) for seed in seeds for part in range(parts)]
    found = in_processes(race, "swarms that newcomers join", courses, tasks)
    together = {case: np.concatenate([found[task][case] for task in tasks]) for case in (_CONTROL, *_NEWCOMERS)}
    control = together[_CONTROL]
    chance = max(worst_loss(control[::2], control[1::2]), worst_loss(control[1::2], control[::2]))
    race.figure("accuracy of the members without a newcomer", float(control.mean()))
    race.figure("largest loss by chance: half of the runs without a newcomer against the other half", chance, "points")
    for classes, rows in _NEWCOMERS:
        runs = together[classes, rows]
        note = f"worst of {runs.shape[2]} members and {runs.shape[1]} means over {sizes[2]} s, {len(seeds)} seeds, "
        note += (
            f"{len(runs)} runs against {len(control)}; {chance:.2f} by chance; mean of all {_mean(control, runs):.2f}"
        )
        name = f"a member's loss by a newcomer with {rows} rows of {classes} {'class' if classes == 1 else 'classes'}"
        race.check(name, worst_loss(control, runs), _MOST_POINTS, AT_MOST, "points", note)


def worst_loss(before: Courses, after: Courses) -> float:
    """Return by how many points the worst member is worse ``after`` in its worst window, means over all runs."""
    return float(100 * np.max(before.mean(axis=0) - after.mean(axis=0)))


def _mean(before: Courses, after: Courses) -> float:
    return float(100 * (before.mean() - after.mean()))


def courses(seed: int, part: int, learnt: int, windows: int, length: int, repeats: int) -> Found:
    """Return each member's accuracies on its own held-out rows, in a swarm of seven people, with each newcomer.

    It learns for ``learnt`` ticks of 1 s, then goes on in copies in which all packets differ: with an eighth person
    ``repeats`` times, without one twice as often, for ``windows`` of ``length`` ticks.
    """
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    *members, _ = split_over(people, len(people), manifest)
    simulation = Simulation(manifest, members, Setting(seed=seed, listen=_LISTEN))
    simulation.run(learnt * SECOND)
    found: Found = {}
    for number, case in enumerate((_CONTROL, *_NEWCOMERS)):
        data = few(manifest, people[-1], *case, seed) if case != _CONTROL else None
        seeds = range(repeats if data else 2 * repeats)
        watch = partial(_course, simulation, data, windows, length)
        found[case] = np.array([in_copy(partial(watch, 1000 * part + 100 * number + each)) for each in seeds])
    return found


def few(manifest: Manifest, person: Person, classes: int, rows: int, seed: int) -> Dataset:
    """Return ``rows`` of the person's ``classes`` most frequent classes; rows are repeated where there are too few."""
    rng = np.random.default_rng(seed)
    kinds, counts = np.unique(person.train.classes, return_counts=True)
    chosen = kinds[np.argsort(-counts)][:classes]
    of_these = np.flatnonzero(np.isin(person.train.classes, chosen))
    picked = rng.choice(of_these, rows, replace=rows > len(of_these))
    data = Dataset(manifest.model, manifest.objective)
    data.add(person.train.features[picked], person.train.classes[picked])
    return data


def _course(
    simulation: Simulation, newcomer: Dataset | None, windows: int, length: int, seed: int
) -> list[list[float]]:
    """Return the accuracies (windows, members), means over ``length`` ticks of 1 s."""
    members = list(simulation.members)
    simulation.network.rng.seed(seed)
    if newcomer:
        simulation.members.append(Member(simulation, len(members), newcomer))
        simulation.schedule(simulation.members[-1])
        simulation.listen(simulation.members[-1])
    return [np.mean([_sample(simulation, members) for _ in range(length)], axis=0).tolist() for _ in range(windows)]


def _sample(simulation: Simulation, members: list[Member]) -> list[float]:
    simulation.run(SECOND)
    metrics = [member.peer.training.metrics for member in members]
    return [(found.accuracy or 0.0) if found else 0.0 for found in metrics]
