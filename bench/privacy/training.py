"""The demo's people under differential privacy: how good their consensus is, a window or a reading protected."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes, interleaved, seconds_of
from bench.privacy.clipping import ENGINES
from bench.privacy.one_run import seeded
from bench.swarms import HOLDOUT, PEOPLE, Array, Person, Rows, accuracy_of, held_out, load_people, split_over
from learnae.audit.membership import LOOKED_AT, membership
from learnae.audit.own_rows import demo_rows
from learnae.audit.victim import published
from learnae.config.privacy_section import PrivacySection
from learnae.models.dataset import Dataset
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.private.private_learner import PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.ports import Learner
from learnae.privacy.clipping import NormClip
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import READING, WINDOW
from learnae.runtime.private.policy import private_optimiser
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from learnae.weights.merge import MergePolicy, Vote, merge

EPSILONS = (1.0, 2.0, 4.0, 8.0)
BARS = {(WINDOW, 8.0): 0.84, (WINDOW, 4.0): 0.82, (WINDOW, 1.0): 0.79,
        (READING, 8.0): 0.82, (READING, 4.0): 0.80, (READING, 1.0): 0.75}  # fmt: skip
_SEEDS, _FEWER_SEEDS = 10, 5
_PLAIN = 0.0  # epsilon of a run without noise
_OVERLAP = 2  # windows that a reading is in, at the preset's hop of half a window
_COSTS = {"NumPy": 2.0, "TFLite": 2.5, "JAX": 2.5}  # of these last two the calls cost as much as the work
_STEPS = 4  # between two merges
_ALL, _TOLD = "all", "told"
_LEFT_OUT = 0.1
_JUDGED, _MOST_TOLD = 4.0, 0.53
_FEW, _FLOOR = 29, PrivacySection().rows  # rows of members that are attacked


@dataclass(frozen=True, slots=True)
class Found:
    """What all agree on: its ``accuracy``; how well all that each publishes tells its own rows from its held-out ones.

    That ``separation`` is the area under the curve of an attack that knows the rows and all weights: 0.5 is a guess.
    """

    accuracy: float
    separation: float


def linear_wrist() -> Manifest:
    """Return the demo's swarm with a linear softmax model, of 217 weights that are 0 at first."""
    manifest = preset("wrist", 1)
    config = dense_config(30, (), 7, "softmax")
    config["config"]["layers"][-1]["config"]["kernel_initializer"] = "Zeros"
    return replace(manifest, config=config)


def run(race: Race) -> None:
    """Measure consensus accuracy for each epsilon, what attacks find, and what a step costs."""
    epsilons, most = ((4.0,), 1) if race.quick else (EPSILONS, _SEEDS)
    seeds = {_ALL: most, _TOLD: min(most, _FEWER_SEEDS)}
    tasks = [(_PLAIN, WINDOW, seed, variant) for variant in (_ALL, _TOLD) for seed in range(seeds[variant])]
    for epsilon in epsilons:
        kinds = [(WINDOW, _ALL), (READING, _ALL), (WINDOW, _TOLD)]
        tasks += [(epsilon, protects, seed, variant) for protects, variant in kinds for seed in range(seeds[variant])]
    found = in_processes(race, "swarms of eight people", learn, tasks)

    def each(epsilon: float, protects: str, variant: str) -> list[Found]:
        return [found[epsilon, protects, seed, variant] for seed in range(seeds[variant])]

    note = f"mean of {most} seeds, delta 1e-5, hop half a window, held-out last {HOLDOUT:.0%} of each exercise"
    race.figure("without noise", 100 * _mean(one.accuracy for one in each(_PLAIN, WINDOW, _ALL)), "%")
    told = _mean(one.separation for one in each(_PLAIN, WINDOW, _TOLD))
    race.figure("without noise: own windows told from others", told, "AUC")
    for epsilon in epsilons:
        for protects in (WINDOW, READING):
            name = f"epsilon {epsilon:g}, one {protects} protected"
            accuracies = [one.accuracy for one in each(epsilon, protects, _ALL)]
            race.figure(f"{name}: least", 100 * min(accuracies), "%")
            race.figure(f"{name}: standard error of the mean", 100 * np.std(accuracies) / len(accuracies) ** 0.5, "%")
            if (protects, epsilon) in BARS:
                race.check(name, 100 * _mean(accuracies), 100 * BARS[protects, epsilon], AT_LEAST, "%", note)
            else:
                race.figure(name, 100 * _mean(accuracies), "%")
        told = _mean(one.separation for one in each(epsilon, WINDOW, _TOLD))
        race.figure(f"epsilon {epsilon:g}: own windows told from others", told, "AUC")
        if epsilon == _JUDGED:
            race.check("own windows told from others at epsilon 4", told, _MOST_TOLD, AT_MOST, "AUC", note)
    _tell_members(race, epsilons, range(seeds[_TOLD]))
    _measure_cost(race)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def learn(epsilon: float, protects: str, seed: int, variant: str = _ALL) -> Found:
    """Let eight people train with noise, or without at epsilon 0, until all rows have left.

    In the variant told, a tenth of each person's windows is left out of training, and held against the others.
    """
    manifest = linear_wrist()
    people = load_people(manifest)
    if variant == _TOLD:
        people = [_with_some_left_out(person, seed) for person in people]
    policy = TrainingPrivacy(epsilon or 8.0, protects=protects)
    members = []
    for number, data in enumerate(split_over(people, 8, manifest)):
        inner = NumpyLearner(
            manifest.definition, manifest.objective, manifest.optimiser, data, 32, np.random.default_rng()
        )
        inner.load(manifest.definition.initial(seed))
        normals = seeded(1000 * seed + number) if epsilon else np.zeros
        overlap = _OVERLAP if protects == READING else 1
        members.append(
            PrivateLearner(inner, data, policy, private_optimiser(manifest), overlap=overlap, normals=normals)
        )
    scores = [(np.zeros(len(one.train.classes)), np.zeros(len(one.holdout.classes))) for one in people]
    while True:
        before = members[0].weights()
        if not sum(member.train(_STEPS).steps for member in members):
            return Found(
                accuracy_of(manifest, before, held_out(people)), float(np.mean([_separation(*each) for each in scores]))
            )
        votes = [Vote(member.weights(), 1, 0, False) for member in members]  # equal: numbers of rows are private
        for person, each, vote in zip(people, scores, votes, strict=True):
            change = manifest.definition.split(vote.vector - before)
            for rows, score in zip((person.train, person.holdout), each, strict=True):
                np.add(score, _pull(manifest, before, change, rows), out=score)
        for member, vote in zip(members, votes, strict=True):
            member.load(merge(vote.vector, votes, MergePolicy(), now=0))


