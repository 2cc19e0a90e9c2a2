"""What can be learnt beside classes: values, what comes next, and what is normal. Each must really learn it."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import write_parquet
from keras_configs import dense, layer, sequential

from learnae.errors import DataError, ManifestError
from learnae.models.dataset import Dataset
from learnae.models.losses import explained, reconstruction_error
from learnae.models.optimisers import OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.models.reference.numpy_model import predict
from learnae.ports import Samples
from learnae.samples.files.source import USUAL_LIMITS, ReadingLimits
from learnae.samples.windows import Windower, add_windows
from learnae.swarm.features import Features, RawWindow, WindowStatistics
from learnae.swarm.manifest import AUTOENCODER, CLASSIFICATION, FORECAST, REGRESSION, Manifest, TrainingPolicy
from learnae.swarm.presets import dense_config, preset
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset
from trainer_node.learning.jax_learner import JaxLearner

ADAM = OptimiserPolicy("adam", 0.01)


def swarm(config: Any, features: Features | None = None, loss: str = "mean_squared_error") -> Manifest:
    return Manifest("task", config, loss, features=features, training=TrainingPolicy(50, 32), optimiser=ADAM)


def load(path: Path, manifest: Manifest, limits: ReadingLimits = USUAL_LIMITS, **section: Any) -> Dataset:
    return load_dataset(DataSection(str(path), **section), manifest, limits)


def write_csv(path: Path, names: str, table: np.ndarray) -> Path:
    np.savetxt(path, table, delimiter=",", header=names, comments="", fmt="%.9g")
    return path


def trained(manifest: Manifest, data: Dataset, steps: int) -> NumpyLearner:
    rng = np.random.default_rng(1)
    learner = NumpyLearner(manifest.definition, manifest.objective, ADAM, data, manifest.training.batch, rng)
    learner.load(manifest.definition.initial(3))
    learner.train(steps)
    return learner


# -- regression


def test_values_are_learnt_from_a_label_column_of_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (1500, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]
    path = write_csv(tmp_path / "loads.csv", "a,b,load,c", np.column_stack([x[:, :2], y, x[:, 2]]))
    manifest = swarm(dense_config(3, (24, 24), 1, "linear"))
    data = load(path, manifest, label="load")
    assert manifest.task == REGRESSION
    learner = trained(manifest, data, 1500)
    found = learner.evaluate(learner.weights())
    assert found is not None
    assert found.accuracy is None
    assert found.rows == 450
    assert found.loss < 0.05 * y.var()
    targets = data.holdout.targets.astype(np.float64)
    errors = predict(manifest.definition, learner.weights(), data.holdout.rows) - targets
    assert found.mae == pytest.approx(np.abs(errors).mean())
    assert found.r2 == pytest.approx(1 - (errors**2).sum() / ((targets - targets.mean(axis=0)) ** 2).sum())
    assert found.r2 > 0.9


def test_targets_that_do_not_vary_have_no_share_that_is_explained() -> None:
    assert explained(1.0, np.full((300, 2), 7.0, np.float32), 128) is None
    far = np.arange(300, dtype=np.float32)[:, None] + np.float32(1e5)  # also where the mean is large
    assert explained(float(((far - far.mean()) ** 2).sum()) / 4, far, 7) == pytest.approx(0.75)


PUMP = RawWindow(("a", "b"), 10.0, 4, 3, (0.0, 0.0), (1.0, 1.0))


def flat_config(hidden: tuple[int, ...] = ()) -> dict[str, Any]:
    return sequential(layer("Flatten"), *(dense(units, "relu") for units in hidden), dense(1), shape=PUMP.shape)


def write_recording(path: Path, **columns: np.ndarray) -> Path:
    """``signal`` as an array, or its channels as columns a and b."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    signal = columns.pop("signal")
    whole = {**columns, "b": signal[:, 1], "a": signal[:, 0]}
    if path.suffix == ".parquet":
        return write_parquet(path, whole)
    return write_csv(path, ",".join(whole), np.column_stack(list(whole.values())))


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize("kind", ["npz", "csv", pytest.param("parquet", marks=pytest.mark.modules("pyarrow"))])
def test_any_numbers_are_learnt_from_a_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, piece: int
) -> None:
    signal = np.arange(48.0).reshape(24, 2) / 50
    time = np.where(np.arange(24) < 12, 0.0, 5.0) + np.arange(24) / 10  # a pause after twelve
    label = (np.arange(24) - 12) / 8  # another at each sample, below 0, -1 and 0 too
    label[9] = np.nan
    path = write_recording(tmp_path / f"pump.{kind}", time=time, signal=signal, label=label)
    data = load(path, swarm(flat_config(), PUMP), ReadingLimits(chunk_bytes=piece), holdout=0.25)

    ends = [3, 6, 15]  # of windows of four that begin at each third; that of 9 is unknown
    assert data.train.targets[:, 0].tolist() == label[ends].tolist()
    assert data.train.rows.tolist() == [signal[end - 3 : end + 1].astype(np.float32).tolist() for end in ends]
    assert data.holdout.targets[:, 0].tolist() == label[[21]].tolist(), "the last quarter of all, whatever the label"
    assert (data.train.targets.dtype, data.skipped) == (np.float32, 0)
    assert "5 windows of 4 samples at 10 Hz without a gap, 1 of them without a label, 0 skipped" in caplog.text


