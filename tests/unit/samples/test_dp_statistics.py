import math
from dataclasses import replace

import numpy as np
import pytest
from builders import tiny_manifest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from learnae.ipld import dagcbor
from learnae.privacy.accountant import mu_for
from learnae.privacy.policy import PrivacyPolicy, SummaryPrivacy, TrainingPrivacy
from learnae.protocol.bodies import (
    COUNT_STEPS,
    DIAGONAL,
    FULL,
    READING,
    SUMMARY_BYTES,
    SUMMARY_STEPS,
    Summary,
    parse_body,
)
from learnae.protocol.limits import Limits
from learnae.samples.dp_statistics import (
    GATE,
    MAX_ROWS,
    Layout,
    Statistics,
    layout_of,
    noise_of,
    overlap_of,
    steps_of,
    why_none,
)
from learnae.swarm.presets import dense_config, preset
from learnae.weights.merge import MergePolicy

LIMITS = Limits()
FORMS = [DIAGONAL, FULL]
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def still(count: int) -> np.ndarray:
    """No noise: what is left is what was counted."""
    return np.zeros(count)


def seeded(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=count)


def known(form: str = DIAGONAL, rows: int = 600) -> tuple[Statistics, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = (rng.normal(size=(rows, 3)) * 0.5 + np.arange(3) / 4).astype(np.float32)
    labels = rng.integers(-1, 2, rows)
    statistics = Statistics(Layout(form, 3, 3, 2))
    statistics.add(values, labels)
    return statistics, values, labels


def sums_of(summary: Summary) -> np.ndarray:
    return np.frombuffer(summary.sums, "<i4").reshape(summary.groups, -1).astype(np.int64)


# -- what is summed up


@pytest.mark.parametrize("form", FORMS)
def test_without_noise_a_release_says_what_the_rows_are(form: str) -> None:
    statistics, values, labels = known(form)
    found = statistics.release(1, PrivacyPolicy(), normals=still)
    for sums, label in zip(sums_of(found), (0, 1, -1), strict=True):
        own = values[labels == label].astype(np.float64)
        own /= statistics.layout.radius
        own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1)
        products = own.T @ own
        second = np.diagonal(products) if form == DIAGONAL else products[np.triu_indices(3)]
        if form == FULL:
            second = second * np.where(np.equal(*np.triu_indices(3)), 1, math.sqrt(2))
        assert sums[0] == COUNT_STEPS * len(own)
        np.testing.assert_allclose(sums[1:4] / SUMMARY_STEPS, own.sum(axis=0), atol=0.1)
        np.testing.assert_allclose(sums[4:] / SUMMARY_STEPS, second, atol=0.1)
    assert found.rows == len(values)


def test_pieces_add_up_and_unknown_classes_are_one_group() -> None:
    statistics, values, labels = known()
    pieces = Statistics(statistics.layout)
    for start in range(0, len(values), 7):
        pieces.add(values[start : start + 7], np.where(labels < 0, 10**9, labels)[start : start + 7])
    np.testing.assert_array_equal(pieces.sums(), statistics.sums())


def test_rows_without_number_are_skipped_and_counted() -> None:
    statistics = Statistics(Layout(DIAGONAL, 2, 2, 2))
    statistics.add(np.array([[1, np.nan], [np.inf, 1], [1, 2]], np.float32), np.array([0, 1, 1]))
    assert (statistics.rows, statistics.skipped) == (1, 2)
    assert sums_of(statistics.release(1, PrivacyPolicy(), normals=still))[:, 0].tolist() == [0, COUNT_STEPS, 0]


def test_no_more_rows_are_summed_up_than_int32_can_say() -> None:
    statistics = Statistics(Layout(DIAGONAL, 1, 1))
    statistics.rows = MAX_ROWS - 3
    statistics.add(np.ones((5000, 1), np.float32), np.zeros(5000))
    assert (statistics.rows, statistics.sums()[0]) == (MAX_ROWS, 3 * COUNT_STEPS)
    assert MAX_ROWS * SUMMARY_STEPS <= 2**31


