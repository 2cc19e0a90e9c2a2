"""What a trainer accepts as data, and what it says of the rest."""

import gzip
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_configs import dense, layer, sequential

from learnae.errors import DataError
from learnae.models.dataset import Dataset
from learnae.models.outline import Outline
from learnae.swarm.features import WindowStatistics
from learnae.swarm.initial_weights import start_blocks, start_links
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from trainer_node.config import DataSection
from trainer_node.datasets.loading import load_dataset

CLASSES = Manifest("classes", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy")
NAMED = replace(CLASSES, classes=("left", "right", "still"))
VALUES = Manifest("values", dense_config(2, (), 2, "linear"), "mean_squared_error")
FEATURES = WindowStatistics(("a",), 10.0, window=4, hop=2, shift=(0.0,) * 5, scale=(1.0,) * 5)
MOTION = Manifest("motion", dense_config(5, (), 3, "softmax"), "sparse_categorical_crossentropy", features=FEATURES)

X = np.arange(20.0).reshape(10, 2)
Y = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1])


def load(path: Path, manifest: Manifest = CLASSES, **section: Any) -> Dataset:
    return load_dataset(DataSection(str(path), **section), manifest)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def refused(path: Path, manifest: Manifest = CLASSES, **section: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, manifest, **section)
    return str(caught.value)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


# -- .npz with x and y


def test_the_last_share_of_each_class_is_held_out(archive: Path) -> None:
    data = load(npz(archive, x=X, y=Y), holdout=0.4)
    assert data.holdout.rows[:, 0].tolist() == [12, 14, 16, 18]
    assert data.holdout.targets.tolist() == [0, 1, 0, 1]
    assert data.train.rows[:, 0].tolist() == [0, 2, 4, 6, 8, 10]


def test_nothing_is_held_out_where_nothing_shall_be(archive: Path) -> None:
    data = load(npz(archive, x=X, y=Y), holdout=0.0)
    assert (len(data.train), len(data.holdout)) == (10, 0)


def test_a_file_may_bring_its_own_held_out_rows(archive: Path) -> None:
    data = load(npz(archive, x=X, y=Y, x_holdout=X[:3] + 100, y_holdout=Y[:3]), holdout=0.4)
    assert len(data.train) == 10
    assert data.holdout.rows[:, 0].tolist() == [100, 102, 104]


@pytest.mark.parametrize("name", ["x_holdout", "y_holdout"])
def test_half_a_holdout_is_an_error(archive: Path, name: str) -> None:
    assert name in refused(npz(archive, **{"x": X, "y": Y, name: X if name[0] == "x" else Y}))


def test_targets_that_are_no_classes_are_held_out_by_time(archive: Path) -> None:
    data = load(npz(archive, x=X, y=X), VALUES, holdout=0.2)
    assert data.holdout.rows[:, 0].tolist() == [16, 18]


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.float16, np.float64, np.bool_])
def test_numbers_of_any_type_are_read(archive: Path, kind: type) -> None:
    data = load(npz(archive, x=X.astype(kind), y=Y.astype(kind)))
    assert data.train.rows.dtype == np.float32
    assert data.train.targets.dtype == np.int64
    assert data.skipped == 0


def test_rows_with_nan_and_impossible_classes_are_skipped_and_counted(archive: Path) -> None:
    x, y = X.copy(), Y.astype(float)
    x[0, 1], x[1, 0] = np.nan, np.inf
    y[2:6] = np.nan, 3, -1, 0.5
    data = load(npz(archive, x=x, y=y), holdout=0.5)
    assert data.skipped == 6
    assert data.train.rows[:, 0].tolist() == [12, 14]
    assert data.holdout.rows[:, 0].tolist() == [16, 18]


def test_one_row_of_each_class_is_enough_to_begin_with(archive: Path) -> None:
    data = load(npz(archive, x=X[:2], y=Y[:2]))
    assert (len(data.train), len(data.holdout)) == (2, 0)


