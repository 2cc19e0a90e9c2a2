import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.errors import MessageError
from learnae.ipld import dagcbor
from learnae.protocol.bodies import BUCKETS, MAX_CELLS, Summary, parse_body
from learnae.protocol.limits import HOUR, Limits
from learnae.samples import dp_statistics as summary
from learnae.samples.dp_statistics import BOUND, DELTA, EPSILON, Statistics, buckets_of, next_summary

LIMITS = Limits()
HORIZON = 24 * HOUR


class Still(random.Random):
    """No noise: what is left is what was counted."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu


class Recorder(random.Random):
    """Remembers how much noise was asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.scales: list[float] = []

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        self.scales.append(sigma)
        return super().gauss(mu, sigma)


def known(rows: int = 2000, columns: int = 3, classes: int = 2) -> tuple[Statistics, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = (rng.normal(size=(rows, columns)) * 2 + np.arange(columns)).astype(np.float32)
    labels = rng.integers(-1, classes, rows)
    statistics = Statistics(columns, classes)
    statistics.add(values, labels)
    return statistics, values, labels


def read_back(found: Summary) -> Summary:
    body = parse_body(dagcbor.decode(dagcbor.encode(found.to_fields())), LIMITS)
    assert isinstance(body, Summary)
    return body


def test_without_noise_a_release_says_what_the_rows_are() -> None:
    statistics, values, labels = known()
    found = statistics.release(rng=Still())
    assert [group.label for group in found.groups] == [0, 1, None]
    for group, label in zip(found.groups, (0, 1, -1), strict=True):
        own = values[labels == label].astype(np.float64)
        assert group.count == len(own)
        clipped = np.clip(own, -BOUND, BOUND)
        np.testing.assert_allclose(group.mean, clipped.mean(axis=0), atol=2e-3)
        np.testing.assert_allclose(group.variance, clipped.var(axis=0), rtol=1e-2)
        for column, counts in enumerate(group.histogram):
            expected = np.bincount(buckets_of(own[:, column]), minlength=BUCKETS)
            np.testing.assert_array_equal(counts, expected)
    assert found.rows == len(values)


def test_pieces_add_up() -> None:
    statistics, values, labels = known()
    pieces = Statistics(3, 2)
    for start in range(0, len(values), 7):
        pieces.add(values[start : start + 7], labels[start : start + 7])
    assert pieces.release(rng=Still()) == statistics.release(rng=Still())


def test_a_window_counts_as_one_row_however_long_it_is() -> None:
    windows = np.zeros((400, 50, 2), np.float32)
    windows[:, :25] = 1.0
    statistics = Statistics(2)
    statistics.add(windows, np.full(400, -1))
    (group,) = statistics.release(rng=Still()).groups
    assert group.count == 400
    assert group.mean == (0.5, 0.5)
    assert all(sum(counts) == 400 and counts[BUCKETS // 2] == 200 for counts in group.histogram)


def test_rows_without_number_are_skipped_and_counted() -> None:
    statistics = Statistics(2, 2)
    statistics.add(np.array([[1, np.nan], [np.inf, 1], [1, 2]], np.float32), np.array([0, 1, 1]))
    assert (statistics.rows, statistics.skipped) == (1, 2)
    assert [group.count for group in statistics.release(rng=Still()).groups] == [0, 1, 0]


def test_classes_that_nobody_knows_count_as_unknown() -> None:
    statistics = Statistics(1, 2)
    statistics.add(np.ones((3, 1), np.float32), np.array([-1, 2, 10**9]))
    assert [group.count for group in statistics.release(rng=Still()).groups] == [0, 0, 3]


# -- privacy


def analytic_delta(sigma: float, sensitivity: float, epsilon: float) -> float:
    """Balle & Wang 2018, theorem 8: the delta that Gaussian noise of ``sigma`` really gives."""

    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    a, b = sensitivity / (2 * sigma), epsilon * sigma / sensitivity
    return phi(a - b) - math.exp(epsilon) * phi(-a - b)


@pytest.mark.parametrize("columns", [1, 30, 320])
def test_the_noise_is_as_large_as_the_promise_needs(columns: int) -> None:
    """The largest change that one row can make is found by looking, not by the formula under test."""
    row = np.full((1, columns), 1e9, np.float32)  # beyond the bound: clipped
    statistics = Statistics(columns, 0)
    statistics.add(row, np.array([-1]))
    spy = Recorder()
    statistics.release(rng=spy)
    changes = [statistics._counts, statistics._moments, statistics._histogram]
    moved = np.concatenate([change.ravel() for change in changes])
    assert len(spy.scales) == len(moved), "every number has noise of its own"
    # noise of one standard deviation everywhere, changes in its unit
    sensitivity = float(np.linalg.norm(moved / np.array(spy.scales)))
    assert analytic_delta(1.0, sensitivity, EPSILON) <= DELTA
    assert analytic_delta(1.0, sensitivity * 1.6, EPSILON) > DELTA, "and not many times larger"


@given(hnp.arrays(np.float32, (4, 5, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_no_row_moves_a_number_by_more_than_the_promise_assumes(rows: np.ndarray) -> None:
    statistics = Statistics(3, 2)
    statistics.add(rows[:3], np.array([0, 1, -1]))
    parts = (statistics._counts, statistics._moments, statistics._histogram)
    before = [part.copy() for part in parts]
    statistics.add(rows[3:], np.array([1]))
    counts, moments, histogram = (after - first for after, first in zip(parts, before, strict=True))
    assert np.linalg.norm(counts) <= 1 + 1e-9
    assert np.linalg.norm(histogram) <= math.sqrt(3) + 1e-9
    assert np.abs(moments).max() <= 1 + 1e-9


def test_noise_comes_from_the_system_and_differs_each_time() -> None:
    statistics, _, _ = known()
    assert statistics.release() != statistics.release()


def test_moments_of_few_rows_are_not_told() -> None:
    statistics = Statistics(1, 1)
    statistics.add(np.full((3, 1), 1.25, np.float32), np.zeros(3, np.int64))
    statistics.add(np.full((5000, 1), 1.25, np.float32), np.full(5000, -1))
    few, many = statistics.release(rng=random.Random(2)).groups
    assert few.mean == few.variance == ()
    assert many.mean == pytest.approx((1.25,), abs=0.1)


def test_no_input_can_be_found_in_a_release() -> None:
    statistics, values, _ = known()
    found = statistics.release(rng=random.Random(5))
    data = dagcbor.encode(found.to_fields())
    for value in values[:200].ravel():
        for form in ("<f4", ">f4", "<f8", ">f8"):
            assert np.array(value, form).tobytes() not in data
    extremes = {float(values.min()), float(values.max())}
    told = {number for group in found.groups for number in (*group.mean, *group.variance)}
    assert not extremes & told


# -- size and shape


def test_buckets_are_bounded_by_powers_of_two() -> None:
    middle = BUCKETS // 2
    values = np.array([0.0, 2.0**-5 - 1e-9, 2.0**-5, 0.99, 1.0, 1.99, 2.0, 31.9, 32.0, 1e300, -1.0, -1e300, -1e-300])
    expected = [0, 0, 1, 5, 6, 6, 7, 10, 11, 11, -6, -11, 0]
    assert buckets_of(values).tolist() == [middle + offset for offset in expected]


@given(hnp.arrays(np.float64, 20, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_value_has_a_bucket_and_order_is_kept(values: np.ndarray) -> None:
    buckets = buckets_of(np.sort(values))
    assert (buckets >= 0).all()
    assert (buckets < BUCKETS).all()
    assert (np.diff(buckets) >= 0).all()


@pytest.mark.parametrize(("columns", "classes"), [(MAX_CELLS, 0), (1, MAX_CELLS - 1), (30, 10), (64, 4)])
def test_the_largest_summary_fits_into_a_message(columns: int, classes: int) -> None:
    statistics = Statistics(columns, classes)
    statistics._counts += 4e9
    statistics._histogram += 4e9
    statistics._moments += 2e9
    found = statistics.release(rng=random.Random(1))
    assert len(found.groups) == classes + 1
    assert len(dagcbor.encode(found.to_fields())) < LIMITS.message_bytes - 1024
    assert read_back(found) == found


def test_classes_that_would_not_fit_become_one_group() -> None:
    statistics = Statistics(320, 7)
    statistics.add(np.ones((2000, 320), np.float32), np.arange(2000) % 7)
    (group,) = statistics.release(rng=Still()).groups
    assert (group.label, group.count) == (None, 2000)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 10**6))
def test_what_is_released_is_read_back(columns: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    statistics = Statistics(columns, classes)
    statistics.add(rng.normal(size=(300, columns)).astype(np.float32) * 100, rng.integers(-1, 5, 300))
    found = statistics.release(seed + 1, random.Random(seed))
    assert read_back(found) == found


def fields(**changes: Any) -> dict[str, Any]:
    statistics, _, _ = known(columns=2, classes=1)
    return {**statistics.release(rng=random.Random(1)).to_fields(), **changes}


GROUP = fields()["groups"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"release": 0},
        {"columns": 0},
        {"columns": MAX_CELLS + 1},
        {"columns": 3},
        {"noise": None},
        {"noise": {"epsilon": -1, "delta": 0.1}},
        {"noise": {"epsilon": 1, "delta": 2}},
        {"groups": {}},
        {"groups": [GROUP] * (MAX_CELLS // 2 + 1)},
        {"groups": [{**GROUP, "label": -1}]},
        {"groups": [{**GROUP, "count": -1}]},
        {"groups": [{**GROUP, "count": 2**32}]},
        {"groups": [{**GROUP, "mean": [1.0]}]},
        {"groups": [{**GROUP, "mean": []}]},
        {"groups": [{**GROUP, "mean": [1.0], "variance": [1.0]}]},
        {"groups": [{**GROUP, "mean": [], "variance": []}, None]},
        {"groups": [{**GROUP, "variance": [-1.0, 1.0]}]},
        {"groups": [{**GROUP, "mean": [math.inf, 1.0]}]},
        {"groups": [{**GROUP, "histogram": GROUP["histogram"][:1]}]},
        {"groups": [{**GROUP, "histogram": [[0] * (BUCKETS + 1)] * 2}]},
        {"groups": [{**GROUP, "histogram": [[-1] * BUCKETS] * 2}]},
        {"groups": [{**GROUP, "histogram": [[0.5] * BUCKETS] * 2}]},
    ],
    ids=str,
)
def test_summaries_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    assert parse_body(fields(), LIMITS)
    with pytest.raises(MessageError):
        parse_body(fields(**changes), LIMITS)


# -- when


def grown(rows: int) -> Statistics:
    statistics = Statistics(1)
    statistics.add(np.zeros((rows, 1), np.float32), np.full(rows, -1))
    return statistics


def test_a_new_release_needs_half_as_many_rows_again_and_time() -> None:
    first = next_summary(grown(1000), None, 10**9, HORIZON, Still())
    assert first is not None
    assert (first.release, first.rows) == (1, 1000)
    soon, later = HORIZON // 16 - 1, HORIZON // 16
    assert next_summary(grown(9000), first, soon, HORIZON) is None
    assert next_summary(grown(1499), first, later, HORIZON) is None
    second = next_summary(grown(1500), first, later, HORIZON, Still())
    assert second is not None
    assert (second.release, second.rows) == (2, 1500)


def test_what_is_known_costs_no_new_noise() -> None:
    first = next_summary(grown(1000), None, 10**9, HORIZON)
    assert first is not None
    assert next_summary(grown(1000), first, 9 * HORIZON, HORIZON) is None, "the peer repeats its checkpoint"


def test_less_rows_than_noise_are_not_summarised() -> None:
    noise = Statistics(1).noise
    assert next_summary(grown(int(noise)), None, 10**9, HORIZON) is None
    assert next_summary(grown(math.ceil(noise)), None, 10**9, HORIZON) is not None


def test_constants_are_what_the_protocol_says() -> None:
    assert BUCKETS == 2 * (summary.LARGEST - summary.SMALLEST + 1) + 1
