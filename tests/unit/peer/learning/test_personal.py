"""The model for one machine: strictly better on own rows, or the common one; nothing of it is counted or sent."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from builders import tiny_dataset, tiny_manifest

from learnae.models.dataset import Dataset
from learnae.peer.learning.personal import ALONE, COMMON, TUNED, Choice, Personal, _Few, choose, personal_of
from learnae.simulation.in_memory import MemoryBlockStore
from learnae.simulation.network import Network, VirtualClock, Weather
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.weights.codecs import Vector

TWO = tiny_manifest(config=dense_config(2, (), 2, "softmax"), loss="sparse_categorical_crossentropy")
RIGHT = np.array([-9, 9, 0, 0, 0, 0], np.float32)  # class 1 where the first value is above 0
WRONG = -RIGHT


class Ticking:
    """A clock on which each look takes a hundredth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


def store() -> MemoryBlockStore:
    return MemoryBlockStore(Network(VirtualClock(0), Random(0), Weather()).host())


def people(count: int, held_out: int, turned: bool = False, seed: int = 0) -> Dataset:
    """Rows whose class is the sign of the first value; ``turned``: this person has it the other way round."""
    data, rng = Dataset(TWO.model, TWO.objective), np.random.default_rng(seed)
    for size, holdout in ((count, False), (held_out, True)):
        rows = rng.normal(size=(size, 2))
        data.add(rows, ((rows[:, 0] > 0) != turned).astype(int), holdout)
    return data


def made(data: Dataset, manifest: Manifest = TWO) -> Personal:
    personal = personal_of(manifest, data, store(), is_on=True)
    assert personal is not None
    personal._seconds = Ticking()
    return personal


def work(personal: Personal, common: Vector, ticks: int = 60_000) -> Choice:
    """Advance until a choice is made, at most so often."""
    before = personal.choice
    for _ in range(ticks):
        personal.advance(common)
        if personal.choice is not before:
            break
    return personal.choice


def test_a_person_who_differs_gets_another_model_and_others_keep_the_common_one() -> None:
    usual = made(people(150, 60))
    assert work(usual, RIGHT).name == COMMON
    assert usual.vector(RIGHT) is RIGHT
    differs = made(people(150, 60, turned=True))
    choice = work(differs, RIGHT)
    assert choice.name in (TUNED, ALONE)
    assert choice.common is not None
    assert choice.score is not None
    assert choice.score > choice.common + 0.5
    assert differs.vector(RIGHT) is choice.vector


def test_a_tie_goes_to_the_earlier_and_the_score_is_of_rows_it_was_not_chosen_on() -> None:
    personal = made(people(150, 60))
    learner = personal._make()
    assert choose(learner, [(COMMON, RIGHT), (TUNED, 2 * RIGHT)]).name == COMMON
    held_out = learner.data.holdout
    late = np.arange(60) >= 30  # the common model fails early, the other late
    held_out.targets[:] = np.where(late, held_out.rows[:, 0] > 0, held_out.rows[:, 0] <= 0)
    choice = choose(learner, [(COMMON, RIGHT), (TUNED, WRONG)])
    assert choice.score is not None
    assert choice.score < 0.5, "chosen on the others it is wrong on each fold"


def test_one_run_of_errors_does_not_hide_which_model_is_better() -> None:
    """Errors of the common model that lie in two folds next to each other tell in each of these of the other."""
    learner = made(people(150, 60))._make()
    held_out = learner.data.holdout
    held_out.rows[:], held_out.targets[:] = -np.abs(held_out.rows), 0
    held_out.rows[42:48] *= -1
    zero = np.array([0, 0, 0, 0, 9, 0], np.float32)  # says 0 always
    choice = choose(learner, [(COMMON, RIGHT), (TUNED, zero)])
    assert (choice.name, choice.common, choice.score) == (TUNED, 0.9, 1.0)


