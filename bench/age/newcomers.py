"""A newcomer with few rows, or rows of few classes, joins a swarm that has learnt: what the members lose by it."""

import numpy as np

from bench.swarms import SECOND, Person, load_people, split_over
from learnae.models.dataset import Dataset
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

_WINDOW = 30  # ticks of a mean


def course(seed: int, learnt: int, watched: int, classes: int, rows: int) -> list[list[float]]:
    """Return each member's accuracy on its own held-out rows, means over 30 s, in a swarm of seven people.

    After ``learnt`` ticks of 1 s an eighth person comes with ``rows`` of ``classes``, 0 for none: the control.
    """
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    *members, _ = split_over(people, len(people), manifest)
    simulation = Simulation(manifest, members, Setting(seed=seed, listen=250))
    simulation.run(learnt * SECOND)
    if rows:
        simulation.members.append(Member(simulation, len(members), few(manifest, people[-1], classes, rows, seed)))
        simulation.schedule(simulation.members[-1])
    found: list[list[float]] = []
    for _ in range(watched // _WINDOW):
        samples = [_sample(simulation, len(members)) for _ in range(_WINDOW)]
        found.append(np.mean(samples, axis=0).tolist())
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


def _sample(simulation: Simulation, members: int) -> list[float]:
    simulation.run(SECOND)
    metrics = [member.peer.training.metrics for member in simulation.members[:members]]
    return [(found.accuracy or 0.0) if found else 0.0 for found in metrics]
