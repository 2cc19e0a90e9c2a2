"""Who controls the weights, as other members do, reads no row from what the monitor shows of results."""

import numpy as np
import pytest

from agent.learning.collector import Judged
from agent.learning.inference import Inferrer
from agent.learning.threshold import Threshold
from learnae.adapters.mqtt.monitor.disclosure import Disclosure, Judgement
from learnae.config.privacy_section import HIDDEN, LABEL, SCORE
from learnae.models.layers.dense import Dense
from learnae.models.reference.numpy_model import predict
from learnae.ports import Inference
from learnae.swarm.features import RawWindow
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset

ROWS = np.random.default_rng(5).normal(size=(200, 30)).astype(np.float32)
GAIN = 0.35


def results_of(manifest: Manifest, weights: np.ndarray, rows: np.ndarray) -> list[Inference]:
    def judge(vector: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return predict(manifest.definition, vector, inputs)

    inferrer = Inferrer(manifest, judge, Threshold(99.0, None, lambda: ""))  # type: ignore[arg-type]
    return inferrer.infer(weights, [Judged(float(number), row) for number, row in enumerate(rows)])


def reading_weights(manifest: Manifest, feature: int) -> np.ndarray:
    """The first unit is the feature + 16, the second 1; the difference of two logits is GAIN times the feature."""
    (into, bias), (inner, inner_bias), (out, out_bias) = (
        (np.zeros(kernel, np.float32), np.zeros(kernel[1], np.float32))
        for kernel in [(layer.inputs, layer.units) for layer in manifest.definition.layers if isinstance(layer, Dense)]
    )
    into[feature, 0], bias[0], bias[1] = 1.0, 16.0, 1.0
    inner[0, 0] = inner[1, 1] = 1.0
    out_bias[2:] = -60.0
    out[0, 0], out[1, 0] = GAIN, -16 * GAIN
    return np.concatenate([array.ravel() for array in (into, bias, inner, inner_bias, out, out_bias)])


def test_a_score_of_a_class_tells_a_feature_and_what_is_shown_does_not() -> None:
    manifest = preset("wrist", 0)
    found = results_of(manifest, reading_weights(manifest, 7), ROWS)
    truth = np.float64(ROWS[:, 7])

    def read_back(scores: list[float], labels: list[str | None]) -> np.ndarray:
        sure = np.clip(np.array(scores, np.float64), 1e-9, 1 - 1e-9)
        logit = np.log(sure / (1 - sure)) / GAIN
        return np.where(np.array(labels) == manifest.classes[0], logit, -logit)

    exact = read_back([result.score for result in found], [result.label for result in found])
    assert np.median(np.abs(exact - truth)) < 1e-5, "the attack works on the machine itself"
    shown = [Disclosure(Judgement.CLASS, LABEL).of(result) for result in found]
    said = [(fields["score"], fields["label"]) for fields in shown if fields]
    assert len(said) == len(found)
    assert len(set(said)) <= 2 * 11, "at most a class and a tenth a window"
    coarse = read_back([score for score, _ in said], [label for _, label in said])
    assert np.median(np.abs(coarse - truth)) > 0.1
    assert all(Disclosure(Judgement.CLASS, HIDDEN).of(result) is None for result in found)


@pytest.mark.parametrize("choice", [LABEL, SCORE, HIDDEN])
def test_a_regression_of_raw_windows_says_nothing_whatever_is_chosen(choice: str) -> None:
    raw = RawWindow(("x",), rate=10.0, window=2, hop=1, shift=(0.0,), scale=(1.0,))
    config = dense_config(2, (), 1, "linear")
    config["config"]["layers"].insert(1, {"class_name": "Flatten", "config": {"name": "flat"}})
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 2, 1]
    manifest = Manifest("raw", config, "mean_squared_error", features=raw)
    windows = ROWS[:, :2].reshape(-1, 2, 1)
    found = results_of(manifest, np.array([0, 1, 0], np.float32), windows)
    assert [np.float32(result.score) for result in found] == ROWS[:, 1].tolist(), "its score is the reading"
    assert [Disclosure(Judgement.VALUE, choice, is_raw=True).of(result) for result in found] == [None] * len(found)


@pytest.mark.parametrize("judgement", Judgement)
@pytest.mark.parametrize("is_raw", [False, True])
@pytest.mark.parametrize("choice", [LABEL, SCORE, HIDDEN])
def test_what_is_shown_of_each_kind(judgement: Judgement, is_raw: bool, choice: str) -> None:
    label = "walking" if judgement is Judgement.CLASS else None
    threshold = 0.5 if judgement is Judgement.ANOMALY else None
    result = Inference(1.0, label, 0.8731, threshold, forecast="x" if judgement is Judgement.FORECAST else "")
    shown = Disclosure(judgement, choice, is_raw).of(result)
    if choice == HIDDEN:
        assert shown is None
    elif judgement is Judgement.CLASS:
        assert shown == {"time": 1.0, "label": "walking", "score": 0.8731 if choice == SCORE else 0.9}
    elif choice == SCORE and not is_raw:
        assert shown == result.fields()
    elif judgement is Judgement.ANOMALY:
        assert shown == {"time": 1.0, "label": None, "anomaly": True}
    else:
        assert shown is None


def test_a_status_shows_no_temperature_no_result_and_no_figure_of_too_few_rows() -> None:
    status = {
        "steps": 7, "loss": 0.5, "accuracy": 1.0, "training_loss": 0.25, "held_back": "",
        "resources": {"temperature": 53.731, "times_slower_by_heat": 4, "memory_mib": 80},
        "inference": {"time": 1.0, "label": "walking", "score": 53.731, "count": 3},
    }  # fmt: skip
    shown = Disclosure().status(status)
    assert "53.731" not in repr(shown)
    assert shown["resources"] == {"memory_mib": 80}
    assert (shown["inference"], shown["loss"]) == ({"count": 3}, 0.5)
    few = Disclosure(choice=HIDDEN).status({**status, "held_back": "1 of 100 distinct rows"})
    assert (few["loss"], few["accuracy"], few["training_loss"], "inference" in few) == (None, None, None, False)
