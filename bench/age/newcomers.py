"""A newcomer with few rows, or rows of few classes, joins a swarm that has learnt: what the members lose by it."""

from collections.abc import Collection
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
_SEEDS = range(1, 7)

Courses = NDArray[np.float64]  # (seeds or runs, windows, members): accuracies
Found = dict[tuple[int, int], Courses]


def run(race: Race) -> None:
    """Compare the members' courses with and without each newcomer; and without, to see what is chance."""
    seeds, sizes = ((1, 2), (2, 1, 3, 1)) if race.quick else (_SEEDS, (240, 3, 30, 1))
    found = in_processes(race, "swarms that newcomers join", courses, [(seed, *sizes) for seed in seeds]).values()
    control, *halves = (_over_seeds(found, _CONTROL, part) for part in (slice(None), slice(0, 1), slice(1, None)))
    chance = max(worst_loss(*halves)[0], worst_loss(*halves[::-1])[0])
    race.figure("accuracy of the members without a newcomer", float(control.mean()))
    race.figure("largest loss by chance: half of the runs without a newcomer against the other half", chance, "points")
    for classes, rows in _NEWCOMERS:
        after = _over_seeds(found, (classes, rows))
        loss, error = worst_loss(control, after)
        note = f"worst of {after.shape[2]} members and {after.shape[1]} means over {sizes[2]} s; {len(after)} seeds, "
        note += f"standard error {error:.2f}; all members {_mean(control, after):.2f}; by chance {chance:.2f}"
        name = f"a member's loss by a newcomer with {rows} rows of {classes} {'class' if classes == 1 else 'classes'}"
        race.check(name, loss, _MOST_POINTS, AT_MOST, "points", note)


def worst_loss(before: Courses, after: Courses) -> tuple[float, float]:
    """Return by how many points the worst member is worse in its worst window, mean over seeds, and its error."""
    lost = 100 * (before - after)
    worst = np.unravel_index(np.argmax(lost.mean(axis=0)), lost.shape[1:])
    cell = lost[:, worst[0], worst[1]]
    return float(cell.mean()), float(cell.std(ddof=1) / np.sqrt(len(cell)))


def _over_seeds(found: Collection[Found], case: tuple[int, int], part: slice = slice(None)) -> Courses:
    return np.stack([each[case][part].mean(axis=0) for each in found])


def _mean(before: Courses, after: Courses) -> float:
    return float(100 * (before.mean() - after.mean()))


def courses(seed: int, learnt: int, windows: int, length: int, repeats: int) -> Found:
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
        found[case] = np.array([in_copy(partial(watch, 100 * number + each)) for each in seeds])
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
