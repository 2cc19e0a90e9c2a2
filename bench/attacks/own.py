"""Eight people who learn values, some of whom lie: what own held-out rows save, in whole simulated swarms."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources

import numpy as np

from bench.harness import AT_MOST, Race, in_processes
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower
from learnae.simulation.attacked import Plan
from learnae.simulation.attacked import run as run_swarm
from learnae.simulation.attacks import HONEST
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import MOTION, demo_data, dense_config, preset
from learnae.weights.merge import MEAN, OWN, MergePolicy

_PEERS, _SEEDS = 8, 3
_LIARS = (1, 3)
_MINUTES, _QUICK_MINUTES = 1.0, 0.2
_KINDS = ("sign-flip", "zeros", "scaled", "label-flip", "noise", "inner-product", "amplified", "stale")
_AHEAD = 25  # samples: half a second
_HOLDOUT = 0.3  # the last part of each exercise
_SCALES = (1.7, 0.9, 0.9, 2.0, 7.0, 2.9)  # of the channels' means, in the features' units: values are about 1
_MOST_BEHIND = 5.0  # points of R2, of the mean of honest peers


def run(race: Race) -> None:
    """Compare honest peers' R2 with that of the swarm without the liars, judged by own rows and with the plain mean."""
    minutes, seeds = (_QUICK_MINUTES, 1) if race.quick else (_MINUTES, _SEEDS)
    kinds, liars = (_KINDS[:1], _LIARS[1:]) if race.quick else (_KINDS, _LIARS)
    tasks = [(HONEST, 0, rule, False, seed, minutes) for rule in (MEAN, OWN) for seed in range(seeds)]
    tasks += [(HONEST, count, MEAN, True, seed, minutes) for count in liars for seed in range(seeds)]
    tasks += [(kind, count, OWN, False, seed, minutes) for kind in kinds for count in liars for seed in range(seeds)]
    tasks += [(kind, count, MEAN, False, 0, minutes) for kind in kinds for count in liars]
    found = in_processes(race, "swarms of eight that learn values", measure, tasks)

    def mean(kind: str, count: int, rule: str, absent: bool = False, of: int = seeds) -> tuple[float, float]:
        each = [found[kind, count, rule, absent, seed, minutes] for seed in range(of)]
        return 100 * float(np.mean([one[0] for one in each])), 100 * float(np.mean([one[1] for one in each]))

    plain, own = mean(HONEST, 0, MEAN), mean(HONEST, 0, OWN)
    race.figure("values, mean of eight, no liar, plain mean", plain[0], "% R2")
    race.figure("values, worst behind the plain mean without a liar", plain[1] - own[1], "points")
    race.check("values, behind the plain mean without a liar", plain[0] - own[0], _MOST_BEHIND, AT_MOST, "points")
    for count in liars:
        absent, first = mean(HONEST, count, MEAN, True), mean(HONEST, count, MEAN, True, 1)
        race.figure(f"values, mean of honest, {count} of 8 absent", absent[0], "% R2")
        for kind in kinds:
            reached = mean(kind, count, OWN)
            name = f"{kind}, {count} of 8"
            race.check(f"values, behind absent, {name}", absent[0] - reached[0], _MOST_BEHIND, AT_MOST, "points")
            race.figure(f"values, worst behind absent, {name}", absent[1] - reached[1], "points")
            behind = first[0] - mean(kind, count, MEAN, of=1)[0]
            race.figure(f"values, behind absent with the plain mean, {name}", behind, "points")


def measure(kind: str, liars: int, rule: str, absent: bool, seed: int, minutes: float) -> tuple[float, float]:
    """Return R2 of honest peers of one run on everybody's held-out rows: their mean, and the worst."""
    manifest, people = motion()
    plan = Plan(kind, _PEERS, liars, minutes, seed)
    outcome = run_swarm(replace(manifest, merge=MergePolicy(rule=rule)), people, plan, absent=absent)
    return float(outcome.scores.mean()), float(outcome.scores.min())


@cache
def motion() -> tuple[Manifest, list[Dataset]]:
    """Learn the mean of each channel over the half second after a window, from the window's statistics."""
    features = preset("wrist", 1).features
    assert features is not None
    ahead = replace(features, ahead=_AHEAD)
    manifest = Manifest(
        "motion",
        dense_config(features.shape[0], (64, 32), len(MOTION), "linear"),
        "mean_squared_error",
        optimiser=OptimiserPolicy("momentum", learning_rate=0.03),
    )
    people = []
    with resources.as_file(demo_data()) as path:
        for number in range(1, _PEERS + 1):
            windows = Windower(ahead).push(shipped_recording(path, number).split_by_time(_HOLDOUT))
            rows, values = ahead.extract(windows.values), ahead.targets(windows.values).mean(axis=1) / _SCALES
            data = Dataset(manifest.model, manifest.objective)
            for holdout in (False, True):
                chosen = windows.holdout == holdout
                data.add(rows[chosen], values[chosen], holdout)
            people.append(data)
    return manifest, people