def test_folds_have_each_class_though_classes_come_in_turn() -> None:
    data = people(150, 60)
    order = np.argsort(data.holdout.targets, kind="stable")
    data.holdout.rows[:], data.holdout.targets[:] = data.holdout.rows[order], data.holdout.targets[order]
    zero = np.array([0, 0, 0, 0, 9, 0], np.float32)  # says 0 always
    assert choose(made(data)._make(), [(COMMON, zero), (TUNED, RIGHT)]).score == 1.0


def test_it_takes_a_tenth_of_the_time_in_small_slices_and_counts_as_no_draw() -> None:
    data, drawn = people(150, 60), []
    data.train.on_draw = drawn.append
    personal = made(data)
    clock = personal._seconds
    assert isinstance(clock, Ticking)
    longest = busy = 0.0
    for _ in range(500):
        before = clock.now
        personal.advance(RIGHT)
        assert clock.now - before < 0.015, "a common model that is a few seconds old is not worth tuning"
    for _ in range(20_000):
        clock.now += 0.01
        begun = clock.now
        personal.advance(RIGHT)
        spent = clock.now - begun
        longest, busy = max(longest, spent), busy + (spent if spent > 0.015 else 0.0)
    assert personal.choice.rows == 60
    assert longest < 0.2
    assert busy / clock.now < 0.15
    assert drawn == []


def test_all_that_is_due_can_be_done_at_once() -> None:
    data = people(150, 60, turned=True)
    personal = made(data)
    choice = personal.settle(RIGHT)
    assert choice.name in (TUNED, ALONE)
    assert choice is personal.choice
    assert choice.rows == 60
    assert made(people(0, 0)).settle(RIGHT).score is None, "without rows there is nothing to do"


def labelled(turned: bool, blocks: int) -> Iterator[tuple[Choice, int]]:
    data = people(0, 0)
    personal, rng = made(data), np.random.default_rng(3)
    for _ in range(blocks):
        rows = rng.normal(size=(10, 2))
        data.add(rows, ((rows[:, 0] > 0) != turned).astype(int))
        work(personal, RIGHT, 3000)
        yield personal.choice, len(data.train)


def test_with_few_labels_it_is_tested_before_it_is_trained() -> None:
    for choice, rows in labelled(turned=False, blocks=6):
        assert choice.name == COMMON, f"nothing is better than right, after {rows} rows"
    found = [choice for choice, _ in labelled(turned=True, blocks=6)]
    assert found[0].name == COMMON, "ten rows decide nothing"
    assert found[-1].name == TUNED
    assert found[-1].score is not None
    assert found[-1].common is not None
    assert found[-1].score > found[-1].common


def test_few_rows_of_one_class_choose_no_model_that_may_know_no_other() -> None:
    data = people(0, 0)
    personal = made(data)
    for start in range(0, 60, 10):
        rows = np.abs(np.random.default_rng(start).normal(size=(10, 2)))
        data.add(rows, np.zeros(10, int))  # all of them are right for this person, and wrong for others
        assert personal.settle(RIGHT).name == COMMON
    data.add(-rows, np.ones(10, int))
    assert personal.settle(RIGHT).name == TUNED


@pytest.mark.parametrize(
    ("gained", "lost", "name"),
    [(0, 0, COMMON), (1, 0, COMMON), (2, 0, TUNED), (6, 4, COMMON), (8, 4, TUNED), (4, 8, COMMON)],
)
def test_few_rows_choose_another_model_only_by_more_than_chance(gained: int, lost: int, name: str) -> None:
    few = _Few(made(people(0, 0))._make(), RIGHT)
    few._scored.extend([(0, 1)] * gained + [(1, 0)] * lost + [(1, 1)] * 20)
    assert few.choice().name == name


def test_numbers_are_chosen_by_their_loss_and_some_swarms_have_none() -> None:
    manifest = tiny_manifest()
    data = tiny_dataset(manifest, rows=200)
    choice = work(made(data, manifest), np.zeros(3, np.float32))
    assert choice.name in (TUNED, ALONE)
    assert personal_of(manifest, data, store(), is_on=False) is None
    large = tiny_manifest(config=dense_config(2000, (1000,), 2, "softmax"), loss="sparse_categorical_crossentropy")
    assert personal_of(large, data, store(), is_on=True) is None
