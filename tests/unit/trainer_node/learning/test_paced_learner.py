"""A slice of training: how long it takes, and how the size of its parts follows the learner's speed."""

import numpy as np
import pytest

from learnae.models.passive_learner import PassiveLearner
from learnae.ports import Trained
from trainer_node.learning.paced_learner import PacedLearner


class Timed(PassiveLearner):
    """Takes ``seconds`` a step, by the test's clock; its loss is the number of the call."""

    rows = 10

    def __init__(self, seconds: float) -> None:
        super().__init__(count=2)
        self.seconds = seconds
        self.now = 100.0
        self.calls: list[int] = []

    def train(self, steps: int) -> Trained:
        self.calls.append(steps)
        self.now += steps * self.seconds
        return Trained(steps, self.rows, float(len(self.calls))) if self.rows else Trained(0, 0, 0.0)


def paced(seconds: float, steps: int = 26) -> tuple[Timed, PacedLearner]:
    timed = Timed(seconds)
    return timed, PacedLearner(timed, steps, slice_seconds=0.2, monotonic=lambda: timed.now)


@pytest.mark.parametrize("seconds", [1e-6, 4e-5, 4e-4, 5e-3, 0.05])
def test_a_slice_is_as_long_as_it_should_be_whatever_the_learners_speed(seconds: float) -> None:
    timed, learner = paced(seconds)
    for _ in range(12):  # until the size of a call fits
        learner.train(1 << 40)
    begun = timed.now
    trained = learner.train(1 << 40)
    assert 0.2 <= timed.now - begun <= 0.31
    assert trained.steps == pytest.approx((timed.now - begun) / seconds)
    assert learner.last_seconds == pytest.approx(timed.now - begun)


def test_few_sizes_are_tried() -> None:
    timed, learner = paced(1e-4)
    for _ in range(50):
        learner.train(1 << 40)
    assert set(timed.calls) <= {1, *(26 << power for power in range(12))}
    assert len(set(timed.calls)) <= 7


@pytest.mark.parametrize("seconds", [0.001, 0.5, 30.0, 1000.0])
def test_the_first_call_is_of_one_step_and_none_takes_longer_than_its_watchdog_waits(seconds: float) -> None:
    timed, learner = paced(seconds, steps=10**6)
    for _ in range(3):
        learner.train(1 << 40)
    assert timed.calls[0] == 1
    assert max(timed.calls) * seconds <= max(60.0, seconds)


def test_a_learner_slower_than_a_slice_takes_at_least_a_step() -> None:
    timed, learner = paced(0.5)
    for _ in range(8):
        learner.train(1 << 40)
    timed.calls.clear()
    assert learner.train(1 << 40).steps == 1
    assert timed.calls == [1]


def test_no_more_steps_are_taken_than_wanted() -> None:
    timed, learner = paced(1e-5)
    assert learner.train(61).steps == 61
    assert sum(timed.calls) == 61


def test_the_loss_is_the_mean_over_the_steps() -> None:
    timed, learner = paced(0.005, steps=20)
    trained = learner.train(31)  # a step with a loss of 1, 20 with one of 2, 10 with one of 3
    assert timed.calls == [1, 20, 10]
    assert trained.loss == pytest.approx(71 / 31)


def test_without_rows_it_ends_at_once_and_no_time_counts() -> None:
    timed, learner = paced(1e-3)
    timed.rows = 0
    assert learner.train(1 << 40) == Trained(0, 0, 0.0)
    assert (timed.calls, learner.last_seconds, learner.seconds) == ([1], 0.0, 0.0)


def test_everything_else_is_the_learners_own() -> None:
    timed, learner = paced(1e-3)
    learner.load(np.array([1.0, 2.0], np.float32))
    assert timed.weights().tolist() == learner.weights().tolist() == [1.0, 2.0]
    assert learner.evaluate(learner.weights()) is None
