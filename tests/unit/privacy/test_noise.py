"""Noise: drawn freshly, on a grid, and correlated as published."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.privacy.noise.correlated import (
    CorrelatedNoise,
    banded_sensitivity,
    cost_of,
    inverse_banded_sensitivity,
    inverse_square_root,
    square_root,
)
from learnae.privacy.noise.gaussian import fresh_normals, normals_of
from learnae.privacy.noise.grid import BITS, chunks_of, from_grid, sensitivity, to_grid

BANDS, STEPS, COUNT = 20, 80, 3


def test_normals_are_normal() -> None:
    values = normals_of(b"k" * 32, 200_001)
    assert len(values) == 200_001
    bounds = np.linspace(-4, 4, 41)
    expected = np.array([math.erfc(-bound / math.sqrt(2)) / 2 for bound in bounds])
    found = np.searchsorted(np.sort(values), bounds) / len(values)
    assert np.abs(found - expected).max() < 1.63 / math.sqrt(len(values))  # Kolmogorov and Smirnov, 1 %
    assert abs(np.corrcoef(values[:100_000], values[100_000:200_000])[0, 1]) < 0.01


def test_no_two_draws_are_alike() -> None:
    draws = np.concatenate([fresh_normals(1000) for _ in range(3)])
    assert len(np.unique(draws)) == 3000


def white() -> "tuple[list[np.ndarray], object]":
    rng, drawn = np.random.default_rng(1), []

    def draw(count: int) -> np.ndarray:
        drawn.append(rng.standard_normal(count))
        return drawn[-1]

    return drawn, draw


def toeplitz(column: np.ndarray, size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    for index, value in enumerate(column[:size]):
        matrix += value * np.eye(size, k=-index)
    return matrix


@pytest.mark.parametrize("width", [0, 2, 8])
def test_noise_is_that_of_the_dense_matrix(width: int) -> None:
    drawn, draw = white()
    noise = CorrelatedNoise(BANDS, width, draw)
    found = np.array([noise.next(COUNT) for _ in range(STEPS)])
    if width:
        inverse = toeplitz(inverse_square_root(width), STEPS)
    else:
        inverse = np.linalg.inv(toeplitz(square_root(BANDS), STEPS))
    np.testing.assert_allclose(found, inverse @ np.array(drawn), atol=1e-13)


def test_one_part_is_white() -> None:
    drawn, draw = white()
    noise = CorrelatedNoise(1, 0, draw)
    found = [noise.next(COUNT) for _ in range(5)]
    np.testing.assert_array_equal(found, drawn)


def test_sensitivity_of_bands() -> None:
    assert [round(banded_sensitivity(parts), 3) for parts in (4, 10, 20)] == [1.220, 1.338, 1.420]
    matrix = toeplitz(square_root(BANDS), STEPS)
    visits = matrix[:, 3::BANDS].sum(axis=1)
    assert np.linalg.norm(visits) <= banded_sensitivity(BANDS) * math.sqrt(len(matrix[0, 3::BANDS]))


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("participations", [1, 4])
def test_sensitivity_of_inverse_bands_is_that_of_the_dense_matrix(width: int, participations: int) -> None:
    """For any number of steps after the last, and whatever the signs of the gradients."""
    size = 3000
    dense = np.linalg.inv(toeplitz(inverse_square_root(width), 100 + size // 10))
    columns = dense[:, : participations * BANDS : BANDS]
    found = inverse_banded_sensitivity(BANDS, width, participations)
    assert np.linalg.norm(columns.sum(axis=1)) <= found
    if width < 8:  # at 8 more than these steps count
        assert found == pytest.approx(np.linalg.norm(columns.sum(axis=1)), rel=1e-4)
    signs = np.random.default_rng(2).choice([-1.0, 1.0], (20, participations))
    assert all(np.linalg.norm(columns @ each) <= found for each in signs)


@given(st.integers(1, 12), st.sampled_from([0, 2, 5]), st.integers(1, 12))
def test_few_participations_cost_no_more_than_their_share(parts: int, width: int, most: int) -> None:
    costs = [cost_of(parts, width, count) for count in range(1, most + 1)]
    assert all(earlier <= later * (1 + 1e-12) for earlier, later in pairwise(costs))


def test_errors_of_sums_are_those_published() -> None:
    """RMS errors of prefix sums at 20 parts and 4 rounds, with the finite matrices' sensitivities."""
    prefix = np.tril(np.ones((STEPS, STEPS)))

    def error(matrix: np.ndarray) -> float:
        visits = max(float(np.linalg.norm(matrix[:, phase::BANDS].sum(axis=1))) for phase in range(BANDS))
        return visits * float(np.linalg.norm(prefix @ np.linalg.inv(matrix))) / math.sqrt(STEPS)

    assert round(error(np.eye(STEPS)), 1) == 12.7
    assert round(error(toeplitz(square_root(BANDS), STEPS)), 2) == 4.86
    inverses = [np.linalg.inv(toeplitz(inverse_square_root(width), STEPS)) for width in (2, 4, 8)]
    assert [round(error(each), 2) for each in inverses] == [7.62, 5.74, 5.09]


@given(st.integers(0, 2**32), st.integers(0, 600), st.integers(1, 40))
def test_a_row_more_changes_one_chunk(seed: int, rows: int, most: int) -> None:
    digests = np.random.default_rng(seed).integers(0, 2**64, rows + 1, np.uint64)
    without = [set(digests[:-1][chunk].tolist()) for chunk in chunks_of(digests[:-1], most)]
    with_it = [set(digests[chunk].tolist()) for chunk in chunks_of(digests, most)]
    assert sorted(value for chunk in with_it for value in chunk) == sorted(digests.tolist())
    assert all(0 < len(chunk) <= most for chunk in with_it)
    new = [chunk for chunk in with_it if chunk not in without]
    gone = [chunk for chunk in without if chunk not in with_it]
    assert len(gone) <= 1
    assert set().union(*new) - set().union(*gone) == {int(digests[-1])}


def one_by_one(values: np.ndarray) -> np.ndarray:
    return np.cumsum(values, axis=0, dtype=np.float32)[-1]


@given(st.integers(0, 2**32), st.integers(1, 600), st.floats(1e-3, 1e3))
def test_a_row_more_moves_the_released_integers_by_no_more_than_is_counted(seed: int, rows: int, bound: float) -> None:
    """With rows as long as they may be, all alike in direction, and sums in float32 with as many roundings."""
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((rows, 40))
    gradients *= bound / np.linalg.norm(gradients, axis=1, keepdims=True)
    gradients[-1] = gradients[0]
    digests = rng.integers(0, 2**64, rows, np.uint64)

    def released(count: int) -> np.ndarray:
        total = np.zeros(40, np.int64)
        for chunk in chunks_of(digests[:count]):
            values = gradients[:count][chunk].astype(np.float32)
            blocks = [one_by_one(values[start:][:124]) for start in range(0, len(values), 124)]
            total += to_grid(one_by_one(np.array(blocks)).astype(np.float64), bound)
        return total

    moved = np.linalg.norm((released(rows) - released(rows - 1)).astype(np.float64))
    assert 0.99 * 2**BITS < moved <= sensitivity(40)


@given(st.integers(-(2**40), 2**40), st.floats(1e-6, 1e6))
def test_what_is_released_is_of_the_grid(value: int, bound: float) -> None:
    integers = np.array([value])
    np.testing.assert_array_equal(to_grid(from_grid(integers, bound), bound), integers)
