"""A model for each person beside the common one: what the worst-off gain, that no one loses, and what newcomers get."""

from __future__ import annotations

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes
from bench.swarms import FOUNDING, PEOPLE, SECOND, Person, Rows, load_people, split_over
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner, evaluate
from learnae.peer.learning.personal import Personal, personal_of
from learnae.ports import BlockStore
from learnae.simulation.simulator import Member, Setting, Simulation
from learnae.swarm.initial_weights import starting_weights
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import preset
from learnae.weights.codecs import Vector

_SEEDS, _UPDATES = 5, 240
_BEFORE, _AFTER = 60, 120  # updates of seven before the eighth comes, and from then on
_LABELS, _AT_ONCE, _DRAWS = 20, 10, 5  # labelled windows of a newcomer, in blocks, and how often they are drawn
_ORDERS = ("of each class in turn", "as they come")
_ALONE_STEPS = 1560
_LISTEN = 250  # ms: as members do
_MEAN, _WORST, _BEHIND = 1.0, 3.0, 3.0  # points
_FEW, _LATE = 20.0, 3.0


def run(race: Race) -> None:
    """Let swarms of eight learn, then let each member choose: scores are of rows that it did not choose on."""
    seeds, updates, before, after = (1, 12, 4, 8) if race.quick else (_SEEDS, _UPDATES, _BEFORE, _AFTER)
    tasks = [(seed, updates, before + after) for seed in range(seeds)]
    swarms = in_processes(race, "swarms of eight", measure, tasks)
    common, own, alone, begun = 100 * np.array([swarms[task] for task in tasks]).transpose(2, 0, 1)
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

    people = PEOPLE[:1] if race.quick else PEOPLE
    joins = in_processes(race, "swarms of seven that an eighth joins", join, [(p, before, after) for p in people])
    came, *few, late = 100 * np.array([joins[p, before, after] for p in people]).T
    race.figure(f"newcomer with {_LABELS} labels: the swarm's model", came.mean(), "%")
    for order, chosen, without in zip(_ORDERS, few[::2], few[1::2], strict=True):
        race.figure(f"newcomer with {_LABELS} labels {order}: chosen", chosen.mean(), "%")
        race.figure(f"newcomer with {_LABELS} labels {order}: own rows alone", without.mean(), "%")
        note = f"the other seven's model after {before} updates"
        least = round(float((chosen - came).min()), 6)  # of the same rows, summed in another order
        race.check(f"newcomer less the swarm's model, {order}, worst of eight", least, 0.0, AT_LEAST, "points", note)
        gained = (chosen - without).mean()
        race.check(f"newcomer less own rows alone, {order}, mean", gained, _FEW, AT_LEAST, "points")
    note = f"the common model on own rows {after} updates after joining, to swarms that began with all eight"
    behind = (begun.mean(axis=0)[[p - PEOPLE[0] for p in people]] - late).mean()
    race.check("late joiner behind, mean of eight", behind, _LATE, AT_MOST, "points", note)


def measure(seed: int, updates: int, early: int) -> list[tuple[float, float, float, float]]:
    """Return for each of eight people the score of the common model, of the personal one, of own rows alone.

    The last is that of the common model after ``early`` updates.
    """
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    datasets = split_over(people, len(people), manifest)
    simulation = Simulation(manifest, datasets, Setting(seed=seed, listen=_LISTEN))
    simulation.run(FOUNDING)
    simulation.run(early * SECOND)
    begun = [right(manifest, m.peer.estimate(), d) for m, d in zip(simulation.members, datasets, strict=True)]
    simulation.run((updates - early) * SECOND)
    found = []
    for member, data, before in zip(simulation.members, datasets, begun, strict=True):
        personal = _personal(manifest, data, member.peer.ports.store)
        choice = personal.settle(member.peer.estimate())
        assert choice.common is not None
        assert choice.score is not None
        assert personal.alone is not None
        found.append((choice.common, choice.score, right(manifest, personal.alone, data), before))
    return found


def join(person: int, before: int, after: int) -> list[float]:
    """Let seven learn, and ``person`` come: with few labels, then with all of its rows as a member.

    Return what is right on its held-out rows: of the swarm's model that it finds; of what it chooses with few labels,
    and of these alone, for each of _ORDERS; and of the swarm's model ``after`` updates more.
    """
    manifest = preset("wrist", 1)
    people = load_people(manifest)
    datasets = split_over(people, len(people), manifest)
    index = person - PEOPLE[0]
    own = datasets.pop(index)
    simulation = Simulation(manifest, datasets, Setting(seed=_SEEDS + person, listen=_LISTEN))
    simulation.run(FOUNDING)
    simulation.run(before * SECOND)
    common = simulation.members[0].peer.estimate().copy()
    store = simulation.members[0].peer.ports.store
    drawn = [_in_turn(people[index], np.random.default_rng(draw)) for draw in range(_DRAWS)]
    few = [[_with_few(manifest, rows, common, store) for rows in order] for order in (drawn, [_first(people[index])])]
    newcomer = Member(simulation, len(datasets), own)
    simulation.members.append(newcomer)
    simulation.schedule(newcomer)
    simulation.listen(newcomer)
    simulation.run(after * SECOND)
    scores = [np.mean([[right(manifest, vector, own) for vector in pair] for pair in order], axis=0) for order in few]
    return [right(manifest, common, own), *np.ravel(scores), right(manifest, newcomer.peer.estimate(), own)]


def _in_turn(person: Person, rng: np.random.Generator) -> Rows:
    """Draw few windows, a class after the other."""
    classes = person.train.classes
    of_class = [rng.permutation(np.flatnonzero(classes == number)) for number in np.unique(classes)]
    rows = [members[turn] for turn in range(_LABELS) for members in of_class if turn < len(members)][:_LABELS]
    return Rows(person.train.features[rows], classes[rows])


def _first(person: Person) -> Rows:
    return Rows(person.train.features[:_LABELS], person.train.classes[:_LABELS])


def _with_few(manifest: Manifest, rows: Rows, common: Vector, store: BlockStore) -> tuple[Vector, Vector]:
    """Return the weights chosen once these few rows have their labels, and those of these rows alone."""
    data = Dataset(manifest.model, manifest.objective)
    personal = _personal(manifest, data, store)
    for start in range(0, _LABELS, _AT_ONCE):
        data.add(rows.features[start : start + _AT_ONCE], rows.classes[start : start + _AT_ONCE])
        personal.settle(common)
    rng = np.random.default_rng(0)
    learner = NumpyLearner(
        manifest.definition, manifest.objective, manifest.optimiser, data, manifest.training.batch, rng
    )
    begun = starting_weights(manifest, store)
    assert begun is not None
    learner.load(begun)
    learner.train(_ALONE_STEPS)
    return personal.vector(common), learner.weights()


def right(manifest: Manifest, vector: Vector, data: Dataset) -> float:
    """Return the share of own held-out rows that ``vector`` answers rightly."""
    found = evaluate(manifest.definition, manifest.objective, vector, data.holdout.rows, data.holdout.targets)
    assert found is not None
    assert found.accuracy is not None
    return found.accuracy


def _personal(manifest: Manifest, data: Dataset, store: BlockStore) -> Personal:
    personal = personal_of(manifest, data, store, is_on=True)
    assert personal is not None
    return personal
