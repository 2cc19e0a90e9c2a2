"""The bounds: running medians that follow what is found, and are moved far by no single length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.privacy.clipping import NormClip, UpdateClip, shares_of

LENGTHS = st.floats(0, 1e30)


@given(st.lists(LENGTHS, min_size=1, max_size=20), st.floats(1e-20, 1e30))
def test_no_vector_is_longer_than_the_bound_in_float32_either(norms: list[float], bound: float) -> None:
    found = np.array(norms)
    shares = shares_of(found, bound)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (shares.astype(np.float32) * found.astype(np.float32) <= bound).all()
    assert (shares[found <= bound * 0.999] == 1).all()


def test_a_bound_of_infinity_clips_nothing() -> None:
    assert shares_of(np.array([0.0, 1e30]), np.inf).tolist() == [1, 1]


def test_the_bound_is_what_is_usual_and_not_the_longest() -> None:
    clip = NormClip()
    for nothing in ([np.nan, np.inf], [0.0, 0.0], []):
        clip.note(np.array(nothing), 4)
        assert clip.bound == np.inf
        assert clip.is_due(4)
    clip.note(np.array([0.0, 0.1, 1.0, 1e9, np.nan]), 4)
    assert (clip.bound, clip.is_due(7), clip.is_due(8)) == (4.0, False, True)
    clip.note(np.array([np.inf]), 8)
    assert (clip.bound, clip.is_due(8)) == (4.0, True)
    clip.note(np.array([0.0] * 20 + [3.0] * 9 + [1e9]), 8)
    assert (clip.bound, clip.is_due(15)) == (12.0, False)
    off = NormClip(is_on=False)
    assert (off.bound, off.is_due(1)) == (np.inf, False)


def test_an_update_is_at_most_twice_as_long_as_the_median_of_those_before() -> None:
    clip, start = UpdateClip(), np.ones(3, np.float32)
    direction = np.array([3.0, 0.0, 4.0], np.float32)
    lengths = [1.0, 2.5, 3.0, 100.0, 0.5]
    found = [np.linalg.norm(clip.clipped(start, start + each * direction) - start) / 5 for each in lengths]
    assert found == pytest.approx([1.0, 2.0, 3.0, 5.0, 0.5], rel=1e-5)
    ahead = clip.clipped(start, start + 100 * direction) - start
    assert ahead / np.linalg.norm(ahead) == pytest.approx(direction / 5, rel=1e-5)
    for nothing in (start, start + np.float32(np.nan), start + np.float32(np.inf)):  # no measure of others
        assert clip.clipped(start, nothing) is nothing
    assert clip.clipped(start, start + direction).tobytes() == (start + direction).tobytes()
