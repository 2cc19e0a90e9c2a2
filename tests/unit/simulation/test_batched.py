"""Learners that train together end where each alone would end."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnae.models.dataset import Dataset
from learnae.models.optimisers import NAMES, OptimiserPolicy
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.privacy.clipping import NormClip
from learnae.simulation import batched
from learnae.simulation.batched import BatchedLearner, train_together
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

INPUTS = 5
TASKS = {
    "sparse_categorical_crossentropy": dense_config(INPUTS, (7, 4), 3, "softmax"),
    "binary_crossentropy": dense_config(INPUTS, (6,), 1, "sigmoid"),
    "mean_squared_error": dense_config(INPUTS, (), 2, "linear"),
    "huber": dense_config(INPUTS, (6,), 2, "linear"),
}


def dataset(manifest: Manifest, seed: int, rows: int, largest: int) -> Dataset:
    rng = np.random.default_rng(seed)
    data = Dataset(manifest.model, manifest.objective)
    kinds = {"sparse_categorical_crossentropy": lambda: rng.integers(0, 3, rows)}
    kinds["binary_crossentropy"] = lambda: rng.integers(0, 2, (rows, 1)).astype(np.float32)
    targets = kinds.get(manifest.loss, lambda: rng.normal(size=(rows, 2)))()
    data.add(rng.normal(size=(rows, INPUTS)) * rng.choice([1, largest], (rows, 1)), targets)
    return data


def learners(kind: type[NumpyLearner], loss: str, optimiser: str, clips: bool, batch: int) -> list[Any]:
    manifest = Manifest("together", TASKS[loss], loss)
    policy = OptimiserPolicy(optimiser, 0.01)
    made = []
    for seed, rows in enumerate((3, 40, 41, 90)):
        data, rng = dataset(manifest, seed, rows, largest=20 if clips else 1), np.random.default_rng(seed)
        learner = kind(manifest.definition, manifest.objective, policy, data, batch, rng, NormClip(is_on=clips))
        learner.load(manifest.definition.initial(seed))
        made.append(learner)
    return made


@settings(max_examples=40)
@given(st.sampled_from(list(TASKS)), st.sampled_from(NAMES), st.booleans(), st.integers(1, 40), st.integers(1, 6))
def test_learners_that_train_together_end_where_each_alone_would(
    loss: str, optimiser: str, clips: bool, batch: int, steps: int
) -> None:
    alone = learners(NumpyLearner, loss, optimiser, clips, batch)
    together = learners(BatchedLearner, loss, optimiser, clips, batch)
    for turn in range(3):
        said = [learner.train(steps + turn) for learner in alone]
        train_together([(learner, steps + turn) for learner in together])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NumpyLearner, "step", None)  # nothing is computed any more
            heard = [learner.train(steps + turn) for learner in together]
        for one, other, trained, expected in zip(alone, together, heard, said, strict=True):
            np.testing.assert_allclose(other.weights(), one.weights(), rtol=1e-5, atol=1e-6)
            for name, array in one.state().items():
                np.testing.assert_allclose(other.state()[name], array, rtol=1e-4, atol=1e-5)
            assert (trained.steps, trained.rows) == (expected.steps, expected.rows)
            assert trained.loss == pytest.approx(expected.loss, rel=1e-4)
            assert other.rng.random() == one.rng.random()  # they have drawn the same


def test_what_cannot_be_batched_trains_alone_and_so_does_what_was_given_other_weights() -> None:
    loss = "sparse_categorical_crossentropy"
    alone, together = (learners(kind, loss, "momentum", True, 8) for kind in (NumpyLearner, BatchedLearner))
    rows = np.ones((2, INPUTS), np.float32)
    for learner in (alone[1], together[1]):
        learner.data.teach(rows, np.zeros(2, np.int64))  # draws from these interleave with those of own rows
    assert not together[1].may_batch
    train_together([(learner, 4) for learner in together])
    for one, other in zip(alone, together, strict=True):
        one.train(4)
        other.train(4)
        np.testing.assert_allclose(other.weights(), one.weights(), rtol=1e-5, atol=1e-6)
    train_together([(learner, 4) for learner in together])
    before = together[0].weights() * 0
    together[0].load(before)
    assert together[0].train(0).steps == 0
    assert not together[0].weights().any()


def test_models_with_other_layers_are_left_to_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    config = dense_config(INPUTS, (7,), 3, "softmax")
    config["config"]["layers"].insert(1, {"class_name": "Dropout", "config": {"rate": 0.5}})
    monkeypatch.setitem(TASKS, "sparse_categorical_crossentropy", config)
    made = learners(BatchedLearner, "sparse_categorical_crossentropy", "sgd", False, 8)
    monkeypatch.setattr(batched, "_train", None)
    train_together([(learner, 3) for learner in made])
    assert [learner.train(3).steps for learner in made] == [3] * 4
