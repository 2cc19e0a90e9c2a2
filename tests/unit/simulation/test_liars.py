"""Liars by themselves: what they publish, train on, and how far an adaptive one goes."""

import numpy as np
import pytest

from bench.rigs.attacked import WRIST, dataset_of, person
from learnae.simulation.attacks import BACKDOOR_CLASS, LIES, Knowledge, adapt, forge, triggered
from learnae.simulation.liars import told, trained_on
from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge
from learnae.weights.merge import Vote

TRUTH = np.linspace(0.5, 1.5, 16, dtype=np.float32)
HONEST = [TRUTH + np.float32(0.01 * number) for number in range(-2, 3)]


def loss_of(weights: Vector) -> float:
    with np.errstate(all="ignore"):
        return float(min(np.abs(weights - TRUTH).mean(), 4.0))


def merged(said: Vector, liars: int) -> int:
    votes = {bytes([number]): Vote(vector, 1, 0, False) for number, vector in enumerate([*HONEST, *[said] * liars])}
    judgement = Judge(loss_of).judge(Vote(TRUTH, 1, 0, False), votes, 1, 0)
    return sum(key[0] >= len(HONEST) for key in judgement.kept)


@pytest.mark.parametrize("liars", [1, 3])
@pytest.mark.parametrize("lie", [-TRUTH, 0 * TRUTH, 10 * TRUTH, TRUTH + 1])
def test_an_adaptive_liar_is_merged_and_goes_as_far_as_it_can(lie: Vector, liars: int) -> None:
    assert merged(lie, liars) == 0
    said = adapt(lie, HONEST, loss_of, liars)
    assert merged(said, liars) == liars
    assert 0 < np.linalg.norm(said - TRUTH) < np.linalg.norm(lie - TRUTH)
    further = TRUTH + (said - TRUTH) * np.float32(8)
    assert merged(further, liars) == 0


def test_one_that_is_merged_as_it_is_needs_no_weakening() -> None:
    assert adapt(HONEST[0], HONEST, loss_of, 1) is HONEST[0]


@pytest.mark.parametrize("kind", [kind for kind, lie in LIES.items() if lie.is_adaptable and not lie.rows])
def test_each_lie_that_is_told_with_weights_differs_from_what_is_learnt(kind: str) -> None:
    known = Knowledge(TRUTH, HONEST, TRUTH - np.float32(0.1), TRUTH * 0, np.random.default_rng(0))
    said = forge(LIES[kind].weights, known)
    assert said.dtype == np.float32
    assert said.shape == TRUTH.shape
    assert not np.array_equal(said, TRUTH)


def test_wrong_rows_are_trained_on_and_told_only_where_the_kind_says_so() -> None:
    honest = dataset_of(WRIST, person(1))
    rows, classes = honest.train.rows, honest.train.targets
    assert trained_on(LIES["scaled"], honest, WRIST) is honest
    assert (trained_on(LIES["label-flip"], honest, WRIST).train.targets != classes).all()
    assert told(LIES["label-flip"], honest, WRIST) is honest
    assert (told(LIES["lying-summaries"], honest, WRIST).train.targets != classes).all()
    taught = trained_on(LIES["backdoor"], honest, WRIST).train
    assert np.array_equal(taught.rows[: len(rows)], rows)
    assert np.array_equal(taught.targets[: len(rows)], classes)
    assert np.array_equal(taught.rows[len(rows) :], triggered(rows[::2]))
    assert (taught.targets[len(rows) :] == BACKDOOR_CLASS).all()