def test_a_single_class_is_accepted_and_said(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A peer may have seen only one class: that is what the others are for."""
    data = load(npz(archive, x=X, y=np.full(10, 2)))
    assert (len(data.train), len(data.holdout), data.skipped) == (7, 3, 0)
    assert "only class 2 in 7 rows" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, ["has no array y"]),
        ({"y": Y}, ["has no array x"]),
        ({"z": X}, ["has no array x, y"]),
        ({"x": X.astype("U1"), "y": Y}, ["x is of type <U1"]),
        ({"x": X.astype(complex), "y": Y}, ["x is of type complex128"]),
        ({"x": X, "y": Y, "y_holdout": Y.astype("M8[s]")}, ["y_holdout is of type datetime64"]),
        ({"x": X, "y": Y[:9]}, ["x is (10, 2) and y is (9,)"]),
        ({"x": X[:, 0], "y": Y}, ["x is (10,) and y is (10,)"]),
        ({"x": X, "y": np.array(1)}, ["y is ()"]),
        ({"x": X, "y": Y, "x_holdout": X[:2], "y_holdout": Y[:1]}, ["x is (2, 2) and y is (1,)"]),
        pytest.param({"x": X[:0], "y": Y[:0]}, ["has no row to train on"]),
        ({"x": X, "y": np.full(10, 7)}, ["has no row to train on", "10 were skipped"]),
        ({"x": X * np.nan, "y": Y}, ["has no row to train on", "10 were skipped"]),
    ],
)
def test_arrays_that_cannot_be_used_are_named(archive: Path, arrays: dict[str, Any], words: list[str]) -> None:
    said = refused(npz(archive, **arrays))
    for word in [str(archive), *words]:
        assert word in said


@pytest.mark.parametrize(("x", "y"), [(np.zeros((4, 3)), np.zeros(4)), (X, X), (np.zeros((4, 2, 2)), np.zeros(4))])
def test_shapes_that_do_not_fit_the_model_are_said(archive: Path, x: Any, y: Any) -> None:
    assert "the swarm's model" in refused(npz(archive, x=x, y=y))


def test_pickled_objects_are_refused(archive: Path) -> None:
    assert "cannot read" in refused(npz(archive, x=np.array([[{}, {}]]), y=Y[:1]))


# -- raw recordings


def test_a_raw_recording_becomes_windows_and_features(archive: Path) -> None:
    signal, label = np.arange(24.0)[:, None], np.repeat([0, -1, 2], 8)
    data = load(npz(archive, signal=signal, label=label), MOTION, holdout=0.5)
    assert data.train.targets.tolist() == [0, 2]  # one window of each known label before its middle
    assert data.holdout.targets.tolist() == [0, 2]
    assert data.train.rows[0].tolist() == FEATURES.extract(signal[None, :4])[0].tolist()
    assert data.holdout.rows[0].tolist() == FEATURES.extract(signal[None, 4:8])[0].tolist()


def test_a_raw_recording_needs_a_swarm_with_features(archive: Path) -> None:
    said = refused(npz(archive, signal=np.zeros((9, 1))), CLASSES)
    assert "is a raw recording" in said
    assert "defines no features" in said


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"signal": np.zeros((9, 2)), "label": np.zeros(9)}, "signal is float64 (9, 2)"),
        (
            {"signal": np.zeros((9, 1))},
            "2 windows of 4 samples at 10 Hz without a gap, 2 of them without a label, 0",
        ),
        ({"signal": np.zeros((3, 1)), "label": np.zeros(3)}, "no row to train on: 0 windows of 4 samples at 10 Hz"),
        ({"signal": np.full((9, 1), np.nan), "label": np.zeros(9)}, "2 skipped; all values must be finite numbers"),
        ({"signal": np.full((9, 1), 1e39), "label": np.zeros(9)}, "2 skipped; all values must be finite numbers"),
        (
            {"signal": np.zeros((9, 1)), "label": np.full(9, 3)},
            "column 'label' has the labels 3 (9): numbered from 1, and the swarm's 3 classes from 0",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_raw_recordings_that_cannot_be_used_are_named(archive: Path, arrays: dict[str, Any], words: str) -> None:
    said = refused(npz(archive, **arrays), MOTION)
    assert words in said
    assert str(archive) in said


def test_windows_that_are_left_out_are_counted_and_said(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    signal, label = np.arange(24.0)[:, None], np.repeat([0, -1, 2], 8)
    signal[0] = np.nan
    with caplog.at_level(logging.WARNING, "trainer_node"):
        assert load(npz(archive, signal=signal, label=label), MOTION, holdout=0.0).skipped == 1
    assert "9 windows of 4 samples at 10 Hz without a gap, 3 of them without a label, 1 skipped" in caplog.text


# -- CSV


def test_a_table_has_one_row_an_example(table: Path) -> None:
    table.write_text("u,kind,v\n1,0,2\n3,1,4\n5,0,6\n7,1,8\n")
    data = load(table, label="kind", holdout=0.5)
    assert data.train.rows.tolist() == [[1, 2], [3, 4]]
    assert data.holdout.rows.tolist() == [[5, 6], [7, 8]]
    assert data.holdout.targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("u,v,label\n1,2,left\n3,,right\n", "the class one of 0 to 2; most often column 'label' is not"),
        ("u,v\n1,2\n", "has no column 'label'; it has u, v; set data.label (or --label)"),
        ("label\n1\n", "has no column but 'label'"),
        pytest.param("u,v,label\n", "has no row to train on"),
        ("u,v,label\n1,2\n", "line 2: 2 fields"),
        ("", "no usable header"),
        ("u,v,label\n1,2,up\n", "one of 0 to 2 (left, right, still)"),
    ],
)
def test_tables_that_cannot_be_used_are_named(table: Path, text: str, words: str) -> None:
    table.write_text(text)
    said = refused(table, NAMED if "still" in words else CLASSES)
    assert words in said
    assert str(table) in said


def test_a_recording_without_one_of_the_channels_is_not_taken_for_rows(table: Path) -> None:
    features = WindowStatistics(("a", "b"), 10.0, window=4, hop=2, shift=(0.0,) * 10, scale=(1.0,) * 10)
    manifest = Manifest(
        "pair", dense_config(10, (), 3, "softmax"), "sparse_categorical_crossentropy", features=features
    )
    table.write_text("time,a,label\n0,1,0\n")
    assert "has no column b; the swarm's channels are a, b, and it has time, a, label" in refused(table, manifest)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_classes_are_called_by_their_names(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data{ending}"
    text = b'u,label,v\n1, right ,2\n3,"still",4\n5,left,6\n7,1,8\n9,up,10\n'
    path.write_bytes(gzip.compress(text) if ending == ".csv.gz" else text)
    dataset = load(path, NAMED, holdout=0.0)
    assert dataset.train.rows.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert dataset.train.targets.tolist() == [1, 2, 0, 1]
    assert dataset.skipped == 1


def test_other_names_of_the_classes_are_other_targets(table: Path) -> None:
    table.write_text("u,v,label\n1,2,left\n")
    assert load(table, NAMED, holdout=0.0).train.targets.tolist() == [0]
    other = replace(NAMED, classes=("right", "left", "still"))
    assert load(table, other, holdout=0.0).train.targets.tolist() == [1]


def test_a_recording_names_classes_in_the_configured_column(table: Path) -> None:
    rows = "".join(f"{index},{index % 3},still\n" for index in range(20))
    table.write_text(f"time,a,state\n{rows}")
    motion = replace(MOTION, classes=NAMED.classes, features=replace(FEATURES, rate=1.0))
    targets = load(table, motion, label="state", holdout=0.0).train.targets
    assert set(targets.tolist()) == {2}


@pytest.mark.parametrize("manifest", [CLASSES, VALUES])
def test_values_far_from_one_are_warned_of(table: Path, manifest: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    table.write_text("u,v,label\n" + "1,-300,1\n" * 4) if manifest is CLASSES else None
    if manifest is VALUES:
        table = npz(table.with_suffix(".npz"), x=np.full((4, 2), 300.0), y=np.zeros((4, 2)))
    load(table, manifest)
    assert "values of about 300: training may diverge" in caplog.text


def test_a_model_that_normalises_first_is_not_warned(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    layers = CLASSES.config["config"]["layers"]
    normalising = [layers[0], {"class_name": "BatchNormalization", "config": {}}, *layers[1:]]
    config = {**CLASSES.config, "config": {**CLASSES.config["config"], "layers": normalising}}
    table.write_text("u,v,label\n1,-300,1\n")
    load(table, replace(CLASSES, config=config), holdout=0.0)
    assert "diverge" not in caplog.text


def test_tokens_are_checked_and_not_told_to_be_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    embedding = layer("Embedding", input_dim=50, output_dim=4)
    config = sequential(embedding, layer("Flatten"), dense(2, "softmax"), shape=(3,))
    outline = Outline((3,), (2,), 226, "softmax")
    words = Manifest("words", config, "sparse_categorical_crossentropy", outline=outline,
                     start=start_links(start_blocks(np.zeros(226, np.float32))))  # fmt: skip
    rows = np.full((6, 3), 49.0)
    rows[1, 0], rows[2, 1], rows[3, 2] = 50, 0.5, -1
    file = npz(tmp_path / "tokens.npz", x=rows, y=np.arange(6) % 2)
    dataset = load(file, words, holdout=0.0)
    assert dataset.train.rows.tolist() == rows[[0, 4, 5]].tolist()
    assert "diverge" not in caplog.text
    assert "3 of 6 rows skipped: all values must be whole numbers from 0 to 49" in caplog.text


# -- any file


@pytest.mark.parametrize("name", ["data.xlsx", "data", "data.gz", "data.npz.gz"])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert "its name does not say what it is; give one of .csv" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["data.npz", "data.csv"])
def test_files_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    assert f"cannot read {tmp_path / name}" in refused(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([".npz", ".csv"]), st.sampled_from([CLASSES, MOTION]))
def test_random_bytes_are_no_data(tmp_path: Path, data: bytes, suffix: str, manifest: Manifest) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(data)
    refused(path, manifest)


@pytest.mark.parametrize("step", [0.05, 0.001, 0.12, 0.08])
def test_a_recording_at_another_rate_is_refused(archive: Path, step: float) -> None:
    signal, time = np.arange(24.0)[:, None], np.arange(24) * step
    said = refused(npz(archive, signal=signal, time=time, label=np.zeros(24)), MOTION)
    assert f"samples are {step:g} s apart; the swarm's are 0.1 s apart" in said


@pytest.mark.parametrize(
    ("times", "labels", "words"),
    [
        ([0.0, 0.1], [0, 0], "there are 2 samples, and a window takes 4"),
        ([0.0, 0.1, 0.2, 9.0, 9.1, 9.2], [0] * 6, "a gap ends each window: samples are mostly 0.1 s apart"),
        ([0.0, 1.0, 2.0, 3.0, 4.0], [0] * 5, "samples are mostly 1 s apart, the swarm's 0.1 s, and at most 1"),
        ([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [0, 1] * 3, "each label holds for at most 1 sample, and a window takes 4"),
    ],
)
def test_the_cause_of_no_window_is_named(table: Path, times: list[float], labels: list[int], words: str) -> None:
    rows = "".join(f"{time},1,{label}\n" for time, label in zip(times, labels, strict=True))
    table.write_text(f"time,a,label\n{rows}")
    assert words in refused(table, MOTION, holdout=0.0)


def test_what_was_found_in_place_of_numbers_and_classes_is_shown(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    table.write_text("u,v,label\n1,2,left\n3,x y,right\n5,6,stil\n7,8,stil\n")
    load(table, NAMED, holdout=0.0)
    assert "line 3, column 'v': 'x y' is no number" in caplog.text
    assert "labels that are no class: 'stil' (2)" in caplog.text


@pytest.mark.parametrize("kind", [str, int, float, lambda label: np.array(label, str)])
def test_arrays_of_labels_go_by_name_too(archive: Path, kind: Any) -> None:
    numbers = replace(CLASSES, classes=("1", "2", "3"))
    column = np.array([kind(label) for label in (1, 2, 3, 1)])[:, None]
    assert load(npz(archive, x=X[:4], y=column), numbers, holdout=0.0).train.targets.tolist() == [0, 1, 2, 0]


def test_the_column_of_times_is_no_feature(table: Path) -> None:
    table.write_text("when,u,v,label\n2024-05-01T00:00:00,1,2,0\n2024-05-01T00:00:01,3,4,1\n")
    assert load(table, time="when", holdout=0.0).train.rows.tolist() == [[1, 2], [3, 4]]
