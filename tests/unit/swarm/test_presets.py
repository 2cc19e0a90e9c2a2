"""Ready-made swarms: that they are valid, and fit the recordings that are shipped."""

from importlib import resources

import numpy as np
import pytest

from learnae.errors import ManifestError
from learnae.models.dataset import Dataset
from learnae.models.losses import reconstruction_error
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.samples.recordings import shipped_recording
from learnae.samples.windows import Windower
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import EXERCISES, PRESETS, demo_data, preset
from learnae.tables.arrays import Arrays


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_manifest_that_any_peer_accepts(name: str) -> None:
    manifest = preset(name, 5)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert (manifest.name, manifest.created) == (name, 5)
    classes = 0 if manifest.is_autoencoder else max(2, manifest.model.output_shape[0])
    assert len(manifest.classes) == classes


@pytest.mark.parametrize("name", PRESETS)
def test_swarms_of_one_preset_differ_by_when_they_were_created(name: str) -> None:
    assert preset(name, 1).swarm != preset(name, 2).swarm
    assert preset(name, 1).swarm == preset(name, 1).swarm


def test_an_unknown_preset_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ManifestError, match="no preset 'wirst'; there are wrist, hepmass"):
        preset("wirst", 0)


def test_windows_of_the_wrist_last_two_seconds_and_overlap_by_half() -> None:
    features = preset("wrist", 0).features
    assert features is not None
    assert features.window / features.rate == 2.0
    assert features.hop * 2 == features.window


def test_the_shipped_recordings_are_eight_people_and_all_exercises() -> None:
    with resources.as_file(demo_data()) as path:
        file = Arrays(path)
        arrays = {name: file.read(name) for name in file.headers}
    assert sorted(set(arrays["subject"].tolist())) == list(range(1, 9))
    assert sorted(set(arrays["exercise"].tolist())) == list(range(len(EXERCISES)))
    assert arrays["signal"].shape == (arrays["length"].sum(), 6)


def test_features_of_the_wrist_are_of_the_size_that_a_network_wants() -> None:
    features = preset("wrist", 0).features
    assert features is not None
    with resources.as_file(demo_data()) as path:
        samples = shipped_recording(path, 1).split_by_time(0.0)
    rows = features.extract(Windower(features).push(samples).values)
    assert np.isfinite(rows).all()
    assert (np.abs(rows.mean(axis=0)) < 2).all()
    assert ((rows.std(axis=0) > 0.05) & (rows.std(axis=0) < 5)).all()


def test_features_of_the_wrist_lie_around_0() -> None:
    """For people whom the constants are not from: noise is as strong as the longest gradients, which grow with rows."""
    features = preset("wrist", 0).features
    assert features is not None
    with resources.as_file(demo_data()) as path:
        samples = [shipped_recording(path, person).split_by_time(0.0) for person in range(1, 9)]
    rows = np.concatenate([features.extract(Windower(features).push(each).values) for each in samples])
    assert (np.abs(rows.mean(axis=0)) < 0.6 * rows.std(axis=0)).all()


def test_a_boards_temperature_is_learnt_without_labels_and_fever_stands_out() -> None:
    manifest = preset("thermal", 0)
    assert manifest.is_autoencoder
    features = manifest.features
    assert features is not None
    assert features.channels == ("temperature",)
    rng = np.random.default_rng(0)
    time = np.arange(20_000)
    normal = 52 + 4 * np.sin(time / 900) + rng.normal(0, 0.3, len(time))
    rows = features.extract(np.lib.stride_tricks.sliding_window_view(normal, 60)[::10, :, None])
    assert np.abs(rows).max() < 5
    data = Dataset(manifest.model, manifest.objective)
    data.add(rows, rows)
    learner = NumpyLearner(manifest.model, manifest.objective, manifest.optimiser, data, 32, rng)
    learner.load(manifest.model.initial(0))
    learner.train(1500)
    fever = features.extract((52 + np.linspace(0, 25, 60))[None, :, None])
    scores = [reconstruction_error(learner.predict(learner.weights(), rows), rows) for rows in (rows, fever)]
    assert scores[1].max() > 5 * np.quantile(scores[0], 0.99)
