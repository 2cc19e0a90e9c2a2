"""Which engine a trainer takes, what it says of it, and how much it trains between two merges."""

import importlib.util
import logging
from pathlib import Path

import numpy as np
import pytest

from learnae.config.loading import load_config
from learnae.errors import ConfigurationError
from learnae.models.dataset import Dataset
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.peer.learning.training import ENDLESS
from learnae.swarm.presets import preset
from learnae.system.installation import how_to_install
from trainer_node.config import TrainerConfig, TrainerTrainSection
from trainer_node.engines import choose_engine, warn_of_an_unseen_gpu
from trainer_node.learning.batches import Batches
from trainer_node.learning.jax_learner import JaxLearner
from trainer_node.wiring import build_learner, local_steps

MANIFEST = preset("hepmass", 0)


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jax" else found(name))


def empty() -> Dataset:
    return Dataset(MANIFEST.model, MANIFEST.objective)


@pytest.mark.modules("keras", "jax")
@pytest.mark.parametrize("engine", ["auto", "jax"])
def test_jax_is_taken_where_it_is_and_names_its_device(engine: str) -> None:
    learner, facts = build_learner(TrainerTrainSection(engine=engine), MANIFEST, empty())

    assert isinstance(learner, JaxLearner)
    assert facts["engine"] == "jax"
    assert facts["device"] == learner.device


@pytest.mark.parametrize(("device", "warned"), [("cpu", True), ("NVIDIA H100 80GB HBM3 (gpu)", False)])
def test_a_gpu_that_jax_does_not_see_is_said_with_the_remedy(
    device: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver = tmp_path / "version"
    warn_of_an_unseen_gpu("cpu", driver)
    assert not caplog.records, "there is none"
    driver.touch()
    warn_of_an_unseen_gpu(device, driver)
    assert ("jax[cuda12]" in caplog.text) == warned


def test_numpy_is_taken_where_it_is_asked_for() -> None:
    learner, facts = build_learner(TrainerTrainSection(engine="numpy"), MANIFEST, empty())

    assert isinstance(learner, NumpyLearner)
    assert facts["engine"] == "numpy"


@pytest.mark.usefixtures("no_jax")
def test_without_jax_one_line_says_how_to_get_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trainer_node"):
        assert choose_engine("auto", "float32") == "numpy"

    (record,) = caplog.records
    assert record.getMessage() == f"training with NumPy; for a GPU and for faster epochs: {how_to_install('trainer')}"


@pytest.mark.usefixtures("no_jax")
@pytest.mark.parametrize(("engine", "precision"), [("jax", "float32"), ("auto", "mixed_bfloat16")])
def test_what_needs_jax_is_refused_without_it(engine: str, precision: str) -> None:
    with pytest.raises(ConfigurationError, match="pip install"):
        choose_engine(engine, precision)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"engine": "torch"}, "train.engine is 'torch'"),
        ({"precision": "float16"}, "train.precision is 'float16'"),
        ({"engine": "numpy", "precision": "mixed_bfloat16"}, "computes in float32"),
        ({"epochs": -1.0}, "train.epochs"),
        ({"steps": -1}, "train.steps"),
        ({"steps": 1, "epochs": 1.0}, "both set"),
        ({"share": 0.0}, "train.share"),
        ({"stop_when": -1}, "train.stop_when"),
    ],
)
def test_what_makes_no_sense_is_said(values: dict[str, object], words: str) -> None:
    flags = {f"train.{key}": value for key, value in values.items()}
    with pytest.raises(ConfigurationError, match=words):
        load_config(TrainerConfig, "no-such-role", flags=flags, environment={})


@pytest.mark.parametrize(
    ("section", "steps"),
    [
        (TrainerTrainSection(), ENDLESS),
        (TrainerTrainSection(steps=7), 7),
        (TrainerTrainSection(epochs=2.0), 63),  # 2 * 1000 rows in batches of 32
    ],
)
def test_steps_between_two_merges(section: TrainerTrainSection, steps: int) -> None:
    assert local_steps(section, MANIFEST, 1000) == steps


def test_every_row_comes_once_before_any_comes_again() -> None:
    batches = Batches(4, np.random.default_rng(1))

    taken = np.concatenate([batches.take(steps, 10).ravel() for steps in (1, 3, 6)])

    assert taken.dtype == np.int32
    assert all(sorted(taken[start : start + 10]) == list(range(10)) for start in range(0, 40, 10))
    assert taken[:10].tolist() != taken[10:20].tolist()


def test_a_batch_may_be_larger_than_all_rows() -> None:
    assert Batches(8, np.random.default_rng(1)).take(2, 3).max() == 2


def test_other_rows_begin_a_new_pass() -> None:
    batches = Batches(4, np.random.default_rng(1))
    batches.take(1, 10)

    assert sorted(batches.take(3, 12).ravel()) == list(range(12))
