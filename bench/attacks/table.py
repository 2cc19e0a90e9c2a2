"""Eight people, some of whom lie: what honest ones lose against the same swarm without the liars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from bench.attacks.twin import LABEL_FLIP, Outcome, Rows, Trial
from bench.attacks.twin import run as run_trial
from bench.harness import AT_MOST, Race, in_processes
from bench.swarms import load_people
from learnae.models.dataset import Dataset
from learnae.samples.dp_statistics import Statistics, layout_of
from learnae.samples.proxy_rows import believable, draw_proxy, groups_of
from learnae.simulation.attacks import HONEST
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.merge import JUDGED, MEAN

_POINTS = 256  # of the proxy set
_SEEDS = 3
_LIARS = (1, 3)
# points that the worst honest peer may be behind, with one liar and with three: each kind's measured bar
_BARS = {
    "sign-flip": (2.0, 3.0), "zeros": (2.0, 3.0), "scaled": (2.0, 3.0), LABEL_FLIP: (2.0, 2.0), "noise": (2.0, 3.0),
    "stale": (2.0, 2.5), "mimic": (2.0, 3.0), "a-little-is-enough": (2.0, 4.5), "bias": (2.0, 3.0),
    "inner-product": (2.5, 5.5), "amplified": (4.0, 6.0),
}  # fmt: skip
# likewise, of liars that lie as much as judges let through
_ADAPTIVE = {LABEL_FLIP: (3.0, 3.0), "sign-flip": (3.0, 3.0), "amplified": (4.0, 6.0)}
_ROUNDS, _LONG = 60, 120  # 1,560 and 3,120 steps
_MOST_LOST = {_ROUNDS: 1.2, _LONG: 0.5}  # points, without any liar


def run(race: Race) -> None:
    """Compare the judged swarm with the one without the liars, and the plain mean with both, for each kind of lie."""
    seeds = 1 if race.quick else _SEEDS
    kinds = list(_BARS)[:2] if race.quick else list(_BARS)
    tasks = [
        (HONEST, 0, rule, False, seed, False, rounds)
        for rounds in _MOST_LOST
        for rule in (MEAN, JUDGED)
        for seed in range(seeds)
    ]
    tasks += [(HONEST, liars, MEAN, True, seed, False, _ROUNDS) for liars in _LIARS for seed in range(seeds)]
    tasks += [
        (kind, liars, rule, False, seed, False, _ROUNDS)
        for kind in kinds
        for liars in _LIARS
        for rule in (JUDGED, MEAN)
        for seed in range(seeds)
    ]
    adaptive = [LABEL_FLIP] if race.quick else list(_ADAPTIVE)
    tasks += [
        (kind, liars, JUDGED, False, seed, True, _ROUNDS)
        for kind in adaptive
        for liars in _LIARS
        for seed in range(seeds)
    ]
    found = in_processes(race, "swarms of eight, some of whom lie", measure, tasks)

    def worst(
        kind: str, liars: int, rule: str, absent: bool = False, adaptive: bool = False, rounds: int = _ROUNDS
    ) -> float:
        keys = [(kind, liars, rule, absent, seed, adaptive, rounds) for seed in range(seeds)]
        return 100 * float(np.mean([found[key] for key in keys]))

    for rounds, bar in _MOST_LOST.items():
        plain, steps = worst(HONEST, 0, MEAN, rounds=rounds), 26 * rounds
        race.figure(f"worst of eight, no liar, plain mean, {steps:,} steps", plain, "%")
        lost = plain - worst(HONEST, 0, JUDGED, rounds=rounds)
        race.check(f"behind the plain mean without a liar, {steps:,} steps", lost, bar, AT_MOST, "points")
    for index, liars in enumerate(_LIARS):
        absent = worst(HONEST, liars, MEAN, True)
        race.figure(f"worst honest, {liars} of 8 absent", absent, "%")
        for kind in kinds:
            behind = absent - worst(kind, liars, JUDGED)
            race.check(f"behind absent, {kind}, {liars} of 8", behind, _BARS[kind][index], AT_MOST, "points")
            race.figure(
                f"behind absent with the plain mean, {kind}, {liars} of 8", absent - worst(kind, liars, MEAN), "points"
            )
        for kind in adaptive:
            behind = absent - worst(kind, liars, JUDGED, adaptive=True)
            race.check(
                f"behind absent, adaptive {kind}, {liars} of 8", behind, _ADAPTIVE[kind][index], AT_MOST, "points"
            )


def measure(kind: str, liars: int, rule: str, absent: bool, seed: int, adaptive: bool, rounds: int) -> float:
    """Return the accuracy of the worst honest peer of one run."""
    honest = wrist_trial(seed, rounds)
    trial = replace(honest, attack=kind, liars=liars, rule=rule, absent=absent, adaptive=adaptive)
    outcome: Outcome = run_trial(trial)
    return float(outcome.accuracies.min())


def wrist_trial(seed: int, rounds: int) -> Trial:
    """Return a run of eight honest people of the wrist task, judged."""
    return Trial(*_wrist(), _proxy, seed=seed, rounds=rounds)


@cache
def _wrist() -> tuple[Manifest, list[Rows], Rows]:
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    rows = [Rows(person.train.features, person.train.classes) for person in people]
    held = [person.holdout for person in people]
    return (
        manifest,
        rows,
        Rows(np.concatenate([each.features for each in held]), np.concatenate([each.classes for each in held])),
    )


def _proxy(shown: Sequence[Rows], rng: np.random.Generator) -> Rows:
    return proxy_of(_wrist()[0], shown, rng)


def proxy_of(manifest: Manifest, shown: Sequence[Rows], rng: np.random.Generator) -> Rows:
    """Draw rows from summaries with the noise that peers add by default."""
    said, layout = {}, layout_of(manifest)
    assert layout is not None
    for index, rows in enumerate(shown):
        data = Dataset(manifest.model, manifest.objective)
        data.add(rows.rows, rows.classes)
        normals = np.random.default_rng(1000 + index).standard_normal
        said[bytes([index])] = groups_of(
            layout, Statistics.of(layout, data.train).release(1, manifest.privacy, normals=normals)
        )
    drawn, classes = draw_proxy(layout, believable(said), _POINTS, rng)
    return Rows(drawn, classes.astype(np.int64))
