import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.privacy.policy import PrivacyPolicy, SummaryPrivacy
from learnae.protocol.bodies import DIAGONAL, FULL, Summary, SummaryNoise
from learnae.samples.dp_statistics import Layout, Statistics
from learnae.samples.pooling import drift, pool, suggestion
from learnae.samples.proxy_rows import Group, believable, draw, draw_rows, groups_of, is_clear, steadied

COLUMNS = 4
SCALE = 4.0  # few rows are longer than the norm that they are cut to
NEAR_EXACT = PrivacyPolicy(summary=SummaryPrivacy(epsilon=100))
MEANS = np.array([[2.0, 0, 0, 0], [-2, 0, 1, 0]])
COVARIANCE = np.array([[1.0, 0.6, 0, 0], [0.6, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0.25]])


def summary_of(form: str, seed: int, rows: int = 3000, means: np.ndarray = MEANS) -> tuple[Layout, Summary]:
    layout, rng = Layout(form, COLUMNS, COLUMNS, 2), np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    values = means[labels] + rng.multivariate_normal(np.zeros(COLUMNS), COVARIANCE, rows)
    statistics = Statistics(layout)
    statistics.add((values / SCALE).astype(np.float32), labels)
    return layout, statistics.release(1, NEAR_EXACT, normals=np.random.default_rng(seed).standard_normal)


@pytest.mark.parametrize("form", [DIAGONAL, FULL])
def test_drawn_rows_look_like_those_that_were_summed_up(form: str) -> None:
    layout, summary = summary_of(form, 1)
    groups = steadied(groups_of(layout, summary))
    assert [group.label for group in groups] == [0, 1], "of the unknown class there is none"
    rows, labels = draw_rows(layout, groups, [4000, 2000], np.random.default_rng(2))
    for label, share in ((0, 4000), (1, 2000)):
        own = rows[labels == label]
        assert len(own) == share
        np.testing.assert_allclose(own.mean(axis=0), MEANS[label] / SCALE, atol=0.05)
        np.testing.assert_allclose(own.var(axis=0), np.diagonal(COVARIANCE) / SCALE**2, rtol=0.15)
        correlation = np.corrcoef(own.T)[0, 1]
        assert correlation == pytest.approx(0.6 * 0.9 if form == FULL else 0, abs=0.08)


def test_draws_follow_from_the_generator() -> None:
    layout, summary = summary_of(FULL, 1)
    one, again = (
        draw_rows(layout, steadied(groups_of(layout, summary)), [5, 5], np.random.default_rng(7))[0] for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)


def test_targets_are_drawn_with_their_rows() -> None:
    layout, rng = Layout(FULL, 3, 2), np.random.default_rng(1)
    rows = rng.normal(size=(5000, 2)).astype(np.float32)
    statistics = Statistics(layout)
    statistics.add(rows / SCALE, (rows @ [1.0, -1.0])[:, None] / SCALE)
    groups = steadied(
        groups_of(layout, statistics.release(1, NEAR_EXACT, normals=np.random.default_rng(1).standard_normal))
    )
    drawn, targets = draw_rows(layout, groups, [5000], rng)
    assert drawn.shape == (5000, 2)
    assert targets.shape == (5000, 1)
    slopes = np.linalg.lstsq(drawn, targets, rcond=None)[0].ravel()
    assert slopes[0] > 0.5 > -0.5 > slopes[1]


# -- what strangers may say


@given(st.binary(min_size=4 * 3 * 15, max_size=4 * 3 * 15), st.floats(0, 2**31))
def test_whatever_a_stranger_says_rows_are_numbers_within_bounds(sums: bytes, deviation: float) -> None:
    layout = Layout(FULL, COLUMNS, COLUMNS, 2)
    summary = Summary(1, SummaryNoise(8.0, 1e-5, 1, deviation), FULL, COLUMNS, 3, sums)
    for group in steadied(groups_of(layout, summary)):
        assert np.linalg.norm(group.mean) <= layout.radius * (1 + 1e-9)
        assert (group.variances > 0).all()
        assert np.linalg.eigvalsh(group.covariance).max() <= 20 * (1 + 1e-9)
        assert np.isfinite(draw(group, 10, np.random.default_rng(1))).all()


