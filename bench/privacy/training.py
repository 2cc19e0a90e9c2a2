"""The demo's people under differential privacy: how good their consensus is, a window or a reading protected."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes, seconds_of
from bench.privacy.one_run import seeded
from bench.swarms import HOLDOUT, Person, load_people, split_over
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.private.private_learner import ADVISED, ADVISED_STEPS, PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.ports import Learner
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import READING, WINDOW
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.weights.merge import MergePolicy, Vote, merge

EPSILONS = (1.0, 2.0, 4.0, 8.0)
BARS = {(WINDOW, 8.0): 0.84, (WINDOW, 4.0): 0.82, (WINDOW, 1.0): 0.79,
        (READING, 8.0): 0.82, (READING, 4.0): 0.80, (READING, 1.0): 0.75}  # fmt: skip
_SEEDS = 5
_PLAIN = 0.0  # epsilon of a run without noise
_OVERLAP = 2  # windows that a reading is in, at the preset's hop of half a window
_COST = 2.0


def linear_wrist() -> Manifest:
    """Return the demo's swarm with a linear softmax model, of 217 weights."""
    manifest = preset("wrist", 1)
    return replace(manifest, config=dense_config(30, (), 7, "softmax"))


def run(race: Race) -> None:
    """Measure consensus accuracy for each epsilon, and what a step costs."""
    epsilons, seeds = ((4.0,), 1) if race.quick else (EPSILONS, _SEEDS)
    runs = [
        (epsilon, protects, seed) for epsilon in epsilons for protects in (WINDOW, READING) for seed in range(seeds)
    ]
    found = in_processes(race, "swarms under differential privacy", accuracy, [(_PLAIN, WINDOW, 0), *runs])
    race.figure("linear model without noise", 100 * found[_PLAIN, WINDOW, 0], "%")
    note = f"{seeds} seeds, eight people, delta 1e-5, hop half a window, held-out last {HOLDOUT:.0%} of each exercise"
    for epsilon in epsilons:
        for protects in (WINDOW, READING):
            each = [found[epsilon, protects, seed] for seed in range(seeds)]
            name = f"epsilon {epsilon:g}, one {protects} protected"
            race.figure(f"{name}: least", 100 * min(each), "%")
            if (protects, epsilon) in BARS:
                race.check(name, 100 * float(np.mean(each)), 100 * BARS[protects, epsilon], AT_LEAST, "%", note)
            else:
                race.figure(name, 100 * float(np.mean(each)), "%")
    _measure_cost(race)


def accuracy(epsilon: float, protects: str, seed: int) -> float:
    """Return the accuracy of the consensus of eight people on all held-out windows; without noise at epsilon 0."""
    manifest = linear_wrist()
    people = load_people(manifest)
    return score(manifest, people, consensus(manifest, split_over(people, 8, manifest), epsilon, protects, seed)[-1])


def consensus(
    manifest: Manifest, datasets: Sequence[Dataset], epsilon: float, protects: str, seed: int,
    optimiser: OptimiserPolicy = ADVISED, releases: int = 80,
) -> list[NDArray[np.float32]]:  # fmt: skip
    """Return what all agree on after each merge, until all rows have left; votes are equal, as numbers are private."""
    policy = TrainingPrivacy(epsilon or 8.0, releases=releases, protects=protects)
    start = manifest.definition.initial(seed)
    learners: list[Learner] = []
    for data in datasets:
        inner = NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, 32, np.random.default_rng()
        )
        inner.load(start)
        overlap = _OVERLAP if protects == READING else 1
        normals = seeded(1000 * seed + len(learners)) if epsilon else np.zeros
        learners.append(PrivateLearner(inner, data, policy, optimiser, overlap=overlap, normals=normals))
    course = []
    while sum(learner.train(ADVISED_STEPS).steps for learner in learners):
        votes = [Vote(learner.weights(), 1, 0, False) for learner in learners]
        for learner, vote in zip(learners, votes, strict=True):
            learner.load(merge(vote.vector, votes, MergePolicy(), now=0))
        course.append(learners[0].weights())
    return course


def score(manifest: Manifest, people: Sequence[Person], weights: NDArray[np.float32]) -> float:
    """Return the accuracy of ``weights`` on the held-out windows of all ``people``."""
    rows = np.concatenate([person.holdout.features for person in people])
    classes = np.concatenate([person.holdout.classes for person in people])
    metrics = evaluate(manifest.definition, manifest.objective, weights, rows, classes)
    assert metrics is not None
    assert metrics.accuracy is not None
    return metrics.accuracy


def _measure_cost(race: Race) -> None:
    """Hold a step on all rows with noise against one on as many rows without clipping and noise."""
    manifest = preset("wrist", 1)
    data = split_over(load_people(manifest), 8, manifest)[0]
    rows = len(data.train)

    def learner() -> NumpyLearner:
        return NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, rows, np.random.default_rng(0)
        )

    steps = 4 if race.quick else 400
    private = PrivateLearner(learner(), data, TrainingPrivacy(4.0, releases=10 * steps), ADVISED)
    plain = learner()
    plain.train(1)
    private.train(1)
    taken = [seconds_of(partial(each.train, steps)) / steps for each in (plain, private)]
    race.figure("a step on all rows, with noise", 1000 * taken[1], "ms")
    note = f"{rows} rows of {manifest.model.count} weights, NumPy; the budget is in memory"
    race.check("a step with noise, times one without", taken[1] / taken[0], _COST, AT_MOST, "", note)