def _with_some_left_out(person: Person, seed: int) -> Person:
    """Return a person whose held-out windows are a tenth of those to train on: of the same time, and like them."""
    out = np.random.default_rng(seed).random(len(person.train.classes)) < _LEFT_OUT
    train, holdout = (Rows(person.train.features[which], person.train.classes[which]) for which in (~out, out))
    return Person(train, holdout)


def _pull(manifest: Manifest, weights: Array, change: Sequence[Sequence[Array]], rows: Rows) -> Array:
    """Return how far a ``change`` from ``weights`` went along the gradient of each of ``rows`` (n,), as a cosine."""
    error = predict(manifest.definition, weights, rows.features)
    error[np.arange(len(error)), rows.classes] -= 1
    kernel, bias = change[0]
    along = -((rows.features @ kernel + bias) * error).sum(axis=1)
    lengths = np.linalg.norm(error, axis=1) * np.sqrt(1 + (rows.features**2).sum(axis=1))
    return along / np.maximum(lengths, 1e-9) / np.sqrt((kernel**2).sum() + (bias**2).sum())


def _separation(own: Array, others: Array) -> float:
    """Return how often a score of ``own`` is above one of ``others``: the area under the curve."""
    return float(np.searchsorted(np.sort(others), own).mean() / len(others))


def _tell_members(race: Race, epsilons: Sequence[float], seeds: Sequence[int]) -> None:
    """Let the attack of the audit tell rows of members from others of the same person, by what they publish first."""
    for rows in (_FEW, _FLOOR):
        for epsilon in (_PLAIN, *epsilons):
            found = [_told(epsilon, rows, person, seed) for seed in seeds for person in PEOPLE]
            protected = f"epsilon {epsilon:g}" if epsilon else "without noise"
            name, note = f"{protected}: {rows} own rows told by the space of updates", f"mean of {len(found)}"
            if epsilon == _JUDGED:
                race.check(name, _mean(found), _MOST_TOLD, AT_MOST, "AUC", note)
            else:
                race.figure(name, _mean(found), "AUC")


def _told(epsilon: float, rows: int, person: int, seed: int) -> float:
    """Return how well the first updates tell ``rows`` of a person's rows, drawn at random, from all the others."""
    manifest = preset("wrist", 1)
    everything = demo_rows(manifest, person)
    assert everything is not None
    order = np.random.default_rng(seed).permutation(len(everything.rows))
    own, others = everything.part(order[:rows]), everything.part(order[rows:])
    data, rng = Dataset(manifest.model, manifest.objective), np.random.default_rng(seed)
    data.add(own.rows, own.targets)
    batch, steps = manifest.training.batch, manifest.training.steps
    learner: Learner = NumpyLearner(manifest.definition, manifest.objective, manifest.optimiser, data, batch, rng)
    if epsilon:
        normals, steps = seeded(1000 * seed + person), _STEPS
        policy, optimiser = TrainingPrivacy(epsilon), private_optimiser(manifest)
        learner = PrivateLearner(learner, data, policy, optimiser, normals=normals)  # type: ignore[arg-type]
    seen = list(islice(published(manifest, learner, manifest.definition.initial(seed), steps=steps), LOOKED_AT + 1))
    return membership(manifest.definition, seen, own.rows, others.rows)


def _measure_cost(race: Race) -> None:
    """Hold a step on all rows with noise against one on as many rows as it is by default: clipped."""
    manifest = preset("wrist", 1)
    data = split_over(load_people(manifest), 8, manifest)[0]
    rows, steps = len(data.train), 4 if race.quick else 400
    manifest = replace(manifest, training=replace(manifest.training, batch=rows))
    still = OptimiserPolicy("sgd", learning_rate=1e-9)  # noise that moves weights far makes engines slow
    for engine, make in ENGINES.items():
        private = PrivateLearner(
            make(manifest, data, NormClip(is_on=False)),  # type: ignore[arg-type]
            data,
            TrainingPrivacy(4.0, releases=10 * steps),
            still,
        )
        learners = [make(manifest, data, NormClip(is_clipped)) for is_clipped in (False, True)] + [private]
        for each in learners:
            each.load(manifest.definition.initial(0))
            each.train(2)
        timed = interleaved(steps, *(partial(seconds_of, partial(each.train, 1)) for each in learners))
        plain, clipped, noisy = (float(np.median(each)) for each in timed)
        race.figure(f"{engine}: a step on all rows, with noise", 1000 * noisy, "ms")
        race.figure(f"{engine}: a step with noise, times one neither clipped nor with noise", noisy / plain)
        name, note = f"{engine}: a step with noise, times one without", f"{rows} rows of {manifest.model.count} weights"
        race.check(name, noisy / clipped, _COSTS[engine], AT_MOST, "", f"{note}; the budget is in memory")
