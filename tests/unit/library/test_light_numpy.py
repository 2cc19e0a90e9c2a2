"""NumPy's results without the parts of NumPy that a board has no room for."""

import numpy as np
import pytest

from learnae.basics.light_numpy import norm, norms_of


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_norms_are_those_of_numpy_to_the_last_bit(kind: type[np.floating]) -> None:
    rows = np.random.default_rng(3).normal(size=(40, 77)).astype(kind) * kind(1e3)
    assert norm(rows) == norm(rows.T) == float(np.linalg.norm(rows))
    assert norm(rows[:, 5]) == float(np.linalg.norm(rows[:, 5]))
    for axis in (0, 1):
        assert np.array_equal(norms_of(rows, axis), np.linalg.norm(rows, axis=axis, keepdims=True))
    assert norm([]) == 0.0