def test_whole_numbers_in_a_recording_are_values_too(tmp_path: Path) -> None:
    label = np.array([-1, -1, -1, -1, 7, -3, 7])
    path = write_recording(tmp_path / "pump.npz", signal=np.zeros((7, 2)), label=label)
    assert load(path, swarm(flat_config(), PUMP), holdout=0.0).train.targets[:, 0].tolist() == [-1, 7]


def test_a_recording_without_what_is_to_be_learnt_is_refused(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "pump.npz", signal=np.zeros((7, 2)))
    with pytest.raises(DataError, match=r"no row to train on: 1 window of .* 1 of them without a label"):
        load(path, swarm(flat_config(), PUMP))


def test_what_changes_all_the_time_is_learnt_from_a_recording(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(size=(4000, 2)), axis=0) / 20
    load_now = np.tanh(signal[:, 0]) - np.append(signal[:1, 1], signal[:-1, 1])
    path = write_recording(tmp_path / "pump.npz", signal=signal, label=load_now)
    manifest = swarm(flat_config((24,)), PUMP)
    data = load(path, manifest)
    learner = trained(manifest, data, 1000)
    found = learner.evaluate(learner.weights())
    assert found is not None
    assert found.rows > 390
    assert found.loss < 0.05 * load_now.var()


# -- autoencoder


CORRELATED = np.random.default_rng(5).normal(size=(2, 6))


def normal_rows(count: int, seed: int) -> np.ndarray:
    """Six columns that two causes move."""
    rng = np.random.default_rng(seed)
    return np.tanh(rng.normal(size=(count, 2)) @ CORRELATED) + rng.normal(size=(count, 6)) / 30


def area_under_curve(low: np.ndarray, high: np.ndarray) -> float:
    """The chance that a random ``high`` scores above a random ``low``: ROC AUC (Mann & Whitney 1947)."""
    return float(np.mean(low[:, None] < high[None, :]))


@pytest.mark.parametrize("kind", ["csv", "csv with a label", "parquet", "npz"])
def test_an_autoencoder_needs_no_labels_and_tells_what_is_not_normal(tmp_path: Path, kind: str) -> None:
    rows, names = normal_rows(1500, 1), [f"s{index}" for index in range(6)]
    if kind == "csv":
        path = write_csv(tmp_path / "pump.csv", ",".join(names), rows)
    elif kind == "csv with a label":
        path = write_csv(tmp_path / "pump.csv", ",".join(["label", *names]), np.column_stack([np.ones(1500), rows]))
    elif kind == "parquet":
        path = write_parquet(tmp_path / "pump.parquet", dict(zip(names, rows.T, strict=True)))
    else:
        path = tmp_path / "pump.npz"
        np.savez(path, x=rows)
    manifest = swarm(dense_config(6, (16, 2, 16), 6, "linear"))
    data = load(path, manifest)
    assert manifest.task == AUTOENCODER
    assert (len(data.train), len(data.holdout)) == (1050, 450)
    assert data.train.are_targets
    np.testing.assert_allclose(data.train.rows, rows[:1050], rtol=1e-5)
    if kind != "csv":
        return
    learner = trained(manifest, data, 2500)
    healthy = normal_rows(400, 2).astype(np.float32)
    broken = normal_rows(400, 3).astype(np.float32)
    broken[:, 2] = broken[::-1, 2]  # every value is usual, together they are not
    scores = [
        reconstruction_error(predict(manifest.definition, learner.weights(), part), part) for part in (healthy, broken)
    ]
    assert area_under_curve(*scores) > 0.85
    assert scores[0].mean() < 0.1 * healthy.var()


