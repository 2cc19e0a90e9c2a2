import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.weights import momentum as momentum_module
from learnae.weights.codecs import Vector
from learnae.weights.merge import NO_MOMENTS, Moments
from learnae.weights.momentum import EARLY, FREE, Momentum, beyond

SECOND, HALF_LIFE = 1000, 60_000
BETAS = st.floats(0, 0.9)
VECTORS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3).map(lambda each: np.array(each, np.float32))
UNUSUAL = [{"others": 1}, {"others": 0}, {"now": 3 * SECOND + HALF_LIFE + 1}, {"now": -1}, {"fresh": True}]


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def moving(beta: float = 0.25, merges: int = 4, moments: Moments = NO_MOMENTS) -> Momentum:
    """Return one whose every merge has gone a step of 1, each second; the last gave what ``_base`` holds."""
    momentum = Momentum(beta, HALF_LIFE, moments)
    weights = np.zeros(3, np.float32)
    for number in range(merges):
        weights = momentum.go_on(weights + 1, weights + 1, 2, number * SECOND)
    return momentum


def test_the_examples_in_the_docstrings_are_true() -> None:
    assert doctest.testmod(momentum_module) == (0, 4)


@given(VECTORS, VECTORS, VECTORS, st.floats(0, FREE))
def test_up_to_a_bound_it_is_nesterovs_rule(merged: Vector, move: Vector, velocity: Vector, beta: float) -> None:
    result, faster = beyond(merged, move, velocity, beta)
    expected = merged.astype(float) + beta * (beta * velocity.astype(float) + move)
    assert result == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert faster == pytest.approx(beta * velocity.astype(float) + move, rel=1e-4, abs=1e-3)


@given(VECTORS, VECTORS, BETAS.filter(lambda beta: beta > FREE))
def test_beyond_it_old_velocity_adds_no_more_than_the_move(move: Vector, velocity: Vector, beta: float) -> None:
    _, faster = beyond(np.zeros(3, np.float32), move, velocity, beta)
    assert np.linalg.norm(faster) <= (1 + beta) * np.linalg.norm(move) * 1.001 + 1e-3


@pytest.mark.parametrize(("beta", "times"), [(0.1, 1 / 0.9), (FREE, 1 / (1 - FREE)), (0.5, 1.75), (0.7, 2.19)])
def test_a_steady_way_is_gone_so_many_times_as_far(beta: float, times: float) -> None:
    momentum, weights, before = Momentum(beta, HALF_LIFE), np.zeros(3, np.float32), np.zeros(3, np.float32)
    velocity = np.zeros(3, np.float32)
    for _ in range(60):
        before, (weights, velocity) = weights, beyond(weights + 1, np.ones(3, np.float32), velocity, beta)
    assert (weights - before)[0] == pytest.approx(times, rel=0.01)
    assert momentum.beta == beta


@given(st.lists(st.tuples(VECTORS, VECTORS), max_size=8))
def test_without_a_beta_a_merge_is_what_it_was_to_the_bit(merges: list[tuple[Vector, Vector]]) -> None:
    momentum = Momentum(0.0, HALF_LIFE)
    assert all(momentum.go_on(own, merged, 8, now) is merged for now, (own, merged) in enumerate(merges))


def test_the_first_merges_are_plain() -> None:
    momentum, own = Momentum(0.25, HALF_LIFE), vector(1, 1, 1)
    assert momentum.go_on(own, vector(9, 9, 9), 2, 0).tolist() == [9, 9, 9]
    assert momentum.go_on(own, vector(7, 7, 7), 2, 1).tolist() == [7, 7, 7]
    assert momentum.go_on(own, vector(3, 3, 3), 2, 2).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("young", "loss", "ahead"),
    [(True, 1.0, EARLY), (False, 1.0, 0.25), (True, None, 0.25)],
    ids=["young", "old", "no own rows"],
)
def test_a_young_swarm_goes_on_further(young: bool, loss: float | None, ahead: float) -> None:
    momentum, weights = Momentum(0.25, HALF_LIFE), np.zeros(1, np.float32)
    for now in range(3):
        merged = weights + 1
        weights = momentum.go_on(merged, merged, 2, now, lambda _: loss, young=young)
    assert weights == pytest.approx(merged + ahead)


