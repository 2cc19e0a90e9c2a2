"""Scores against independent formulas: pairs counted one by one, shares by hand, errors in whole fractions."""

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.models.scores.classes import class_scores, confusion, reliability, roc_auc
from learnae.models.scores.values import Errors, quantiles

FEW = st.integers(0, 3)
PAIRS = st.lists(st.tuples(FEW, FEW), min_size=1, max_size=40)
SCORED = st.lists(st.tuples(st.sampled_from([0.0, 1e-30, 0.25, 0.5, 1.0]), st.booleans()), max_size=30)
NUMBERS = st.integers(-1000, 1000).map(lambda number: number / 8)
VALUES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30)


@given(SCORED)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[float, bool]]) -> None:
    scores, positive = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0), np.zeros(0))
    pairs = list(itertools.product((s for s, is_one in rows if is_one), (s for s, is_one in rows if not is_one)))
    wins = sum(Fraction(1) if one > other else Fraction(one == other, 2) for one, other in pairs)
    expected = float(wins / len(pairs)) if pairs else None
    assert roc_auc(scores, positive) == expected


@given(PAIRS)
def test_recall_precision_and_f1_are_what_they_are_defined_as(rows: list[tuple[int, int]]) -> None:
    said, actual = (np.array(column) for column in zip(*rows, strict=True))
    table = confusion(said, actual, 4)
    assert table.sum() == len(rows)
    for number, score in enumerate(class_scores(table)):
        right = sum(pair == (number, number) for pair in rows)
        there = sum(is_one == number for _, is_one in rows)
        named = sum(one == number for one, _ in rows)
        assert table[number].tolist() == [sum(pair == (other, number) for pair in rows) for other in range(4)]
        assert (score.rows, score.said) == (there, named)
        assert score.recall == (right / there if there else None)
        assert score.precision == (right / named if named else None)
        if not there:
            assert score.f1 is None
        elif not right:
            assert score.f1 == 0
        else:
            assert score.f1 == pytest.approx(2 / (there / right + named / right))


@given(st.lists(st.tuples(st.integers(0, 64).map(lambda part: part / 64), st.booleans()), min_size=1, max_size=30))
def test_calibration_is_the_gap_of_each_bin_weighed_by_its_rows(rows: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    found, gap = reliability(confidence, right, bins=4), 0.0
    for number in range(4):
        inside = [row for row in rows if number / 4 < row[0] <= (number + 1) / 4 or (number == row[0] == 0)]
        assert int(found.rows[number]) == len(inside)
        gap += abs(sum(each for each, _ in inside) - sum(is_right for _, is_right in inside)) / len(rows)
    assert found.error == pytest.approx(gap)
    halves = reliability(confidence[:5], right[:5], 4) + reliability(confidence[5:], right[5:], 4)
    assert halves.rows.tolist() == found.rows.tolist()
    assert halves.error == pytest.approx(found.error)


@given(VALUES, st.integers(0, 30))
def test_errors_are_those_of_whole_fractions_and_parts_add_up(rows: list[tuple[float, float]], cut: int) -> None:
    exact = [(Fraction(said), Fraction(actual)) for said, actual in rows]
    mean = sum(actual for _, actual in exact) / len(exact)
    spread = sum((actual - mean) ** 2 for _, actual in exact)
    squared = sum((said - actual) ** 2 for said, actual in exact)
    columns: list[Any] = [np.array(column)[:, None] for column in zip(*rows, strict=True)]
    found = Errors.of(*columns)
    if 0 < cut < len(rows):
        found = Errors.of(*(column[:cut] for column in columns)) + Errors.of(*(column[cut:] for column in columns))
    assert found.mae()[0] == pytest.approx(float(sum(abs(said - actual) for said, actual in exact) / len(exact)))
    assert found.rmse()[0] == pytest.approx(float(squared / len(exact)) ** 0.5)
    assert found.bias()[0] == pytest.approx(float(sum(said - actual for said, actual in exact) / len(exact)))
    if spread:
        assert found.r2 == pytest.approx(float(1 - squared / spread))
        assert found.r2s() == [pytest.approx(found.r2)]
    else:
        assert found.r2 is None
        assert found.r2s() == [None]


@pytest.mark.parametrize("constant", [0.1, 1e-12, 16777217.3, -3e8])
def test_targets_that_do_not_vary_have_no_spread_however_they_are_cut(constant: float) -> None:
    actual = np.full((1000, 1), constant)
    parts = [Errors.of(part + 1, part) for part in (actual[:7], actual[7:])]
    assert Errors.of(actual + 1, actual).r2 is None
    assert (parts[0] + parts[1]).r2 is None


@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed(values: list[float]) -> None:
    found = quantiles(np.array(values))
    assert found["max"] == max(values)
    for name, share in (("50%", 0.5), ("90%", 0.9)):
        at = found[name]
        assert at in values
        assert sum(value <= at for value in values) >= share * len(values) - 1e-9
        assert sum(value < at for value in values) < share * len(values) + 1e-9