@pytest.mark.modules("keras", "jax")
def test_the_rows_of_an_autoencoder_are_on_the_device_once(tmp_path: Path) -> None:
    manifest = swarm(dense_config(6, (4,), 6, "linear"))
    data = load(write_csv(tmp_path / "pump.csv", "a,b,c,d,e,f", normal_rows(100, 1)), manifest)
    learner = JaxLearner.for_manifest(manifest, data, np.random.default_rng(0))
    before = learner.evaluate(learner.weights())
    learner.train(200)
    after = learner.evaluate(learner.weights())
    _, rows, targets, *_ = learner._train.part(0)
    assert rows is targets
    assert before is not None
    assert after is not None
    assert after.loss < before.loss


def test_rows_that_are_targets_are_kept_once_and_grow_together() -> None:
    manifest = swarm(dense_config(2, (), 2, "linear"))
    data = Dataset(manifest.model, manifest.objective, capacity=600, autoencoder=True)
    rows = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    for start in range(0, 1000, 100):
        data.add(rows[start : start + 100], rows[start : start + 100])
    assert data.train.are_targets
    assert np.shares_memory(data.train.rows, data.train.targets)
    assert len(data.train) == 600
    assert set(data.train.rows[:, 0].tolist()) == set(rows[400:, 0].tolist())


# -- forecast

CHANNELS = ("x", "y")
WINDOWED = RawWindow(CHANNELS, 10.0, window=20, hop=3, shift=(0.5, 0.0), scale=(2.0, 1.0), ahead=5)


def series(count: int = 3000) -> np.ndarray:
    """Two tides of different periods, with noise: what comes next can be told from a window, not from its end."""
    rng, time = np.random.default_rng(7), np.arange(count)
    clean = np.column_stack([0.5 + 2 * np.sin(time / 4), np.cos(time / 7) * np.sin(time / 3)])
    return clean + rng.normal(size=clean.shape) / 20


def forecast_config(features: Features) -> dict[str, Any]:
    outputs = features.ahead * len(features.channels)
    return sequential(layer("Flatten"), dense(48, "relu"), dense(outputs), shape=features.shape)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "npz"])