def test_what_loses_own_rows_goes_on_no_further_than_ever_and_no_beginning_lasts() -> None:
    momentum, weights, ways = Momentum(0.25, HALF_LIFE), np.zeros(1, np.float32), []
    for now in range(60):
        merged = weights + 1
        weights = momentum.go_on(merged, merged, 2, now, lambda at: float(at[0] > merged[0] + 0.5), young=True)  # noqa: B023
        ways.append(float((weights - merged)[0]))
    assert max(ways) < 0.5
    steady, weights = Momentum(0.25, HALF_LIFE), np.zeros(1, np.float32)
    for now in range(60):
        merged = weights + 1
        weights = steady.go_on(merged, merged, 2, now, lambda _: 1.0, young=True)
    assert float((weights - merged)[0]) == pytest.approx(0.25 / 0.75, rel=0.01)


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_what_is_no_usual_merge_is_plain_and_the_next_begins_without_a_velocity(unusual: dict[str, object]) -> None:
    momentum = moving()
    merged = vector(50, 50, 50)
    arguments = {"others": 2, "now": 4 * SECOND, **unusual}
    assert momentum.go_on(vector(9, 9, 9), merged, **arguments) is merged  # type: ignore[arg-type]
    after = momentum.go_on(merged + 1, merged + 1, 2, int(str(arguments["now"])) + 1)
    assert after == pytest.approx(merged + 1.25)


def test_weights_that_are_replaced_begin_anew() -> None:
    momentum = moving()
    momentum.forget()
    for now in (5 * SECOND, 6 * SECOND):
        assert momentum.go_on(vector(9, 9, 9), merged := vector(1, 2, 3), 2, now) is merged


def test_who_pauses_between_two_merges_goes_on_later_at_the_same_velocity() -> None:
    momentum, still = moving(), moving()
    weights = momentum.go_on(vector(9, 9, 9), vector(9, 9, 9), 2, 4 * SECOND)
    assert still.go_on(vector(9, 9, 9), vector(9, 9, 9), 2, 4 * SECOND).tolist() == weights.tolist()
    paused = momentum.go_on(weights, vector(7, 7, 7), 2, 5 * SECOND)
    assert paused.tolist() == [7, 7, 7], "no phase of its own: a plain merge"
    once, other = (
        each.go_on(base + 1, base + 1, 2, 6 * SECOND) - base for each, base in ((momentum, paused), (still, weights))
    )
    assert once == pytest.approx(other, rel=1e-5)


@given(st.floats(10, 1e6))
def test_a_leap_is_merged_and_not_gone_on_with(leap: float) -> None:
    momentum = moving(merges=20)
    base = np.zeros(3, np.float32)
    momentum.stop(base)
    merged = np.full(3, leap, np.float32)
    result = momentum.go_on(base + 1, merged, 2, 20 * SECOND)
    assert np.linalg.norm(result - merged) <= 0.25 * 2 * np.sqrt(3) * 1.001 + leap * 1e-6
    momentum.stop(base)
    after = momentum.go_on(base + 1, base + 1, 2, 21 * SECOND)
    assert np.linalg.norm(after - base - 1) <= 0.25 * np.sqrt(3) * 1.001


def test_statistics_have_no_velocity() -> None:
    momentum = moving(moments=Moments(np.array([1]), np.array([2])))
    result = momentum.go_on(vector(9, 9, 9), vector(9, 9, 9), 2, 4 * SECOND)
    assert result[0] > 9
    assert result[1:].tolist() == [9, 9]


@pytest.mark.parametrize(("loss", "beta"), [({True: 1.0, False: 1.0}, 0.5), ({True: None, False: None}, FREE)])
def test_much_of_it_needs_rows_to_be_asked(loss: dict[bool, float | None], beta: float) -> None:
    momentum, merged = moving(0.5), vector(99, 99, 99)
    momentum.stop(merged - 1)
    result = momentum.go_on(merged, merged, 2, 4 * SECOND, lambda weights: loss[weights is merged])
    assert result == pytest.approx(merged + beta)


@pytest.mark.parametrize("worse", [1.04, float("nan"), float("inf"), None])
def test_what_own_rows_speak_against_is_left(worse: float | None) -> None:
    momentum, merged = moving(0.5), vector(9, 9, 9)
    assert momentum.go_on(merged, merged, 2, 4 * SECOND, lambda weights: 1.0 if weights is merged else worse) is merged
    after = momentum.go_on(merged + 1, merged + 1, 2, 5 * SECOND, lambda _: 1.0)
    assert after == pytest.approx(merged + 1.5), "without a velocity"
