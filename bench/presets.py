"""The wrist's exercises by a perceptron on features and by a convolutional network on raw windows: which is better,
with all data in one place, and as a swarm of eight agents that keep theirs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.learning.engine_choice import build_learner
from bench.harness import AT_LEAST, Race, in_processes
from bench.swarms import FOUNDING, SECOND, Person, accuracies, load_people, split_over
from learnae.models.dataset import Dataset
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset

FEATURES, RAW = "wrist", "wrist-cnn"
POOLED, SWARM = "pooled", "swarm"
_LISTEN = 250  # ms: as members do
_SEEDS = range(3, 6)  # others than those that the constants of wrist-cnn were chosen with

Task = tuple[str, str, int, int]  # preset, POOLED or SWARM, seed, optimiser steps of each peer


def run(race: Race) -> None:
    """Train both presets from the same seeds, pooled and in swarms."""
    seeds, updates, pooled = (_SEEDS[:1], 2, 30) if race.quick else (_SEEDS, 240, 9360)
    steps = {POOLED: pooled, SWARM: updates * preset(RAW, 0).training.steps}
    tasks = [(name, way, seed, steps[way]) for name in (RAW, FEATURES) for way in (SWARM, POOLED) for seed in seeds]
    found = in_processes(race, f"trainings of {FEATURES} and {RAW}", reach, tasks)
    means = {}
    for name in (FEATURES, RAW):
        race.figure(f"{name}: parameters", preset(name, 0).model.count)
        for way in (POOLED, SWARM):
            own = [found[task] for task in tasks if task[:2] == (name, way)]
            means[name, way] = float(np.mean(own))
            race.figure(f"{name}, {way}: accuracy, mean of {len(own)} seeds", means[name, way])
            race.figure(f"{name}, {way}: accuracy, worst seed", min(own))
    for way, how in ((POOLED, "steps"), (SWARM, f"steps of each of 8 peers, {updates} updates")):
        gain = 100 * (means[RAW, way] - means[FEATURES, way])
        note = f"{steps[way]:,} {how}; mean of {len(seeds)} seeds, trained by {_learner()}"
        race.check(f"raw windows better than features, {way}", gain, 0.0, AT_LEAST, "points", note)


def _learner() -> str:
    """Return the name of the learner that an agent on this machine trains with."""
    manifest = preset(RAW, 0)
    return type(build_learner(manifest, Dataset(manifest.model, manifest.objective), np.random.default_rng(0))).__name__


def reach(name: str, way: str, seed: int, steps: int) -> float:
    """Return the accuracy on all held-out windows; ``steps`` are each peer's, and the accuracy its peers' mean."""
    manifest = replace(preset(name, 1), seed=seed)
    return (_pooled if way == POOLED else _together)(manifest, load_people(manifest), steps)


def _pooled(manifest: Manifest, people: Sequence[Person], steps: int) -> float:
    data = Dataset(manifest.model, manifest.objective)
    for person in people:
        for rows, holdout in ((person.train, False), (person.holdout, True)):
            data.add(rows.features, rows.classes, holdout)
    learner = build_learner(manifest, data, np.random.default_rng(manifest.seed))
    learner.load(manifest.definition.initial(manifest.seed))
    learner.train(steps)
    metrics = learner.evaluate(learner.weights())
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


def _together(manifest: Manifest, people: Sequence[Person], steps: int) -> float:
    setting = Setting(seed=manifest.seed, listen=_LISTEN)
    simulation = Simulation(manifest, split_over(people, len(people), manifest), setting, build_learner)
    simulation.run(FOUNDING + steps // manifest.training.steps * SECOND)
    return float(np.mean(accuracies(simulation, people)))
