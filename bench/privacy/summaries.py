"""Four of eight people send nothing but summaries: what the model of the others gains on their held-out windows."""

import math

import numpy as np

from bench.harness import AT_LEAST, Race, in_processes
from bench.swarms import load_people
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.privacy.policy import PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import DIAGONAL, FULL
from learnae.samples.dp_statistics import Layout, Statistics, noise_of
from learnae.samples.proxy_rows import Group, believable, draw_rows, is_clear, read_groups, steadied
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.codecs import Vector

_ALONE, _EACH, _MASKED = "no summaries", "each", "masked"
_EXACT = math.inf
_EPSILONS = (8.0, 4.0, 2.0, 1.0)
_TUNED, _FRESH = range(8), range(100, 108)  # choices of the four: those that all was tuned on, and others
_ROUNDS = 60  # of 26 steps and a merge
_AVERAGED = 10  # of them: what the last step has learnt by chance is no gain
_PER_ROW = 2.0  # as peers draw
_MASKED_NOISE = math.sqrt(8 / 6)  # of a total, where two of eight members may leave theirs out
_LEAST = {(_EACH, _EXACT): 12.0, (_MASKED, 8.0): 6.0, (_MASKED, 4.0): 5.0, (_MASKED, 1.0): 2.0}


def run(race: Race) -> None:
    """Measure the gain of the four, and what the four who train pay, for each epsilon and form."""
    splits, epsilons = (_FRESH[:1], (8.0,)) if race.quick else ([*_TUNED, *_FRESH], _EPSILONS)
    kinds = [(_ALONE, FULL, _EXACT), (_EACH, FULL, _EXACT), (_EACH, DIAGONAL, _EXACT)]
    kinds += [(sharing, FULL, epsilon) for sharing in (_EACH, _MASKED) for epsilon in epsilons]
    kinds += [(_EACH, DIAGONAL, epsilon) for epsilon in epsilons[:1]]
    tasks = [(*kind, split) for kind in kinds for split in splits]
    found = in_processes(race, "swarms of four who train and four who send summaries", learn, tasks)
    each = {kind: np.array([found[*kind, split] for split in splits]) for kind in kinds}
    silent, trained = each[kinds[0]].mean(axis=0)
    race.figure("accuracy on the windows of who sends summaries, without them", float(silent))
    race.figure("accuracy on the windows of who trains, without them", float(trained))
    for kind in kinds[1:]:
        sharing, form, epsilon = kind
        name = f"{sharing}, {form}, " + ("no noise" if epsilon == _EXACT else f"epsilon {epsilon:g}")
        gains, costs = 100 * (each[kind] - each[kinds[0]]).T
        bar = _LEAST.get((sharing, epsilon)) if form == FULL else None
        if bar is None:
            race.figure(f"gain, {name}", float(gains.mean()), "points")
        else:
            note = f"mean of {len(splits)} choices of the four"
            race.check(f"gain, {name}", float(gains.mean()), bar, AT_LEAST, "points", note)
        race.figure(f"spread of the gain over choices of the four, {name}", float(gains.std()), "points")
        race.figure(f"gain on choices that nothing was tuned on, {name}", float(gains[-len(_FRESH) :].mean()), "points")
        race.figure(f"change for who trains, {name}", float(costs.mean()), "points")


def learn(sharing: str, form: str, epsilon: float, split: int) -> tuple[float, float]:
    """Return the consensus' accuracy on the held-out windows of the four that send summaries, and of the others."""
    manifest, people = preset("wrist", 1), load_people(preset("wrist", 1))
    rng = np.random.default_rng(split)
    order = np.random.default_rng(split // 2).permutation(len(people)).tolist()
    order = order[4:] + order[:4] if split % 2 else order  # so that each person is silent as often as not
    datasets = []
    for index in order:
        data = Dataset(manifest.model, manifest.objective)
        data.add(people[index].train.features, people[index].train.classes)
        data.add(people[index].holdout.features, people[index].holdout.classes, holdout=True)
        datasets.append(data)
    trainers, silent = datasets[:4], datasets[4:]
    if sharing != _ALONE:
        layout = Layout(form, 30, 30, manifest.class_count)
        groups = _groups(layout, datasets, sharing, epsilon, rng)
        for data in trainers:
            data.teach(*draw_rows(layout, groups, [math.ceil(_PER_ROW * group.count) for group in groups], rng))
    weights = _consensus(manifest, trainers, rng, split)
    return _accuracy(manifest, weights, silent), _accuracy(manifest, weights, trainers)


def _groups(
    layout: Layout, datasets: list[Dataset], sharing: str, epsilon: float, rng: np.random.Generator
) -> list[Group]:
    """Return what rows are drawn from: of the last four, or of all eight together."""
    deviation = 0.0
    if epsilon != _EXACT:
        policy = PrivacyPolicy(summary=SummaryPrivacy(epsilon=epsilon, form=layout.form))
        deviation = noise_of(layout, policy, 1).deviation * (_MASKED_NOISE if sharing == _MASKED else 1.0)
    exact = [Statistics.of(layout, data.train).sums() for data in datasets]
    said = [sum(exact[1:], exact[0])] if sharing == _MASKED else exact
    noisy = [sums + np.rint(rng.normal(0, deviation, len(sums))).astype(np.int64) for sums in said]
    heard = {bytes([index]): read_groups(layout, sums, deviation) for index, sums in enumerate(noisy)}
    kept = heard if sharing == _MASKED else believable(heard)
    everything = [group for groups in kept.values() for group in groups]
    silent = list(kept.values()) if sharing == _MASKED else list(kept.values())[4:]
    taught = [group for groups in silent if is_clear(groups) for group in groups]
    return steadied([group for group in taught if group.label is not None], everything)


def _consensus(manifest: Manifest, trainers: list[Dataset], rng: np.random.Generator, seed: int) -> Vector:
    learners = [
        NumpyLearner(
            manifest.definition,
            manifest.objective,
            manifest.optimiser,
            data,
            manifest.training.batch,
            np.random.default_rng(rng.integers(2**31)),
        )
        for data in trainers
    ]
    weights, votes = manifest.definition.initial(seed), np.array([len(data.train) for data in trainers], float)
    last = []
    for _ in range(_ROUNDS):
        for learner in learners:
            learner.load(weights)
            learner.train(manifest.training.steps)
        weights = np.average([learner.weights() for learner in learners], axis=0, weights=votes).astype(np.float32)
        last.append(weights)
    return np.asarray(np.mean(last[-_AVERAGED:], axis=0, dtype=np.float64), np.float32)


def _accuracy(manifest: Manifest, weights: Vector, datasets: list[Dataset]) -> float:
    rows = np.concatenate([data.holdout.rows for data in datasets])
    targets = np.concatenate([data.holdout.targets for data in datasets])
    found = evaluate(manifest.definition, manifest.objective, weights, rows, targets)
    assert found is not None
    assert found.accuracy is not None
    return found.accuracy
