"""The consensus estimate over time."""

from __future__ import annotations

import numpy as np
import pytest

from learnae.weights.codecs import Vector
from learnae.weights.consensus import ConsensusEstimate
from learnae.weights.merge import Vote

HALF_LIFE = 1000


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def votes(value: float, count: int) -> list[Vote]:
    return [Vote(vector(value), 1, 0)] * count


def renewed(*, live: int, heard: int, times: int = 1, age: int = HALF_LIFE) -> float:
    """An estimate of 4 that then hears votes for 0."""
    estimate = ConsensusEstimate(vector(9), HALF_LIFE)
    estimate.renew(votes(4, heard), live, 0)
    assert estimate.vector.tolist() == [4]  # what was there before this process began is not averaged
    for number in range(times):
        estimate.renew(votes(0, heard), live, age + number)
    return float(estimate.vector[0])


def test_who_hears_all_votes_needs_no_average() -> None:
    assert renewed(live=2, heard=2) == 0


def test_who_hears_half_moves_half_way() -> None:
    assert renewed(live=4, heard=2) == 2


def test_few_votes_are_averaged_over_some_updates_and_not_for_ever() -> None:
    assert renewed(live=100, heard=1, times=2) == pytest.approx(4 * 0.7**2)


def test_an_estimate_older_than_the_half_life_is_replaced() -> None:
    assert renewed(live=4, heard=2, age=HALF_LIFE + 1) == 0


def test_nobody_else_alive_is_no_division_by_zero() -> None:
    assert renewed(live=0, heard=1) == 0
