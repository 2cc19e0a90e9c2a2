from typing import Any

import numpy as np
import pytest

from learnae.errors import ManifestError
from learnae.ipld.fields import Fields
from learnae.swarm.features import MAX_CHANNELS, STATISTICS, WindowStatistics


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "window-statistics",
        "channels": ["x", "y"],
        "rate": 50.0,
        "window": 4,
        "hop": 2,
        "shift": [0.0] * 10,
        "scale": [1.0] * 10,
        **changes,
    }


def read(**changes: Any) -> WindowStatistics:
    return WindowStatistics.from_fields(Fields(definition(**changes), "features", ManifestError))


def test_features_of_a_window_by_hand() -> None:
    window = np.array([[[1, 10], [3, 10], [2, 30], [2, 10]]])
    mean, deviation, least, most, change = read().extract(window).reshape(5, 2).tolist()
    assert mean == [2.0, 15.0]
    assert deviation == pytest.approx([0.5**0.5, 75**0.5])
    assert (least, most) == ([1.0, 10.0], [3.0, 30.0])
    assert change == pytest.approx([1.0, 40 / 3])
    assert list(STATISTICS) == ["mean", "deviation", "minimum", "maximum", "change"]


def test_features_are_shifted_and_scaled_one_by_one() -> None:
    shift, scale = np.arange(10.0), np.arange(1.0, 11.0)
    windows = np.random.default_rng(0).normal(size=(3, 4, 2))
    scaled = read(shift=shift.tolist(), scale=scale.tolist()).extract(windows)
    assert scaled == pytest.approx((read().extract(windows) - shift) / scale, abs=1e-6)
    assert (scaled.dtype, scaled.shape) == (np.float32, (3, 10))
    assert read().extract(np.zeros((0, 4, 2))).shape == (0, 10)


def test_the_definition_reads_back() -> None:
    features = read()
    assert features.to_fields() == definition()
    assert features.shape == (10,)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "spectrum"},
        {"channels": []},
        {"channels": [], "shift": [], "scale": []},
        {"channels": ["x"] * (MAX_CHANNELS + 1)},
        {"channels": ["x"]},
        {"rate": 0.0},
        {"rate": -1.0},
        {"window": 1},
        {"window": 1 << 17},
        {"window": 2.0},
        {"hop": 0},
        {"shift": [0.0] * 9},
        {"shift": [0.0] * 11},
        {"shift": [0.0] * 9 + ["0"]},
        {"scale": [1.0] * 9},
        {"scale": [1.0] * 9 + [0.0]},
        {"scale": [1.0] * 9 + [float("nan")]},
    ],
    ids=lambda changes: f"{next(iter(changes))}",
)
def test_definitions_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="features"):
        read(**changes)