def test_groups_of_few_rows_and_summaries_of_other_shapes_are_left_out() -> None:
    layout, summary = summary_of(DIAGONAL, 1, rows=10)
    assert groups_of(layout, summary) == []
    assert groups_of(layout, replace(summary, columns=COLUMNS + 1)) == []
    _, large = summary_of(DIAGONAL, 1)
    assert len(groups_of(layout, large)) == 2
    blurred = replace(large, noise=replace(large.noise, deviation=1e6))
    assert groups_of(layout, blurred) == [], "all of it may be noise"


def heard(lies: Sequence[np.ndarray | float], honest: int = 5) -> tuple[dict[bytes, list[Group]], set[bytes]]:
    """Summaries of ``honest`` members, and of liars that move means, or spread variances by a factor."""
    found = {}
    for index in range(honest):
        layout, summary = summary_of(DIAGONAL, index)
        found[b"h%d" % index] = groups_of(layout, summary)
    for index, lie in enumerate(lies):
        layout, summary = summary_of(DIAGONAL, 50 + index, means=lie if isinstance(lie, np.ndarray) else MEANS)
        groups = groups_of(layout, summary)
        if isinstance(lie, float):
            groups = [replace(group, covariance=group.covariance * lie) for group in groups]
        found[b"l%d" % index] = groups
    return found, {author for author in found if author.startswith(b"h")}


@pytest.mark.parametrize("lie", [MEANS[::-1], MEANS + 6.0, 30.0], ids=["swapped", "far", "huge"])
def test_lies_are_dropped_and_the_truth_is_kept(lie: np.ndarray | float) -> None:
    said, honest = heard([lie] * 3)
    kept = believable(said)
    for author, groups in kept.items():
        assert len(groups) == (2 if author in honest else 0), author


def test_noise_moves_a_covariance_to_the_usual_one_and_unknown_means_teach_nothing() -> None:
    rng, usual = np.random.default_rng(1), np.array([[1.0, 0.5], [0.5, 1.0]])
    noise = rng.normal(size=(40, 2, 2))
    groups = [
        Group(n % 2, 100.0, np.zeros(2), usual + 0.8 * (part + part.T) / 2, 0.1, 0.8) for n, part in enumerate(noise)
    ]
    exact = [replace(group, square_noise=0.0) for group in groups]
    off, kept = (np.mean([np.abs(g.covariance - usual) for g in steadied(found)]) for found in (groups, exact))
    assert off < 0.6 * kept
    assert is_clear(groups)
    assert not is_clear([replace(group, noise=0.6) for group in groups])
    assert not is_clear([])


def test_of_two_nobody_can_tell_who_lies() -> None:
    said, _ = heard([MEANS[::-1]], honest=1)
    assert believable(said) == said


# -- all together


def test_pooled_rows_say_how_to_scale_columns_and_who_is_far() -> None:
    layout, summary = summary_of(DIAGONAL, 1)
    pooled = pool(groups_of(layout, summary))
    np.testing.assert_allclose(pooled.mean, MEANS.mean(axis=0) / SCALE, atol=0.04)
    spread = np.sqrt(np.diagonal(COVARIANCE) + MEANS.var(axis=0)) / SCALE
    np.testing.assert_allclose(pooled.deviation, spread, rtol=0.1)
    said = suggestion(pooled, shift=[10.0] * COLUMNS, scale=[2.0] * COLUMNS)
    np.testing.assert_allclose(said["scale"], 2 * spread, rtol=0.1)
    np.testing.assert_allclose(said["shift"], 10 + 2 * MEANS.mean(axis=0) / SCALE, atol=0.1)
    own = np.tile(pooled.mean, (200, 1)).astype(np.float32)
    assert drift(pooled, own) == ""
    own[:, 2] += 4 * pooled.deviation[2]
    assert drift(pooled, own) == "column 3 is 4.0 standard deviations from the mean of all"
    assert drift(pooled, own[:50]) == "", "too few to tell"
    assert drift(replace(pooled, noise=float(pooled.deviation[2])), own) == "", "noise may be as large"
    assert not math.isnan(pooled.count)
