"""Inference: one result for each new window, in the task's own terms, for people and monitors."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from builders import tiny_manifest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.learning.collector import Judged
from agent.learning.inference import FILE, Inferrer, ResultFile, read_results
from agent.learning.threshold import Threshold, least_rows
from learnae.models.dataset import Dataset
from learnae.ports import Inference
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

Array = NDArray[Any]
ESTIMATE = np.zeros(1, np.float32)


def inferrer(manifest: Manifest, outputs: Sequence[Any]) -> Inferrer:
    """One whose model says ``outputs``."""
    holdout = Dataset(manifest.model, manifest.objective).holdout
    threshold = Threshold(99.0, holdout, lambda: "no rows are held out")
    return Inferrer(manifest, lambda _, rows: np.array(outputs, np.float32)[: len(rows)], threshold)


def windows(*rows: Sequence[float]) -> list[Judged]:
    return [Judged(100.0 + index, np.array(row, np.float32)) for index, row in enumerate(rows)]


def classifier(classes: tuple[str, ...] = ()) -> Manifest:
    return Manifest("m", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy", classes=classes)


def test_a_classifier_says_the_class_and_its_probability() -> None:
    outputs = [[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]]
    one = inferrer(classifier(("a", "b", "c")), outputs)
    found = one.infer(ESTIMATE, windows((0, 0), (1, 1)))
    assert [sorted(result.fields()) for result in found] == [["label", "score", "time"]] * 2, "nothing of anomalies"
    assert sorted(one.status()) == ["count", "label", "score", "time"]
    assert [(one.time, one.label) for one in found] == [(100.0, "b"), (101.0, "a")]
    assert [one.score for one in found] == pytest.approx([0.7, 0.8])
    assert inferrer(classifier(), outputs).infer(ESTIMATE, windows((0, 0)))[0].label == "1"


@pytest.mark.parametrize(("output", "label", "score"), [(0.9, "signal", 0.9), (0.2, "background", 0.8)])
def test_a_binary_classifier_says_the_likelier_class(output: float, label: str, score: float) -> None:
    config = dense_config(2, (), 1, "sigmoid")
    manifest = Manifest("m", config, "binary_crossentropy", classes=("background", "signal"))
    (found,) = inferrer(manifest, [[output]]).infer(ESTIMATE, windows((0, 0)))
    assert found.label == label
    assert found.score == pytest.approx(score)


def test_a_regression_says_the_value() -> None:
    assert inferrer(tiny_manifest(), [[-3.5]]).infer(ESTIMATE, windows((0, 0))) == [Inference(100.0, None, -3.5)]


def test_a_forecast_says_the_next_value_of_the_first_channel_in_its_unit() -> None:
    shift, scale = (20.0, 50.0) * 5, (5.0, 10.0) * 5
    features = WindowStatistics(("temperature", "humidity"), 1.0, 10, 5, shift, scale, ahead=2)
    manifest = Manifest("m", dense_config(10, (), 4, "linear"), "mean_squared_error", features=features)
    (found,) = inferrer(manifest, [[0.5, -1.0, 3.0, 3.0]]).infer(ESTIMATE, windows([0.0] * 10))
    assert found == Inference(100.0, None, 22.5, forecast="temperature")
    assert found.fields() == {"time": 100.0, "label": None, "score": 22.5, "forecast": "temperature"}


def test_an_autoencoder_says_how_far_a_window_is_from_what_it_knows() -> None:
    manifest = Manifest("m", dense_config(2, (1,), 2, "linear"), "mean_squared_error")
    (found,) = inferrer(manifest, [[1.0, 2.0]]).infer(ESTIMATE, windows((1, 4)))
    assert found == Inference(100.0, None, 2.0, no_threshold="no rows are held out")
    assert found.fields() == {
        "time": 100.0,
        "label": None,
        "score": 2.0,
        "threshold": None,
        "anomaly": None,
        "no_threshold": "no rows are held out",
    }


def test_what_is_not_finite_is_passed_over() -> None:
    one = inferrer(tiny_manifest(), [[np.nan], [1.0]])
    found = one.infer(ESTIMATE, windows((0, 0), (0, 1), (np.nan, 0)))
    assert [result.time for result in found] == [101.0]
    assert one.infer(ESTIMATE, windows((np.inf, 0))) == []
    assert one.status() == {"time": 101.0, "label": None, "score": 1.0, "count": 1, "not_finite": 1}


def test_before_the_first_window_there_is_nothing_to_say() -> None:
    assert inferrer(tiny_manifest(), []).infer(ESTIMATE, []) == []
    assert inferrer(tiny_manifest(), []).status()["count"] == 0


# -- what is an anomaly


def autoencoder(
    errors: Sequence[float], percentile: float = 99.0, monotonic: Callable[[], float] = lambda: 0.0
) -> tuple[Inferrer, Dataset, list[int]]:
    """One whose row (error, 0) has that error times the weight, with these rows held out; and rows asked for so far."""
    manifest = Manifest("m", dense_config(2, (1,), 2, "linear"), "mean_squared_error")
    data, asked = Dataset(manifest.model, manifest.objective, autoencoder=True), []
    hold_out(data, errors)

    def predict(weights: Array, rows: Array) -> Array:
        asked.append(len(rows))
        return rows - np.sqrt(2 * weights[0] * rows[:, :1]) * np.array([1, 0])

    return Inferrer(manifest, predict, Threshold(percentile, data.holdout, lambda: "none yet", monotonic)), data, asked


def hold_out(data: Dataset, errors: Sequence[float]) -> None:
    rows = np.array([(error, 0) for error in errors], np.float32).reshape(-1, 2)
    data.add(rows, rows, holdout=True)


@given(st.floats(50, 99.9), st.integers(100, 2000), st.floats(0.01, 1000), st.randoms(use_true_random=False))
def test_a_threshold_leaves_its_percentile_of_own_rows_below_it(
    percentile: float, count: int, weight: float, random: Random
) -> None:
    errors = [(number + 1) / count for number in range(count)]
    random.shuffle(errors)
    one, _, _ = autoencoder(errors, percentile)
    found = one.infer(np.array([weight], np.float32), windows(*[(error, 0) for error in errors]))
    if count < least_rows(percentile):
        assert {result.anomaly for result in found} == {None}
        assert found[0].no_threshold == f"{count} rows are held out, and a threshold needs {least_rows(percentile)}"
        return
    limit = found[0].threshold
    assert limit is not None
    assert float(f"{limit:.3g}") == limit
    below = np.mean([not result.anomaly for result in found])
    assert percentile / 100 - 2 / count <= below <= percentile / 100 + 0.01 / (percentile / 100) + 2 / count


def test_a_threshold_is_that_of_the_model_that_judges_and_of_all_rows_held_out_so_far() -> None:
    one, data, asked = autoencoder([number / 100 for number in range(1, 101)])
    weak, strong = np.array([1], np.float32), np.array([10], np.float32)
    assert [one.infer(weights, windows((1.5, 0)))[0].threshold for weights in (weak, strong)] == [0.991, 9.91]
    one.infer(strong, windows((1.5, 0)))
    assert asked == [1, 100, 1, 100, 1], "the same model has the same threshold"
    hold_out(data, [2.0] * 100)
    assert one.infer(strong, windows((1.5, 0)))[0].fields()["anomaly"] is False


def test_a_slow_model_is_asked_less_often() -> None:
    times = iter([0.0, 1.0, 5.0, 20.0, 21.0])
    one, _, asked = autoencoder([number / 100 for number in range(1, 101)], monotonic=lambda: next(times))
    found = [one.infer(np.array([weight], np.float32), windows((1, 0)))[0].threshold for weight in (1, 2, 3)]
    assert found == [0.991, 0.991, 2.98]
    assert asked == [1, 100, 1, 1, 100]


@pytest.mark.parametrize(
    ("errors", "weight", "why"),
    [
        ([], 1, "none yet"),
        ([0.5], 1, "1 row is held out, and a threshold needs 100"),
        ([0.1, 0.2] * 200, 1, "held-out rows have 2 different scores, and a threshold needs 100"),
        ([0.5] * 99 + [0.1], np.nan, "the scores of held-out rows are no finite numbers: training has diverged"),
    ],
)
def test_a_threshold_that_would_tell_of_few_rows_is_absent_and_why_is_said(
    errors: list[float], weight: float, why: str
) -> None:
    one, data, _ = autoencoder(errors)
    one.infer(np.array([1], np.float32), windows((0.5, 0)))
    hold_out(data, errors if np.isnan(weight) else [])
    threshold = one._threshold
    assert threshold is not None
    assert one._predict is not None
    threshold.renew(np.array([weight], np.float32), one._predict)
    assert threshold.value is None
    assert threshold.why.startswith(why)


# -- the file


def results(start: int, count: int) -> list[Inference]:
    return [Inference(float(index), "walking", 0.5) for index in range(start, start + count)]


def test_the_last_results_are_read_oldest_first(tmp_path: Path) -> None:
    file = ResultFile(tmp_path)
    file.append(results(0, 5))
    others = [
        Inference(5.0, None, -1e-9, dated=False, forecast="temperature"),
        Inference(6.0, None, 2.0, threshold=1.5),
        Inference(7.0, None, 2.0, no_threshold="1 row is held out"),
    ]
    file.append(others)
    assert read_results(tmp_path, 5) == [*results(3, 2), *others]
    assert len(read_results(tmp_path, 100)) == 8
    assert read_results(tmp_path, 0) == []
    assert read_results(tmp_path / "absent", 3) == []
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_two_files_take_turns_and_are_bounded(tmp_path: Path) -> None:
    file = ResultFile(tmp_path, 1000)
    for index in range(200):
        file.append(results(index, 1))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 1100
    found = read_results(tmp_path, 200)
    assert len(found) >= 15
    assert found == results(200 - len(found), len(found))


def test_results_are_found_while_their_file_becomes_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ResultFile(tmp_path).append(results(0, 3))
    stat, asked = Path.stat, []

    def meanwhile(path: Path, **options: bool) -> os.stat_result:
        asked.append(path)
        if len(asked) == 2:  # the reader has seen one of the two
            (tmp_path / FILE).rename(tmp_path / (FILE + ".1"))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", meanwhile)
    assert read_results(tmp_path, 9) == results(0, 3)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    ResultFile(tmp_path).append(results(0, 2))
    with (tmp_path / FILE).open("ab") as file:
        file.write(
            b'{"time": 1}\n[]\n\xff\n{"time": "x", "label": null, "score": 1}\n'
            b'{"time": 1, "label": null, "score": NaN}\n' + b"[" * 9999 + b'\n{"time": 7'
        )
    assert read_results(tmp_path, 9) == results(0, 2)


def test_a_disk_that_takes_nothing_is_counted(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "absent")
    file.append(results(0, 1))
    assert file.failures == 1


def test_lines_are_json_for_whoever_reads_them(tmp_path: Path) -> None:
    ResultFile(tmp_path).append(results(0, 1))
    assert json.loads((tmp_path / FILE).read_text()) == {"time": 0.0, "label": "walking", "score": 0.5}
