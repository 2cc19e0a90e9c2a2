"""What a private learner releases: clipped, noisy, divided by a constant, and paid for before."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learnae.errors import ModelError
from learnae.models.dataset import Dataset
from learnae.models.definition import ModelDefinition
from learnae.models.losses import Loss
from learnae.models.optimisers import Optimiser, OptimiserPolicy
from learnae.models.private.private_learner import PrivateLearner
from learnae.models.reference.numpy_learner import NumpyLearner
from learnae.ports import Trained
from learnae.privacy.accountant import noise_multiplier
from learnae.privacy.noise.gaussian import normals_of
from learnae.privacy.policy import TrainingPrivacy
from learnae.privacy.spent import PRIVATE_SAMPLES
from learnae.swarm.presets import dense_config

POLICY = TrainingPrivacy(epsilon=4.0, releases=6)
PLAIN = OptimiserPolicy("sgd", learning_rate=1.0)  # weights move by minus the release
INPUTS, CLASSES = 5, 3
MODEL = ModelDefinition.from_config(dense_config(INPUTS, (), CLASSES, "softmax"))
LOSS = Loss.for_model("sparse_categorical_crossentropy", MODEL)


def silent(count: int) -> "np.ndarray":
    return np.zeros(count)


def rows_of(count: int, seed: int = 1) -> "tuple[np.ndarray, np.ndarray]":
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, INPUTS)).astype(np.float32), rng.integers(0, CLASSES, count)


def data_of(*parts: "tuple[np.ndarray, np.ndarray]", capacity: int = 1 << 20) -> Dataset:
    data = Dataset(MODEL, LOSS, capacity)
    for rows, targets in parts:
        data.add(rows, targets)
    return data


def learner_of(data: Dataset, optimiser: OptimiserPolicy = PLAIN, **options: object) -> PrivateLearner:
    inner = NumpyLearner(MODEL, LOSS, OptimiserPolicy(), data, 32, np.random.default_rng(0))
    return PrivateLearner(inner, data, options.pop("policy", POLICY), optimiser, **options)


def released(learner: PrivateLearner) -> "np.ndarray":
    """Return what one step with PLAIN releases: noisy sum of gradients over a constant."""
    before = learner.weights().astype(np.float64)
    assert learner.train(1).steps == 1
    return before - learner.weights()


def test_without_noise_a_step_is_the_optimisers_on_the_clipped_sum() -> None:
    data = data_of(rows_of(300))
    adam = OptimiserPolicy("adam", learning_rate=0.1)
    learner = learner_of(data, adam, normals=silent)
    expected, optimiser = learner.weights(), Optimiser(adam, MODEL.count)
    for _ in range(4):
        learner.load(expected)
        total = learner.inner.clipped_sum(data.train.rows, data.train.targets, POLICY.clip).gradient
        optimiser.apply(expected, (total / PRIVATE_SAMPLES).astype(np.float32))
        learner.train(1)
        np.testing.assert_allclose(learner.weights(), expected, atol=2e-5)


def test_one_row_more_moves_a_release_by_no_more_than_the_clip() -> None:
    """However long its gradient is; noise is the same in both."""
    outlier = np.full((1, INPUTS), 1e4, np.float32), np.array([0])
    both = [
        released(learner_of(data_of(*parts), normals=lambda count: normals_of(bytes(32), count)))
        for parts in ([rows_of(200)], [rows_of(200), outlier])
    ]
    moved = np.linalg.norm(both[1] - both[0]) * PRIVATE_SAMPLES
    assert 0.99 * POLICY.clip < moved < 1.012 * POLICY.clip


def test_the_number_of_rows_divides_nothing() -> None:
    one, two = (
        released(learner_of(data_of((rows_of(1)[0] + shift, np.array([0]))), normals=silent)) for shift in (0, 0)
    )
    many = data_of(*[(rows_of(1)[0] * np.float32(1 + n * 1e-6), np.array([0])) for n in range(50)])
    np.testing.assert_allclose(released(learner_of(many, normals=silent)), 50 * one, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("overlap", "partitions", "width", "share"), [(1, 1, 0, 1.0), (2, 1, 0, 2.0), (1, 4, 0, 1.2196), (1, 4, 2, 1.2163)]
)
def test_noise_is_as_strong_as_the_accountant_demands(overlap: int, partitions: int, width: int, share: float) -> None:
    wide = ModelDefinition.from_config(dense_config(2000, (), CLASSES, "softmax"))
    data = Dataset(wide, LOSS)
    data.add(np.zeros((1, 2000), np.float32), np.zeros(1, np.int64))
    inner = NumpyLearner(wide, LOSS, OptimiserPolicy(), data, 32, np.random.default_rng(0))
    learner = PrivateLearner(inner, data, replace(POLICY, partitions=partitions), PLAIN, overlap=overlap, width=width)
    noise = released(learner)[:6000] * PRIVATE_SAMPLES / POLICY.clip
    expected = share * noise_multiplier(POLICY.epsilon, POLICY.delta, POLICY.releases)
    assert 0.95 * expected < noise.std() < 1.06 * expected
    assert abs(noise.mean()) < 5 * expected / 6000**0.5


def test_a_release_is_on_a_grid_that_depends_on_no_row() -> None:
    """One row, little noise and weights of 0: below 2^21 steps float32 weights hold each to an eighth."""
    learner = learner_of(data_of(rows_of(1)), normals=lambda count: normals_of(bytes(32), count) / 100)
    learner.load(np.zeros(MODEL.count, np.float32))
    steps = released(learner) * PRIVATE_SAMPLES / (POLICY.clip * 2.0**-20)
    assert 1e5 < np.abs(steps).max() < 2**21
    np.testing.assert_allclose(steps, np.rint(steps), rtol=0, atol=0.125)


def test_rows_leave_after_their_releases_and_training_goes_on_with_new_ones() -> None:
    data = data_of(rows_of(20))
    learner = learner_of(data)
    assert learner.spent.epsilon == 0
    assert [learner.train(4).steps, learner.train(4).steps, learner.train(4).steps] == [4, 2, 0]
    assert 0.99 * POLICY.epsilon < learner.spent.epsilon <= POLICY.epsilon
    data.add(*rows_of(20, seed=2))
    quiet = learner_of(data, normals=silent)
    assert learner.train(4).steps == 4
    assert learner.spent.releases == 10
    assert learner.spent.epsilon <= POLICY.epsilon
    assert quiet.train(1).steps == 1


def test_only_rows_that_can_pay_take_part(tmp_path: Path) -> None:
    data = data_of(rows_of(20))
    learner_of(data, path=tmp_path / "budget").train(6)
    data.add(*rows_of(5, seed=2))
    again = learner_of(data, path=tmp_path / "budget", normals=silent)
    new = learner_of(data_of(rows_of(5, seed=2)), normals=silent)
    np.testing.assert_allclose(released(again), released(new), atol=1e-7)  # summed in an order of their own


def test_a_row_takes_part_in_one_step_of_a_partition() -> None:
    """Over all steps each row is in as many as the policy says, and no more than one of so many in turn."""
    data = data_of(rows_of(40))
    learner = learner_of(data, policy=replace(POLICY, partitions=4), normals=silent)
    taken: list[np.ndarray] = []
    learner._sum = lambda chosen: (taken.append(chosen), np.zeros(MODEL.count, np.int64))[1]  # type: ignore[method-assign]
    learner.train(1000)
    counts = np.bincount(np.concatenate(taken))
    assert counts.tolist() == [POLICY.releases] * 40
    for four in zip(*[iter(taken)] * 4, strict=True):
        assert sorted(np.concatenate(four).tolist()) == list(range(40))
    assert 0.99 * POLICY.epsilon < learner.spent.epsilon <= POLICY.epsilon


def test_after_a_restart_noise_is_fresh_and_what_is_spent_stays(tmp_path: Path) -> None:
    data = data_of(rows_of(20))
    learner = learner_of(data, policy=replace(POLICY, partitions=3), path=tmp_path / "budget")
    learner.train(2)
    state, weights = {name: array.copy() for name, array in learner.state().items()}, learner.weights()
    ends = []
    for _ in range(2):  # as if killed before the state was saved
        again = learner_of(data, policy=replace(POLICY, partitions=3), path=tmp_path / "budget")
        again.restore(state)
        again.load(weights)
        again.train(1)
        ends.append(again.weights())
    assert np.abs(ends[0] - ends[1]).min() > 0
    assert learner_of(data, policy=replace(POLICY, partitions=3), path=tmp_path / "budget").spent.releases == 4


def test_own_messages_are_believed_where_the_file_is_older(tmp_path: Path) -> None:
    data = data_of(rows_of(20))
    learner = learner_of(data, path=tmp_path / "budget")
    learner.recall(5)
    assert [learner.train(4).steps, learner.train(4).steps] == [1, 0]
    assert learner.spent.releases == 6


def test_what_is_known_already_forgets_no_noise(tmp_path: Path) -> None:
    """Later steps take back a part of it, and a peer says before each cycle what it has heard."""
    data = data_of(rows_of(40))
    learner_of(data, policy=replace(POLICY, partitions=3), path=tmp_path / "0")._budget.close()
    shutil.copy(tmp_path / "0", tmp_path / "1")  # the key of both: which part a row is in follows from it
    ends = []
    for hears in range(2):
        numbers = itertools.count(1)
        fixed = lambda count, numbers=numbers: normals_of(next(numbers).to_bytes(32), count)  # noqa: E731
        learner = learner_of(data, policy=replace(POLICY, partitions=3), normals=fixed, path=tmp_path / str(hears))
        for _ in range(6):
            learner.train(1)
            if hears:
                learner.recall(learner.spent.releases)
        ends.append(learner.weights().tolist())
    assert ends[0] == ends[1]


def test_what_train_returns_is_of_no_row() -> None:
    few, many = (learner_of(data_of(rows_of(count))).train(3) for count in (1, 300))
    assert few == many == Trained(3, PRIVATE_SAMPLES, 0.0)


def test_rows_that_are_alike_are_one() -> None:
    rows, targets = rows_of(1)
    one = released(learner_of(data_of((rows, targets)), normals=silent))
    copies = data_of((np.repeat(rows, 30, axis=0), np.repeat(targets, 30)))
    np.testing.assert_array_equal(released(learner_of(copies, normals=silent)), one)


def test_a_gradient_that_is_no_number_is_left_out() -> None:
    """Weights that others sent overflow for one row; for its neighbours nothing changes."""
    rows, targets = rows_of(20)
    rows[:, 0] = 0
    odd = np.full((1, INPUTS), 100, np.float32), np.array([1])
    hostile = np.zeros(MODEL.count, np.float32)
    hostile[:CLASSES] = 3e38  # of the first input
    found = []
    for parts in ([(rows, targets)], [(rows, targets), odd]):
        learner = learner_of(data_of(*parts), normals=silent)
        learner.load(hostile)
        with np.errstate(all="ignore"):
            found.append(released(learner)[CLASSES:])
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_no_step_is_taken_that_cannot_be_written_down(tmp_path: Path) -> None:
    learner = learner_of(data_of(rows_of(20)), path=tmp_path / "budget")
    learner.train(1)
    before = learner.weights()
    learner._budget._database.execute("PRAGMA query_only = ON")
    assert learner.train(3) == Trained(0, 0, 0.0)
    np.testing.assert_array_equal(learner.weights(), before)
    learner._budget._database.execute("PRAGMA query_only = OFF")
    assert learner.train(3).steps == 3


def test_rows_that_are_overwritten_before_they_left_end_training() -> None:
    """One row more or less would decide over another one."""
    data = data_of(rows_of(300), capacity=300)
    learner = learner_of(data)
    learner.train(POLICY.releases)
    data.add(*rows_of(3, seed=2))  # over rows that have left
    assert learner.train(2).steps == 2
    data.add(*rows_of(299, seed=3))
    assert learner.train(1).steps == 0


def test_models_whose_rows_share_gradients_are_refused() -> None:
    config = dense_config(INPUTS, (4,), CLASSES, "softmax")
    config["config"]["layers"].insert(1, {"class_name": "BatchNormalization", "config": {"name": "norm"}})
    model = ModelDefinition.from_config(config)
    data = Dataset(model, LOSS)
    inner = NumpyLearner(model, LOSS, OptimiserPolicy(), data, 32, np.random.default_rng(0))
    with pytest.raises(ModelError, match="gradient"):
        PrivateLearner(inner, data, POLICY, PLAIN)
