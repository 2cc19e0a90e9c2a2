import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.weights.codecs import Vector
from learnae.weights.judging import Judge, JudgingPolicy
from learnae.weights.merge import Vote
from learnae.weights.own_judging import OwnJudge

TRUTH = np.linspace(0.5, 1.5, 16, dtype=np.float32)
HALF_LIFE = 60_000


def loss_of(weights: Vector) -> float:
    with np.errstate(all="ignore"):
        return float(min(np.abs(weights - TRUTH).mean(), 4.0))


def near(seed: int, spread: float = 0.05) -> Vector:
    return TRUTH + np.random.default_rng(seed).normal(0, spread, 16).astype(np.float32)


def vote(vector: Vector, samples: int = 100) -> Vote:
    return Vote(vector, samples, 0, False)


def judged(own: Vector, *others: Vector, judge: Judge | None = None) -> tuple[list[int], dict[int, str]]:
    votes = {bytes([number]): vote(vector) for number, vector in enumerate(others)}
    found = (judge or Judge(loss_of)).judge(vote(own), votes, HALF_LIFE, 0)
    assert {*found.kept, *found.muted} == set(votes)
    assert not {*found.kept} & {*found.muted}
    return sorted(key[0] for key in found.kept), {key[0]: why for key, why in found.muted.items()}


def test_honest_peers_are_all_merged() -> None:
    assert judged(near(0), *(near(number) for number in range(1, 8))) == (list(range(7)), {})


def test_an_honest_peer_that_differs_is_merged_while_the_mean_is_as_good() -> None:
    honest = [near(number, 0.03) for number in range(12)]
    best = min(map(loss_of, honest))
    outlier = TRUTH + np.float32(2.5 * best + 0.1) * np.resize(np.float32([1, -1]), 16)
    assert 2 * best + 0.1 < loss_of(outlier) < 3 * best + 0.1  # by itself it would be muted
    assert judged(*honest, outlier) == (list(range(12)), {})
    far = TRUTH + np.float32(3.5 * best + 0.1) * np.resize(np.float32([1, -1]), 16)
    kept, muted = judged(*honest, far)
    assert kept == list(range(11)), "each merge would bring a little of it in"
    assert "a loss of" in muted[11]


def test_rows_of_few_kinds_mute_what_knows_nothing_and_no_one_else() -> None:
    judge = Judge(loss_of, JudgingPolicy(harm=np.inf, slack=np.inf, movement=0.0, nothing=0.98 * loss_of(0 * TRUTH)))
    differs = TRUTH + np.float32(0.9) * np.resize(np.float32([1, -1]), 16)
    assert loss_of(differs) > 3 * loss_of(near(0)) + 0.1
    kept, muted = judged(near(0), near(1), differs, 0 * TRUTH, -TRUTH, judge=judge)
    assert kept == [0, 1]
    assert set(muted) == {2, 3}


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (-TRUTH, "a loss of"),
        (0 * TRUTH, "a loss of"),
        (10 * TRUTH, "times as long"),
        (np.full(16, np.nan, np.float32), "times as long"),
        (np.full(16, 1e6, np.float32), "times as long"),
    ],
)
@pytest.mark.parametrize("liars", [1, 3])
def test_liars_are_muted_and_no_one_else(lie: Vector, why: str, liars: int) -> None:
    kept, muted = judged(near(0), *(near(number) for number in range(1, 6)), *[lie] * liars)
    assert kept == [0, 1, 2, 3, 4]
    assert set(muted) == set(range(5, 5 + liars))
    assert all(why in said for said in muted.values())


def test_what_never_moves_is_muted_once_there_is_enough_to_tell() -> None:
    judge, stale = Judge(loss_of, rng=np.random.default_rng(0)), near(1, 0.01) + 1
    for number in range(12):
        step = np.float32((12 - number) / 12)
        own, honest = TRUTH + step, TRUTH + step + near(number, 0.01) - TRUTH
        kept, muted = judged(own, honest, stale.copy(), judge=judge)
        judge.note_own(own)
        assert 0 in kept
        assert (1 in muted) == (number >= JudgingPolicy().updates + 1) or "loss" in muted.get(1, "")
    assert "moved" in muted[1]


@pytest.mark.parametrize("kind", [Judge, OwnJudge])
def test_long_badness_makes_suspect_and_heals(kind: type[Judge]) -> None:
    judge = kind(loss_of)
    for _ in range(8):
        judged(near(0), near(1), -TRUTH, judge=judge)
    assert judge.suspects == [b"\x01"]
    for number in range(8):
        judged(near(0), near(1), near(number), judge=judge)
    assert judge.suspects == []


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(max_examples=60)
def test_the_mean_that_is_merged_is_hardly_worse_than_the_own_weights(factors: list[float], seed: int) -> None:
    own = near(seed, 0.2)
    others = [factor * near(seed + number, 0.3) for number, factor in enumerate(factors)]
    kept, _ = judged(own, *others)
    mean = np.mean([own, *(others[number] for number in kept)], axis=0)
    assert loss_of(mean) <= loss_of(own) + JudgingPolicy().tolerance * (len(others) + 1) + 1e-6


@pytest.mark.parametrize(("harm", "liars_kept"), [(0.005, 0), (1.0, 3)])
def test_several_that_do_harm_together_are_muted_though_each_raises_the_loss_a_little(
    harm: float, liars_kept: int
) -> None:
    judge = Judge(loss_of, JudgingPolicy(harm=harm))
    honest = [near(number, 0.001) for number in range(5)]
    for _ in range(8):
        kept, muted = judged(near(9, 0.001), *honest, *[TRUTH + np.float32(0.09)] * 3, judge=judge)
    assert kept == list(range(5 + liars_kept))
    assert all("the mean of all has been better" in why for why in muted.values())


def test_one_that_differs_alone_is_merged_for_ever() -> None:
    judge = Judge(loss_of)
    for number in range(20):
        kept, _ = judged(
            near(9, 0.01), *(near(10 * number + each, 0.01) for each in range(6)), near(3, 0.08), judge=judge
        )
        assert 6 in kept


@given(st.lists(st.floats(-1, 3, width=32), min_size=1, max_size=24), st.integers(0, 2**31), st.integers(1, 16))
@settings(max_examples=60)
def test_looking_ahead_changes_nothing(factors: list[float], seed: int, ahead: int) -> None:
    others = [factor * near(seed + number, 0.1) for number, factor in enumerate(factors)]
    one, many = (
        Judge(loss_of, ahead=1),
        Judge(loss_of, losses_of=lambda all: [loss_of(each) for each in all], ahead=ahead),
    )
    for _ in range(3):
        assert judged(near(seed, 0.1), *others, judge=one) == judged(near(seed, 0.1), *others, judge=many)
