"""Raw windows as features, the preset that uses them, and autoencoders, which need no labels."""

from typing import Any

import numpy as np
import pytest

from agent.learning.collector import Collector
from learnae.errors import ManifestError
from learnae.ipld.fields import Fields
from learnae.models.dataset import Dataset
from learnae.ports import Samples
from learnae.swarm.features import RawWindow, WindowStatistics, read_features
from learnae.swarm.manifest import AUTOENCODER, FORECAST, REGRESSION, Manifest
from learnae.swarm.presets import dense_config, preset


def read(**changes: Any) -> Any:
    fields = {"kind": "raw-window", "channels": ["x", "y"], "rate": 50.0, "window": 4, "hop": 2,
              "shift": [1.0, 0.0], "scale": [2.0, 4.0], **changes}  # fmt: skip
    return read_features(Fields(fields, "features", ManifestError))


def test_each_channel_is_shifted_and_scaled() -> None:
    features = read()
    windows = np.arange(16.0).reshape(2, 4, 2)
    rows = features.extract(windows)
    assert (rows.shape, rows.dtype, features.shape) == ((2, 4, 2), np.float32, (4, 2))
    assert rows[0].tolist() == [[-0.5, 0.25], [0.5, 0.75], [1.5, 1.25], [2.5, 1.75]]
    assert features.extract(np.zeros((0, 4, 2))).shape == (0, 4, 2)


def test_definitions_read_back() -> None:
    features = read()
    assert isinstance(features, RawWindow)
    assert read(**features.to_fields()) == features
    statistics = read(kind="window-statistics", shift=[0.0] * 10, scale=[1.0] * 10)
    assert isinstance(statistics, WindowStatistics)
    assert statistics.shape == (10,)


@pytest.mark.parametrize(
    "changes", [{"shift": [0.0]}, {"scale": [1.0, 0.0]}, {"scale": [1.0] * 10}, {"channels": []}, {"kind": "spectrum"}]
)
def test_definitions_out_of_bounds_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="features"):
        read(**changes)


def test_the_preset_reads_back_and_takes_windows() -> None:
    manifest = preset("wrist-cnn", 5)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.model.input_shape == (100, 6)
    assert manifest.model.output_shape == (7,)
    with pytest.raises(ManifestError, match="as wide as"):
        Manifest("a", dense_config(29, (), 1, "linear"), "huber", features=manifest.features)


class Once:
    def __init__(self, samples: Samples) -> None:
        self._samples: Samples | None = samples

    def read(self) -> Samples | None:
        samples, self._samples = self._samples, None
        return samples


@pytest.mark.parametrize("task", [AUTOENCODER, FORECAST, REGRESSION])
def test_only_values_must_be_given_with_a_window(task: str) -> None:
    ahead = 1 if task == FORECAST else 0
    features = RawWindow(("x", "y"), 50.0, 4, 2, (0.0, 0.0), (1.0, 1.0), ahead)
    layers = [{"class_name": "InputLayer", "config": {"batch_shape": [None, 4, 2]}},
              {"class_name": "Conv1D", "config": {"filters": 2, "kernel_size": 3, "padding": "same"}}]  # fmt: skip
    if task != AUTOENCODER:
        layers.append({"class_name": "GlobalAveragePooling1D", "config": {}})
    config = {"class_name": "Sequential", "config": {"layers": layers}}
    manifest = Manifest("pump", config, "mean_squared_error", features=features)
    assert manifest.task == task
    data = Dataset(manifest.model, manifest.objective, autoencoder=manifest.is_autoencoder)
    values = np.arange(40, dtype=np.float32).reshape(20, 2)
    samples = Samples(np.arange(20) / 50, values, np.full(20, -1), np.arange(20) >= 14)
    collector = Collector({"file": Once(samples)}, manifest, data)
    collector.collect()
    kept = {AUTOENCODER: (6, 2), FORECAST: (5, 1), REGRESSION: (0, 0)}[task]
    assert (len(data.train), len(data.holdout)) == kept
    assert collector.unlabelled == {AUTOENCODER: 8, FORECAST: 6, REGRESSION: 8}[task]
    if task == AUTOENCODER:
        assert (data.train.targets == data.train.rows).all()
    if task == FORECAST:
        assert data.train.targets.tolist() == values[4:14:2].tolist()


def test_a_classifier_or_a_plain_regression_is_no_autoencoder() -> None:
    assert not preset("wrist", 0).is_autoencoder
    assert not Manifest("a", dense_config(3, (), 1, "linear"), "huber").is_autoencoder
