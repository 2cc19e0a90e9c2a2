"""The card of an exported model."""

import io
import json
import runpy
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras_configs import dense, layer, sequential

from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.privacy.spent import PrivacySpent
from learnae.swarm.features import RawWindow
from learnae.swarm.manifest import Manifest
from learnae.swarm.model_card import CARD_FILE, card, with_card
from learnae.swarm.presets import dense_config, preset

ROOT = Path(__file__).parents[3]


def manifest(inputs: int, outputs: int, final: str, loss: str, **more: object) -> Manifest:
    return Manifest("pump", dense_config(inputs, (4,), outputs, final), loss, 0, **more)  # type: ignore[arg-type]


def test_statistics_are_told_in_their_order() -> None:
    facts = card(preset("wrist", 0))
    assert facts["input"] == (
        "30: all means, then standard deviations, minima, maxima, mean absolute steps of 100 samples at 50 Hz of "
        "ax, ay, az, wx, wy, wz; (value - shift) / scale, see features"
    )
    assert facts["output"] == "7: how likely each class is: PEN, ABD, FEL, IR, ER, TRAP, ROW"
    assert facts["features"]["shift"][12] == -0.62
    assert facts["classes"][6] == "ROW"


def test_a_card_says_what_of_privacy_is_spent() -> None:
    assert card(preset("wrist", 0))["privacy"] == {"updates": "none", "spent": None}
    policy = PrivacyPolicy(TrainingPrivacy(4.0, protects="reading"))
    spent = [PrivacySpent(3.5, 1e-5, 70, "reading"), PrivacySpent(3.9, 1e-6, 80, "window"), None]
    assert "nothing protects" in card(preset("wrist", 0), is_personal=True)["privacy"]["personal"]
    said = card(replace(preset("wrist", 0), privacy=policy), spent)["privacy"]
    assert said["updates"]["training"]["epsilon"] == 4.0
    assert said["spent"] == {
        "epsilon": 3.9, "delta": 1e-5, "releases": 80, "protects": "window", "peers": 2, "without": 1,
    }  # fmt: skip


def test_raw_windows_are_told_with_their_shape() -> None:
    assert card(preset("wrist-cnn", 0))["input"].startswith("100 x 6: 100 samples at 50 Hz of ax, ay, az, wx, wy, wz;")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (preset("hepmass", 0), "1: how likely it is signal"),
        (manifest(3, 1, "sigmoid", "binary_crossentropy"), "1: how likely it is class 1"),
        (manifest(3, 3, "softmax", "sparse_categorical_crossentropy"), "the labels 0, 1, …"),
        (manifest(3, 1, "linear", "huber"), "1: the number in the label's column"),
        (manifest(3, 3, "linear", "mean_squared_error"), "anomaly score"),
        (preset("thermal", 0), "anomaly score"),
    ],
)
def test_every_task_says_what_its_output_is(made: Manifest, said: str) -> None:
    assert said in card(made)["output"]


def test_columns_are_named_in_the_models_order() -> None:
    facts = card(manifest(3, 1, "linear", "huber", columns=("flow", "heat", "load")))
    assert facts["columns"] == ["flow", "heat", "load"]
    assert facts["input"] == "3: flow, heat, load; as they were given to train on"
    many = card(manifest(99, 1, "linear", "huber", columns=tuple(f"c{index}" for index in range(99))))
    assert many["input"].endswith(", c39, …; as they were given to train on")
    assert len(many["columns"]) == 99


def test_without_names_the_order_of_the_columns_is_all_there_is_to_say() -> None:
    facts = card(manifest(3, 1, "linear", "huber"))
    assert facts["columns"] == []
    assert facts["input"].startswith("3: the columns of a row, but for the label, in their order;")


def test_a_forecast_says_what_follows() -> None:
    features = RawWindow(("level", "wind"), 0.1, 8, 1, (0.0, 1.0), (1.0, 2.0), 6)
    made = Manifest("tides", sequential(layer("Flatten"), dense(12), shape=(8, 2)), "huber", 0, features=features)
    assert card(made)["output"] == "12: the next 6 samples, each of level, wind; value * scale + shift, see features"


def test_the_card_stands_behind_a_file_and_is_the_same_each_time() -> None:
    made = preset("wrist", 0)
    data = with_card(b"a program", card(made))
    assert data.startswith(b"a program")
    assert data == with_card(b"a program", card(made))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert json.loads(archive.read(CARD_FILE)) == card(made)


@pytest.mark.parametrize("name", ["wrist", "wrist-cnn"])
def test_rows_are_made_as_the_documentation_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = preset(name, 0)
    windows = np.random.default_rng(0).normal(size=(4, 100, 6)).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    Path("model.keras").write_bytes(with_card(b"", card(made)))
    text = (ROOT / "docs" / "tasks.md").read_text()
    (code,) = [part.split("```")[0] for part in text.split("```python\n")[1:] if "card = " in part]
    Path("rows.py").write_text(code)
    rows = runpy.run_path("rows.py", {"windows": windows})["rows"]
    assert made.features is not None
    np.testing.assert_allclose(rows, made.features.extract(windows), rtol=0, atol=1e-5)
