"""What each replica adds to a merge: gains sum to the merge's, who helps is above who harms, and claims buy little."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.weights.codecs import Vector
from learnae.weights.contributions import gains
from learnae.weights.merge import Vote, vote_weights, weighted_sum

GOAL = np.array([1.0, -1.0, 0.5, 2.0], np.float32)
VALUES = st.lists(st.floats(-1, 3, width=32), min_size=4, max_size=4)


def losses_of(several: Iterable[Vector]) -> list[float]:
    return [float(np.minimum((weights - GOAL) ** 2, 9).mean()) for weights in several]


def vote(values: object, samples: int = 100) -> Vote:
    return Vote(np.asarray(values, np.float32), samples, 0, settled=False)


def of(votes: dict[bytes, Vote], orders: int = 2, seed: int = 1) -> dict[bytes, float]:
    return gains(votes, losses_of, 1000, 0, np.random.default_rng(seed), orders=orders)


@settings(max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=7), st.data(), st.integers(0, 2**16), st.integers(1, 3))
def test_gains_sum_to_what_the_mean_is_better_by_than_one_drawn_alone(
    several: list[list[float]], data: st.DataObject, seed: int, orders: int
) -> None:
    samples = data.draw(st.lists(st.integers(1, 300), min_size=len(several), max_size=len(several)))
    votes = {bytes([index]): vote(values, samples[index]) for index, values in enumerate(several)}
    found = of(votes, orders, seed)
    assert found.keys() == votes.keys()
    losses = dict(zip(votes, losses_of([each.vector for each in votes.values()]), strict=True))
    weights = dict(zip(votes, vote_weights(list(votes.values()), 1000, 0), strict=True))
    merged = [author for author in votes if losses[author] <= 2 * min(losses.values()) + 0.1]
    total = sum(weights[author] for author in merged)
    alone = sum(weights[author] * losses[author] for author in merged) / total
    vectors, shares = [votes[author].vector for author in merged], [weights[author] / total for author in merged]
    (together,) = losses_of([weighted_sum(vectors, shares)])
    assert sum(found[author] for author in merged) == pytest.approx(alone - together, abs=1e-4)


def test_more_useful_rows_rank_above_few_and_false_ones() -> None:
    rng = np.random.default_rng(3)
    good = {bytes([index]): vote(GOAL + rng.normal(0, 0.2, 4)) for index in range(5)}
    found = of({**good, b"few": vote(GOAL + rng.normal(0, 0.5, 4), samples=5), b"false": vote(-GOAL)}, 200)
    assert np.mean([found[author] for author in good]) > 10 * abs(found[b"few"])
    assert found[b"false"] < -0.1


def test_a_claim_of_many_samples_buys_little_one_of_none_nothing_and_what_is_no_number_harms_alone() -> None:
    votes = {bytes([index]): vote(GOAL + [0.3, 0.3, -0.3, -0.3][index]) for index in range(4)}
    usual, claims = of(votes, 200), of(votes | {bytes([3]): vote(votes[bytes([3])].vector, 10**9)}, 200)
    assert claims[bytes([3])] < 2 * usual[bytes([3])]
    assert of({**votes, b"none": vote(GOAL, 0)})[b"none"] == 0
    with np.errstate(all="ignore"):
        found = of({**votes, b"far": vote(np.full(4, 3e38))})
    assert np.isfinite(list(found.values())).all()
    assert found[b"far"] < min(found[author] for author in votes)
    assert of({b"one": vote(GOAL)}) == {b"one": 0.0}
