"""A role's learner, as the swarm wants it: what was spent stays spent, whatever it does next."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from learnae.config.privacy_section import PrivacySection
from learnae.models.dataset import Dataset
from learnae.models.passive_learner import PassiveLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.budget_file import FILE
from learnae.privacy.policy import PrivacyPolicy, TrainingPrivacy
from learnae.runtime.private.learner import Private, as_agreed
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

PLAIN = Manifest("small", dense_config(2, (), 2, "softmax"), "sparse_categorical_crossentropy")
PRIVATE = replace(PLAIN, privacy=PrivacyPolicy(TrainingPrivacy(4.0, releases=8)))


def made(directory: Path, manifest: Manifest = PRIVATE, epsilon: float = 0.0, idle: bool = False) -> Private:
    data, rng = Dataset(manifest.model, manifest.objective), np.random.default_rng(0)
    data.add(rng.normal(size=(20, 2)), rng.integers(0, 2, 20))
    learner = NumpyLearner(manifest.definition, manifest.objective, manifest.optimiser, data, 8, rng)
    inner = PassiveLearner(manifest.model.count) if idle else learner
    return as_agreed(inner, data, manifest, PrivacySection(epsilon=epsilon), directory)


def test_without_any_demand_a_learner_stays_as_it_is(tmp_path: Path) -> None:
    private = made(tmp_path, PLAIN)
    assert isinstance(private.learner, NumpyLearner)
    assert not private.is_private
    assert not (tmp_path / FILE).exists()


def test_a_restart_goes_on_counting(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert first.spent().epsilon == 0.0
    assert first.learner.train(5).steps == 5
    second = made(tmp_path)
    assert second.spent() == first.spent()
    assert second.learner.train(5).steps == 3, "then all rows have paid"
    assert 3.99 < second.spent().epsilon <= 4.0
    assert second.learner.train(5).steps == 0


def test_a_stricter_owner_lets_rows_leave_that_have_spent_more(tmp_path: Path) -> None:
    made(tmp_path).learner.train(8)
    stricter = made(tmp_path, epsilon=1.0)
    assert stricter.learner.train(1).steps == 0
    assert stricter.spent().epsilon > 3.9, "what was told is told"


def test_partitions_of_the_owner_cost_as_much_and_take_as_many_steps(tmp_path: Path) -> None:
    """A manifest's noise in parts: all eight participations of a row are so many steps, idle or not."""
    manifest = replace(PLAIN, privacy=PrivacyPolicy(TrainingPrivacy(4.0, releases=8, partitions=3)))
    first = made(tmp_path, manifest)
    assert first.learner.train(10).steps == 10
    assert made(tmp_path, manifest, idle=True).spent() == first.spent()
    again = made(tmp_path, manifest)
    assert again.learner.train(100).steps == 14
    assert 3.99 < again.spent().epsilon <= 4.0


def test_a_board_that_trains_no_more_still_says_what_it_has_spent(tmp_path: Path) -> None:
    made(tmp_path).learner.train(5)
    idle = made(tmp_path, idle=True)
    assert idle.spent() == made(tmp_path).spent()
    idle.recall(7)
    assert made(tmp_path).spent().releases == 7
    assert made(tmp_path / "new", idle=True).spent().epsilon == 0.0
