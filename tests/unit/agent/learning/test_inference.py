"""Inference: one result for each new window, in the task's own terms, for people and monitors."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import tiny_manifest

from agent.learning.collector import Judged
from agent.learning.inference import FILE, Inferrer, ResultFile, read_results
from learnae.ports import Inference
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

ESTIMATE = np.zeros(1, np.float32)


def inferrer(manifest: Manifest, outputs: Sequence[Any]) -> Inferrer:
    """One whose model says ``outputs``."""
    return Inferrer(manifest, lambda _, rows: np.array(outputs, np.float32)[: len(rows)])


def windows(*rows: Sequence[float]) -> list[Judged]:
    return [Judged(100.0 + index, np.array(row, np.float32)) for index, row in enumerate(rows)]


def classifier(classes: tuple[str, ...] = ()) -> Manifest:
    return Manifest("m", dense_config(2, (), 3, "softmax"), "sparse_categorical_crossentropy", classes=classes)


def test_a_classifier_says_the_class_and_its_probability() -> None:
    outputs = [[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]]
    found = inferrer(classifier(("a", "b", "c")), outputs).infer(ESTIMATE, windows((0, 0), (1, 1)))
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
    assert found == Inference(100.0, None, 22.5)


def test_an_autoencoder_says_how_far_a_window_is_from_what_it_knows() -> None:
    manifest = Manifest("m", dense_config(2, (1,), 2, "linear"), "mean_squared_error")
    (found,) = inferrer(manifest, [[1.0, 2.0]]).infer(ESTIMATE, windows((1, 4)))
    assert found == Inference(100.0, None, 2.0)


def test_what_is_not_finite_is_passed_over() -> None:
    one = inferrer(tiny_manifest(), [[np.nan], [1.0]])
    found = one.infer(ESTIMATE, windows((0, 0), (0, 1), (np.nan, 0)))
    assert [result.time for result in found] == [101.0]
    assert one.infer(ESTIMATE, windows((np.inf, 0))) == []
    assert one.status() == {"time": 101.0, "label": None, "score": 1.0, "count": 1}


def test_before_the_first_window_there_is_nothing_to_say() -> None:
    assert inferrer(tiny_manifest(), []).infer(ESTIMATE, []) == []
    assert inferrer(tiny_manifest(), []).status()["count"] == 0


# -- the file


def results(start: int, count: int) -> list[Inference]:
    return [Inference(float(index), "walking", 0.5) for index in range(start, start + count)]


def test_the_last_results_are_read_oldest_first(tmp_path: Path) -> None:
    file = ResultFile(tmp_path)
    file.append(results(0, 5))
    file.append([Inference(5.0, None, -1e-9)])
    assert read_results(tmp_path, 3) == [*results(3, 2), Inference(5.0, None, -1e-9)]
    assert len(read_results(tmp_path, 100)) == 6
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
        file.write(b'{"time": 1}\n[]\n\xff\n{"time": "x", "label": null, "score": 1}\n' + b"[" * 9999 + b'\n{"time": 7')
    assert read_results(tmp_path, 9) == results(0, 2)


def test_a_disk_that_takes_nothing_is_counted(tmp_path: Path) -> None:
    file = ResultFile(tmp_path / "absent")
    file.append(results(0, 1))
    assert file.failures == 1


def test_lines_are_json_for_whoever_reads_them(tmp_path: Path) -> None:
    ResultFile(tmp_path).append(results(0, 1))
    assert json.loads((tmp_path / FILE).read_text()) == {"time": 0.0, "label": "walking", "score": 0.5}
