"""Rows in memory: what is skipped, what is dropped when there are too many, and rows that are adopted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_configs import define, dense

from learnae.errors import DataError
from learnae.models.dataset import Dataset, Rows
from learnae.models.losses import FINAL_ACTIVATIONS, Loss


def dataset(loss: str, capacity: int = 1000, outputs: int = 3) -> Dataset:
    model = define(dense(outputs, FINAL_ACTIVATIONS[loss]), shape=(2,))
    return Dataset(model, Loss.for_model(loss, model), capacity)


@pytest.mark.parametrize(
    ("loss", "first", "targets", "kept"),
    [
        ("sparse_categorical_crossentropy", [0, np.nan, np.inf], [0, 1, 2], [0]),
        ("sparse_categorical_crossentropy", [0] * 7, [0, 3, -1, 0.5, np.nan, 2, 1], [0, 2, 1]),
        ("binary_crossentropy", [0] * 5, [0, 1, 2, -1, 0.5], [[0], [1]]),
        ("mean_squared_error", [0] * 3, [1, np.nan, np.inf], [[1]]),
        ("mean_squared_error", [0, 1e39, 0], [1, 1, 1e300], [[1]]),  # beyond float32
        ("mean_squared_error", [], [], []),
    ],
)
@pytest.mark.filterwarnings("error")
def test_rows_that_cannot_be_used_are_skipped_and_counted(
    loss: str, first: list[float], targets: list[float], kept: list[Any]
) -> None:
    data = dataset(loss, outputs=3 if loss.startswith("sparse") else 1)
    rows, skipped = np.array([[value, 0] for value in first]).reshape(-1, 2), len(first) - len(kept)
    data.add(rows, np.array(targets))
    assert (data.train.targets.tolist(), len(data.holdout), data.skipped) == (kept, 0, skipped)
    data.add(rows, np.array(targets), holdout=True)
    assert (data.holdout.targets.tolist(), len(data.train), data.skipped) == (kept, len(kept), 2 * skipped)


def test_rows_and_targets_of_another_shape_are_refused() -> None:
    data = dataset("sparse_categorical_crossentropy")
    for rows, targets in (((4, 3), (4,)), ((4, 2), (3,)), ((4, 2), (4, 3)), ((4, 2, 1), (4,)), ((2,), (2,))):
        with pytest.raises(DataError, match="swarm's model"):
            data.add(np.zeros(rows), np.zeros(targets))
    with pytest.raises(DataError):
        dataset("mean_squared_error", outputs=2).add(np.zeros((4, 2)), np.zeros(4))


@pytest.mark.parametrize("capacity", [1, 3, 256, 300, 513])
def test_beyond_the_capacity_the_oldest_rows_go(capacity: int) -> None:
    data = dataset("mean_squared_error", capacity, outputs=1)
    for start in range(0, 1000, 7):
        values = np.arange(start, start + 7)
        data.add(np.stack([values, -values], axis=1), values)
        seen = start + 7
        kept = sorted(data.train.targets[:, 0].tolist())
        assert kept == list(range(max(0, seen - capacity), seen))
        assert (data.train.rows[:, 0] == data.train.targets[:, 0]).all()
        assert (data.train.rows[:, 1] == -data.train.targets[:, 0]).all()


def test_adopted_rows_are_not_copied_and_not_added_to() -> None:
    data = dataset("sparse_categorical_crossentropy", capacity=3)
    rows, targets = np.ones((5, 2), np.float32), np.zeros(5, np.int64)

    data.adopt(rows, targets)

    assert np.shares_memory(data.train.rows, rows)
    assert len(data.train) == 5
    with pytest.raises(DataError):
        data.add(rows, targets)


def test_other_rows_are_known_by_their_count() -> None:
    data = dataset("sparse_categorical_crossentropy")
    rows, targets = np.ones((5, 2), np.float32), np.zeros(5, np.int64)
    data.adopt(rows, targets)
    before = data.train.written

    data.adopt(rows * 2, targets)

    assert data.train.written != before


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (np.ones((5, 3), np.float32), np.zeros(5, np.int64)),
        (np.ones((5, 2)), np.zeros(5, np.int64)),
        (np.ones((5, 2), np.float32), np.zeros(5, np.float32)),
        (np.ones((5, 2), np.float32), np.zeros(4, np.int64)),
    ],
)
def test_rows_of_another_shape_or_type_are_not_adopted(rows: Any, targets: Any) -> None:
    with pytest.raises(DataError):
        dataset("sparse_categorical_crossentropy").adopt(rows, targets)


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 11), st.integers(1, 20))
def test_rows_since_are_those_that_are_new(batches: list[int], seen: int, capacity: int) -> None:
    rows = Rows((1,), (), np.int64, capacity)
    before, number = (0, np.zeros(0)), 0
    for index, size in enumerate(batches):
        if index == seen:
            before = rows.written, rows.rows[:, 0].copy()
        rows.append(np.arange(number, number + size, dtype=np.float32)[:, None], np.zeros(size, np.int64))
        number += size
    new = (
        set(rows.rows[:, 0].tolist()) - set(before[1].tolist())
        if seen < len(batches)
        else set(rows.rows[:, 0].tolist())
    )
    assert set(rows.rows[rows.since(before[0]), 0].tolist()) == new
    assert rows.overwritten == max(0, rows.written - len(rows))


def test_the_loss_of_chance_is_the_entropy_of_classes_and_none_of_values() -> None:
    rows = np.zeros((8, 2))
    for loss, outputs, targets, expected in (
        ("sparse_categorical_crossentropy", 3, [0, 0, 0, 0, 2, 2, 1, 1], 1.5 * np.log(2)),
        ("sparse_categorical_crossentropy", 3, [2] * 8, 0.0),
        ("binary_crossentropy", 1, [0, 1] * 4, np.log(2)),
        ("mean_squared_error", 1, [0, 1] * 4, 0.0),
    ):
        data = dataset(loss, outputs=outputs)
        assert data.chance_loss == 0
        data.add(rows, np.array(targets))
        assert data.chance_loss == pytest.approx(expected)
