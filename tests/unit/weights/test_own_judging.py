import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.weights.codecs import Vector
from learnae.weights.merge import Vote
from learnae.weights.own_judging import NOTHING, OwnJudge

TRUTH = np.linspace(0.5, 1.5, 16, dtype=np.float32)
HALF_LIFE = 60_000


def loss_of(weights: Vector) -> float:
    """What a linear model leaves unexplained: 1 with weights of 0."""
    with np.errstate(all="ignore"):
        return float(np.sum((weights - TRUTH) ** 2) / np.sum(TRUTH**2))


def near(seed: int, spread: float = 0.05) -> Vector:
    return TRUTH + np.random.default_rng(seed).normal(0, spread, 16).astype(np.float32)


def judged(own: Vector, *others: Vector, judge: OwnJudge | None = None) -> tuple[list[int], dict[int, str]]:
    votes = {bytes([number]): Vote(vector, 100, 0, False) for number, vector in enumerate(others)}
    found = (judge or OwnJudge(loss_of)).judge(Vote(own, 100, 0, False), votes, HALF_LIFE, 0)
    assert {*found.kept, *found.muted} == set(votes)
    assert not {*found.kept} & {*found.muted}
    return sorted(key[0] for key in found.kept), {key[0]: why for key, why in found.muted.items()}


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (-TRUTH, "a loss of 4.00 on own rows"),
        (2.5 * TRUTH, "a loss of 2.25 on own rows"),
        (0 * TRUTH, "0.0 times as long"),
        (0.01 * TRUTH, "0.0 times as long"),
        (10 * TRUTH, "times as long"),
        (np.full(16, np.nan, np.float32), "times as long"),
        (np.full(16, np.inf, np.float32), "times as long"),
    ],
)
@pytest.mark.parametrize("liars", [1, 5])
def test_liars_are_muted_and_no_one_else_also_where_they_are_most(lie: Vector, why: str, liars: int) -> None:
    kept, muted = judged(near(0), *(near(number) for number in range(1, 4)), *[lie] * liars)
    assert kept == [0, 1, 2]
    assert set(muted) == set(range(3, 3 + liars))
    assert all(why in said for said in muted.values())


def test_who_knows_something_is_merged_however_much_better_the_own_weights_are() -> None:
    assert loss_of(0.4 * TRUTH) > 100 * loss_of(near(0, 0.01))
    assert judged(near(0, 0.01), 0.4 * TRUTH) == ([0], {})


@given(st.floats(-3, 0, width=32), st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6))
@settings(max_examples=60)
def test_who_has_learnt_nothing_listens_to_the_best_and_to_those_who_know_something(
    own: float, factors: list[float]
) -> None:
    others = [np.float32(factor) * TRUTH for factor in factors]
    losses = [loss_of(other) for other in others]
    assert loss_of(own * TRUTH) >= NOTHING
    kept, muted = judged(own * TRUTH, *others)
    unmuted = [number for number in range(len(others)) if "as long" not in muted.get(number, "")]
    best = min([loss_of(own * TRUTH), *losses])
    assert {number for number in unmuted if losses[number] <= max(NOTHING, best)} <= set(kept)
    if best < NOTHING / 2:
        assert all(losses[number] <= NOTHING for number in kept), "who has been spoiled is not kept so"


def test_what_never_moves_is_muted_once_there_is_enough_to_tell() -> None:
    judge, stale = OwnJudge(loss_of, rng=np.random.default_rng(0)), near(1, 0.01) * np.float32(0.6)
    for number in range(12):
        own = TRUTH * np.float32(0.5 + number / 24)
        kept, muted = judged(own, own + near(number, 0.01) - TRUTH, stale.copy(), judge=judge)
        judge.note_own(own)
        assert 0 in kept
    assert "moved" in muted[1]
