"""Resampling: sample and hold onto a grid; gaps stay gaps, and a clock that jumps confuses nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.resampling import Resampler
from learnae.ports import Samples

T = 1.7e9  # a multiple of any period here


def rows(samples: Samples) -> list[tuple[float, ...]]:
    """(seconds since T, values…) of each reading."""
    return [(round(time - T, 6), *values) for time, values in zip(samples.time, samples.values.tolist(), strict=True)]


def begun(channels: int = 1, rate: float = 1.0, hold: float = 0.0) -> Resampler:
    resampler = Resampler(channels, rate, hold)
    resampler.take(T)
    return resampler


def test_a_reading_stands_until_the_next() -> None:
    resampler = begun()
    resampler.put(0, T + 0.5, 1)
    resampler.put(0, T + 2.5, 2)
    assert rows(resampler.take(T + 4.2)) == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_of_several_readings_in_one_period_the_newest_counts() -> None:
    resampler = begun()
    for index in range(9):
        resampler.put(0, T + 0.1 * index, index)
    assert rows(resampler.take(T + 1)) == [(1, 8)]


def test_a_reading_stands_no_longer_than_the_limit() -> None:
    resampler = begun(hold=2.0)
    resampler.put(0, T + 0.5, 1)
    assert rows(resampler.take(T + 20)) == [(1, 1), (2, 1)]
    resampler.put(0, T + 22.5, 2)
    assert rows(resampler.take(T + 23)) == [(23, 2)]


def test_the_limit_is_ten_periods_unless_told_otherwise() -> None:
    resampler = begun(rate=50.0)
    resampler.put(0, T + 0.001, 1)
    assert len(rows(resampler.take(T + 10))) == 10


def test_a_point_needs_all_channels() -> None:
    resampler = begun(channels=2, hold=3.0)
    resampler.put(0, T + 0.5, 1)
    assert rows(resampler.take(T + 2)) == []
    resampler.put(1, T + 2.5, 7)
    assert rows(resampler.take(T + 5)) == [(3, 1, 7)]


def test_how_often_it_is_asked_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 60, 200))
    whole, pieces = begun(hold=0.5), begun(hold=0.5)
    found = []
    for value, time in enumerate(times):
        whole.put(0, T + time, value)
        found += rows(pieces.take(T + time - 1e-3))
        pieces.put(0, T + time, value)
    assert found + rows(pieces.take(T + 61)) == rows(whole.take(T + 61))
    assert 20 < len(found) < 60


@pytest.mark.parametrize("jump", [-366 * 86_400, 366 * 86_400, -5.0])
def test_a_clock_that_jumps_begins_anew(jump: float) -> None:
    resampler = begun(hold=1.0)
    for second in range(5):
        resampler.put(0, T + second, second)
    resampler.take(T + 4)
    assert rows(resampler.take(T + jump)) == []
    resampler.put(0, T + jump + 1, 10)
    resampler.put(0, T + jump + 2, 11)
    assert rows(resampler.take(T + jump + 2)) == [(jump + 1, 10), (jump + 2, 11)]


def test_after_a_step_back_what_was_taken_before_it_does_not_count() -> None:
    resampler = begun(hold=100.0)
    for second in range(8):
        resampler.put(0, T + second, second)
    resampler.take(T + 7)
    resampler.put(0, T + 1.5, 100)
    resampler.put(0, T + 2.5, 101)
    assert rows(resampler.take(T + 4)) == [(2, 100), (3, 101), (4, 101)]


def test_a_small_step_back_repeats_nothing() -> None:
    resampler = begun()
    resampler.put(0, T + 1, 1)
    assert rows(resampler.take(T + 2)) == [(1, 1), (2, 1)]
    resampler.put(0, T + 1.5, 2)
    assert rows(resampler.take(T + 1.6)) == []
    assert rows(resampler.take(T + 3)) == [(3, 2)]


@given(
    rate=st.sampled_from([1.0, 40.0, 1000.0]),
    pushes=st.lists(
        st.tuples(st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.3, 7.0, -0.5, -9.0]), max_size=9), st.floats(-2, 9)),
        max_size=9,
    ),
)
def test_rows_put_at_once_count_as_their_values_put_one_by_one(
    rate: float, pushes: list[tuple[list[float], float]]
) -> None:
    whole, single, number, now = begun(2, rate), begun(2, rate), itertools.count(), T
    for steps, wait in pushes:
        times = now + np.cumsum(np.array(steps, np.float64))
        values = np.array([(next(number), next(number)) for _ in steps], np.float32).reshape(-1, 2)
        whole.put_rows(times, values)
        for time, row in zip(times.tolist(), values.tolist(), strict=True):
            for channel, value in enumerate(row):
                single.put(channel, time, value)
        now = float(times[-1]) if steps else now
        assert rows(whole.take(now + wait)) == rows(single.take(now + wait))


def test_a_channel_without_a_reading_keeps_the_one_before() -> None:
    resampler = begun(channels=2, rate=10.0, hold=0.25)
    values = np.array([[1, 5], [2, np.nan], [3, np.nan], [4, np.nan], [6, 7]], np.float64)
    resampler.put_rows(T + np.arange(5) / 10, values)
    assert resampler.take(T + 0.45).values.tolist() == [[2, 5], [3, 5], [6, 7]]


@pytest.mark.parametrize("part", [10_000, 5000, 7])
def test_a_flood_of_rows_costs_the_oldest_too(part: int) -> None:
    resampler, times = begun(rate=1000.0, hold=100.0), T + np.arange(10_000) / 10_000
    for start in range(0, 10_000, part):
        resampler.put_rows(times[start : start + part], np.arange(start, min(start + part, 10_000))[:, None])
    assert resampler.dropped == 10_000 - 4096
    assert rows(resampler.take(T + 1))[0] == (0.591, 5910)


def test_a_flood_costs_the_oldest_and_is_counted() -> None:
    resampler = begun(rate=1000.0, hold=100.0)
    for index in range(10_000):
        resampler.put(0, T + index / 10_000, index)
    assert resampler.dropped == 10_000 - 4096
    assert len(rows(resampler.take(T + 60))) <= 4096