def test_values_and_targets_are_one_row_where_targets_are_values() -> None:
    statistics = Statistics(Layout(FULL, 3, 2))
    statistics.add(np.full((4, 2), 0.25, np.float32), np.full((4, 1), 0.5))
    ((count, _, _, target, *_),) = sums_of(statistics.release(1, PrivacyPolicy(), normals=still))
    assert (count, target) == (4 * COUNT_STEPS, 4 * round(0.5 / statistics.layout.radius * SUMMARY_STEPS))


# -- privacy


@given(hnp.arrays(np.float64, (1, 4), elements=FLOATS), st.sampled_from(FORMS))
def test_no_row_moves_all_sums_by_more_than_the_promise_assumes(row: np.ndarray, form: str) -> None:
    layout = Layout(form, 4, 4, 2)
    assert np.linalg.norm(steps_of(layout, row)) <= layout.sensitivity
    assert np.isfinite(steps_of(layout, row)).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_promise_assumes_hardly_more_than_a_row_can_do(form: str) -> None:
    layout = Layout(form, 30, 30)
    most = np.linalg.norm(steps_of(layout, np.eye(1, 30) * 1e9))
    assert most <= layout.sensitivity <= 1.01 * most


@pytest.mark.parametrize("form", FORMS)
def test_every_sum_has_noise_of_its_own_for_all_releases_and_overlaps(form: str) -> None:
    statistics, _, _ = known(form)
    policy = PrivacyPolicy(summary=SummaryPrivacy(epsilon=2, releases=4, form=form))
    found = statistics.release(1, policy, overlap=2, normals=seeded)
    needed = 2 * statistics.layout.sensitivity * math.sqrt(4) / mu_for(2 * (1 - GATE), 1e-5)
    assert needed <= found.noise.deviation <= needed + 1
    added = sums_of(found).ravel() - statistics.sums()
    np.testing.assert_array_equal(added, np.rint(seeded(len(added)) * found.noise.deviation))
    assert found.noise == noise_of(statistics.layout, policy, 2)


def test_noise_comes_from_the_system_and_differs_each_time() -> None:
    statistics, _, _ = known()
    assert statistics.release(1, PrivacyPolicy()) != statistics.release(1, PrivacyPolicy())


# -- which swarm has which


def test_a_manifest_says_what_is_summed_up() -> None:
    wrist = preset("wrist", 0)
    assert layout_of(wrist) == Layout(DIAGONAL, 30, 30, 7)
    full = replace(wrist, privacy=PrivacyPolicy(summary=SummaryPrivacy(form=FULL)))
    assert layout_of(full) == Layout(FULL, 30, 30, 7)
    many = replace(full, config=dense_config(200, (), 7, "softmax"), features=None)
    assert layout_of(many) == Layout(DIAGONAL, 200, 200, 7), "200 x 200 products of 8 groups do not fit"
    none = replace(wrist, merge=MergePolicy(), privacy=PrivacyPolicy(summary=SummaryPrivacy(form="none")))
    assert (layout_of(none), why_none(none)) == (None, "the swarm's manifest asks for none")
    huge = replace(many, config=dense_config(5000, (), 7, "softmax"))
    assert "do not fit" in why_none(huge)
    assert layout_of(tiny_manifest()) is not None


def test_overlap_counts_where_readings_are_protected() -> None:
    wrist = preset("wrist", 0)
    assert overlap_of(wrist) == overlap_of(replace(wrist, privacy=PrivacyPolicy(TrainingPrivacy(4)))) == 1
    assert overlap_of(replace(wrist, privacy=PrivacyPolicy(TrainingPrivacy(4, protects=READING)))) == 2


@pytest.mark.parametrize(("form", "columns", "classes"), [(DIAGONAL, 7000, 0), (FULL, 30, 27), (DIAGONAL, 1, 4000)])
def test_the_largest_summary_fits_into_a_message(form: str, columns: int, classes: int) -> None:
    layout = Layout(form, columns, columns, classes)
    assert layout.groups * layout.size * 4 <= SUMMARY_BYTES
    found = Statistics(layout).release(1, PrivacyPolicy(), normals=seeded)
    data = dagcbor.encode(found.to_fields())
    assert len(data) < LIMITS.message_bytes - 1024
    assert parse_body(dagcbor.decode(data), LIMITS) == found