def test_a_forecast_of_a_series_is_better_than_its_last_value(tmp_path: Path, kind: str) -> None:
    values, time = series(), 1.7e9 + np.arange(3000) / 10
    path = tmp_path / f"tides.{kind}"
    if kind == "npz":
        np.savez(path, signal=values, time=time)
    elif kind == "parquet":
        write_parquet(path, {"time": time, "x": values[:, 0], "y": values[:, 1], "other": time})
    else:
        with gzip.open(path, "wt") if kind == "csv.gz" else path.open("w") as file:
            file.write("time,y,other,x\n")
            file.writelines(f"{t:.1f},{y},7,{x}\n" for t, (x, y) in zip(time, values, strict=True))
    manifest = Manifest.from_bytes(swarm(forecast_config(WINDOWED), WINDOWED).to_bytes())
    assert manifest.task == FORECAST
    data = load(path, manifest)
    assert len(data.train) == (2100 - 25) // 3 + 1
    assert len(data.holdout) == (900 - 25) // 3 + 1
    scaled = (values - [0.5, 0.0]) / [2.0, 1.0]
    np.testing.assert_allclose(data.train.rows[1], scaled[3:23], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(data.train.targets[1], scaled[23:28].ravel(), rtol=1e-4, atol=1e-5)
    if kind != "csv":
        return
    learner = trained(manifest, data, 1500)
    found = learner.evaluate(learner.weights())
    last = np.repeat(data.holdout.rows[:, -1:], 5, axis=1).reshape(len(data.holdout), -1)
    persistence = float(np.mean((last - data.holdout.targets) ** 2))
    assert found is not None
    assert found.loss < persistence / 5


def test_windows_of_statistics_can_forecast_too() -> None:
    features = WindowStatistics(("a",), 1.0, 4, 4, (1.0,) + (0.0,) * 4, (2.0,) + (1.0,) * 4, ahead=2)
    manifest = swarm(dense_config(5, (), 2, "linear"), features)
    values = np.arange(20, dtype=np.float32)[:, None]
    samples = Samples(np.arange(20.0), values, np.full(20, -1), np.arange(20) >= 14)
    data = Dataset(manifest.model, manifest.objective)
    windows = Windower(features).push(samples)
    rows = features.extract(windows.values)
    add_windows(data, manifest, rows, windows)
    assert rows.shape == (4, 5)
    assert data.train.targets.tolist() == [[1.5, 2.0], [3.5, 4.0], [5.5, 6.0]]
    assert data.holdout.targets.tolist() == [[8.5, 9.0]]


def test_a_forecast_of_as_many_values_as_it_sees_is_no_autoencoder() -> None:
    features = RawWindow(CHANNELS, 10.0, 4, 1, (0.0, 0.0), (1.0, 1.0), ahead=4)
    layers = [*forecast_config(features)["config"]["layers"], layer("Reshape", target_shape=[4, 2])]
    manifest = swarm({"class_name": "Sequential", "config": {"layers": layers}}, features)
    assert manifest.model.output_shape == manifest.model.input_shape
    assert (manifest.task, manifest.is_autoencoder, manifest.needs_labels) == (FORECAST, False, False)
    samples = Samples(np.arange(16) / 10, series(16).astype(np.float32), np.full(16, -1), np.zeros(16, np.bool_))
    data = Dataset(manifest.model, manifest.objective)
    windows = Windower(features).push(samples)
    add_windows(data, manifest, features.extract(windows.values), windows)
    np.testing.assert_array_equal(data.train.targets[0], samples.values[4:8])


def test_what_a_forecast_needs_is_said() -> None:
    with pytest.raises(ManifestError, match="a forecast of 5 samples of 2 channels has 10 values"):
        swarm(dense_config(10, (), 9, "linear"), WindowStatistics(CHANNELS, 1.0, 4, 1, (0.0,) * 10, (1.0,) * 10, 5))
    with pytest.raises(ManifestError, match="forecast with loss sparse_categorical"):
        swarm(
            dense_config(10, (), 10, "softmax"),
            WindowStatistics(CHANNELS, 1.0, 4, 1, (0.0,) * 10, (1.0,) * 10, 5),
            "sparse_categorical_crossentropy",
        )


def test_the_task_follows_from_the_definition() -> None:
    assert preset("wrist", 0).task == CLASSIFICATION
    assert preset("hepmass", 0).task == CLASSIFICATION
    assert preset("wrist", 0).to_bytes().find(b"ahead") == -1


def test_a_long_recording_keeps_its_newest_windows_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tides.npz"
    np.savez(path, signal=series())
    manifest = swarm(forecast_config(WINDOWED), WINDOWED)
    whole, newest = (load(path, manifest, ReadingLimits(4096, windows=windows)) for windows in (1 << 20, 300))
    assert len(newest.train) == 300
    assert set(map(bytes, newest.train.targets)) == set(map(bytes, whole.train.targets[-300:]))
    assert f"{len(whole.train) - 300} windows left out, the oldest; 300 kept" in caplog.text


def test_a_series_with_a_channel_missing_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "tides.csv", "time,x", np.column_stack([np.arange(100) / 10, series(100)[:, 0]]))
    with pytest.raises(DataError, match=r"tides\.csv has no column y; the swarm's channels are x, y"):
        load(path, swarm(forecast_config(WINDOWED), WINDOWED))
