"""A model for each person beside the common one: what the worst-off gain, and that no one loses."""

from __future__ import annotations

from unittest import mock

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes
from bench.swarms import FOUNDING, SECOND, SharedDecoder, load_people, split_over
from learnae.models.reference.numpy_learner import evaluate
from learnae.peer import following
from learnae.peer.learning.personal import personal_of
from learnae.simulation.simulator import Setting, Simulation
from learnae.swarm.presets import preset

_SEEDS, _UPDATES = 5, 240
_MEAN, _WORST, _BEHIND = 1.0, 3.0, 3.0  # points


def run(race: Race) -> None:
    """Let swarms of eight learn, then let each member choose: scores are of rows that it did not choose on."""
    seeds, updates = (1, 20) if race.quick else (_SEEDS, _UPDATES)
    found = in_processes(race, "swarms of eight", measure, [(seed, updates) for seed in range(seeds)])
    common, own, alone = 100 * np.array([found[seed, updates] for seed in range(seeds)]).transpose(2, 0, 1)
    names = ("common model", "personal model", "own rows alone")
    for name, scores in zip(names, (common, own, alone), strict=True):
        race.figure(f"{name}, mean of eight", scores.mean(), "%")
        race.figure(f"{name}, worst of eight, mean of seeds", scores.min(axis=1).mean(), "%")
        race.figure(f"{name}, best less worst", (scores.max(axis=1) - scores.min(axis=1)).mean(), "points")
    note = f"{seeds} seeds, {updates} updates, own held-out rows, cross-fitted"
    race.check("personal less common, mean", own.mean() - common.mean(), _MEAN, AT_LEAST, "points", note)
    gained = own.min(axis=1).mean() - common.min(axis=1).mean()
    race.check("personal less common, worst of eight", gained, _WORST, AT_LEAST, "points")
    behind = (np.maximum(common, alone) - own).mean(axis=0).max()
    race.check("most behind the better of common and alone, one person", behind, _BEHIND, AT_MOST, "points")


def measure(seed: int, updates: int) -> list[tuple[float, float, float]]:
    """Return for each of eight people the score of the common model, of the personal one, and of own rows alone."""
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    datasets = split_over(people, len(people), manifest)
    simulation = Simulation(manifest, datasets, Setting(seed=seed, listen=250))
    simulation.run(FOUNDING)
    with mock.patch.object(following, "decode_frame", SharedDecoder()):
        simulation.run(updates * SECOND)
    found = []
    for member, data in zip(simulation.members, datasets, strict=True):
        personal = personal_of(manifest, data, member.peer.ports.store, is_on=True)
        assert personal is not None
        while personal.choice.score is None:
            personal.advance(member.peer.estimate())
        assert personal.alone is not None
        alone = evaluate(
            manifest.definition, manifest.objective, personal.alone, data.holdout.rows, data.holdout.targets
        )
        assert alone is not None
        found.append((personal.choice.common or 0.0, personal.choice.score, alone.accuracy or 0.0))
    return found
