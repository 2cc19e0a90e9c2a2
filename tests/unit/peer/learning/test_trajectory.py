"""Which weights of a cycle are handed on; the learner's holdout is played by the test."""

import math

import numpy as np
import pytest

from learnae.models.passive_learner import PassiveLearner
from learnae.peer.learning.training import ENDLESS, Training
from learnae.peer.learning.trajectory import Trajectory
from learnae.ports import Trained
from learnae.protocol.bodies import Metrics
from learnae.weights.codecs import Vector

FIRST, BATCH = 26, 32


class Course(PassiveLearner):
    """Its weight counts the steps; ``loss`` gives the loss on the holdout after so many."""

    def __init__(self, least: int, rows: int = 100) -> None:
        super().__init__(count=1)
        self.least = least
        self.rows = rows
        self.looks: list[int] = []

    def train(self, steps: int) -> Trained:
        self._weights = self._weights + np.float32(min(steps, 50))  # a slice
        return Trained(min(steps, 50), 10, 0.5)

    def evaluate(self, weights: Vector) -> Metrics | None:
        self.looks.append(int(weights[0]))
        return Metrics(abs(float(weights[0]) - self.least), None, self.rows) if self.rows else None


def trained(course: Course, steps: int, between_merges: int = ENDLESS) -> Training:
    training = Training(course, between_merges, Trajectory(course, FIRST, BATCH))
    while training.taken < steps:
        training.train()
    return training


def test_looks_are_at_distances_that_double() -> None:
    course = Course(least=10**6)
    trained(course, 900)
    assert course.looks == [26, 78, 182, 390, 806]


@pytest.mark.parametrize(("least", "chosen"), [(0, 26), (80, 78), (200, 182), (10**6, 500)])
def test_the_best_weights_of_a_cycle_are_handed_on(least: int, chosen: int) -> None:
    course = Course(least)
    training = trained(course, 500)
    taken = training.taken
    training.end_cycle()
    assert course.weights().tolist() == [min(chosen, taken) if chosen != 500 else taken]
    assert (training.taken, training.steps) == (0, taken)


def test_a_short_cycle_and_one_of_given_steps_are_never_judged() -> None:
    for course, training in [
        (one := Course(least=0), trained(one, FIRST)),
        (two := Course(least=0), trained(two, 500, between_merges=500)),
    ]:
        training.end_cycle()
        assert course.looks == []
        assert course.weights()[0] == training.steps


def test_a_look_at_a_large_holdout_is_rare() -> None:
    course = Course(least=0, rows=32_000)  # 4,000 steps' worth
    training = trained(course, 9000)
    assert course.looks == [26, 4026]
    training.end_cycle()
    course.looks.clear()
    training.train()
    while training.taken < 4100:
        training.train()
    assert course.looks == [4026]  # 26 of which are the weights handed on


def test_without_a_holdout_the_last_weights_are_handed_on() -> None:
    course = Course(least=0, rows=0)
    training = trained(course, 900)
    training.end_cycle()
    assert course.looks == [26]
    assert course.weights()[0] >= 900


def test_weights_that_have_diverged_are_not_chosen() -> None:
    course = Course(least=50)
    training = trained(course, 100)
    course.load(np.array([math.nan], np.float32))
    course.evaluate = lambda _: Metrics(math.nan, None, 100)  # type: ignore[method-assign]
    training.end_cycle()
    assert course.weights().tolist() == [26]
