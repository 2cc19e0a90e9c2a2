"""The collector: from samples to rows; what must not be trained on is kept apart."""

from __future__ import annotations

import numpy as np
import pytest

from agent.collector import Collector
from agent.onlooking import Onlooking
from learnae.features import WindowStatistics
from learnae.manifest import Manifest
from learnae.models.dataset import Dataset
from learnae.ports import Samples
from learnae.presets import dense_config

FEATURES = WindowStatistics(("a",), 10.0, window=4, hop=4, shift=(0.0,) * 5, scale=(1.0,) * 5)
MANIFEST = Manifest("motion", dense_config(5, (), 3, "softmax"), "sparse_categorical_crossentropy", features=FEATURES)


class Parts:
    """ports.SampleSource that gives one part after the other."""

    def __init__(self, *parts: Samples) -> None:
        self._parts = list(parts)
        self.reads = 0

    def read(self) -> Samples | None:
        self.reads += 1
        return self._parts.pop(0) if self._parts else None


def samples(start: int, label: int, holdout: bool = False, count: int = 4) -> Samples:
    """Values from ``start`` on, one a tenth of a second."""
    values = np.arange(start, start + count, dtype=np.float32)[:, None]
    return Samples(
        np.arange(start, start + count) / 10, values, np.full(count, label, np.int64), np.full(count, holdout)
    )


def collect(*parts: Samples) -> tuple[Collector, Dataset]:
    dataset = Dataset(MANIFEST.model, MANIFEST.objective)
    collector = Collector(Parts(*parts), FEATURES, dataset)
    for _ in parts:
        collector.collect()
    return collector, dataset


def test_windows_become_rows_of_features() -> None:
    collector, dataset = collect(samples(0, 1), samples(4, 2))
    expected = FEATURES.extract(np.arange(8.0).reshape(2, 4, 1))
    assert dataset.train.rows.tolist() == expected.tolist()
    assert dataset.train.targets.tolist() == [1, 2]
    assert collector.samples == 8


def test_unlabelled_windows_are_counted_and_not_used() -> None:
    collector, dataset = collect(samples(0, -1), samples(4, 1), samples(8, -1), samples(12, -1, holdout=True))
    assert collector.unlabelled == 3
    assert (len(dataset.train), len(dataset.holdout), dataset.skipped) == (1, 0, 0)


def test_held_out_windows_are_never_trained_on() -> None:
    _, dataset = collect(samples(0, 0), samples(4, 1, holdout=True), samples(8, 2))
    assert dataset.train.targets.tolist() == [0, 2]
    assert dataset.holdout.targets.tolist() == [1]
    assert dataset.holdout.rows[0, 0] == 5.5  # the mean of 4 … 7


def test_a_window_may_come_in_pieces() -> None:
    collector, dataset = collect(samples(0, 1, count=3), samples(3, 1, count=0), samples(3, 1, count=1))
    assert (collector.samples, len(dataset.train)) == (4, 1)


def test_labels_that_the_model_does_not_know_are_skipped_by_the_dataset() -> None:
    _, dataset = collect(samples(0, 3))
    assert (len(dataset.train), dataset.skipped) == (0, 1)


def test_while_there_are_statistics_all_windows_go_there_and_none_is_kept() -> None:
    dataset, onlooking = Dataset(MANIFEST.model, MANIFEST.objective), Onlooking(FEATURES, MANIFEST.class_count)
    source = Parts(samples(0, 1), samples(4, 2), samples(8, -1), samples(12, 0, holdout=True))
    collector = Collector(source, FEATURES, dataset, statistics=onlooking.statistics)
    collector.collect()
    assert onlooking.statistics() is None
    onlooking.begin("no room")
    for _ in range(3):
        collector.collect()
    statistics = onlooking.statistics()
    assert statistics is not None
    assert (statistics.columns, statistics.classes, statistics.rows) == (5, 3, 3)
    assert (len(dataset.train), len(dataset.holdout), collector.samples, collector.unlabelled) == (1, 0, 16, 1)


def test_why_an_agent_looks_on_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    onlooking = Onlooking(FEATURES, 3)
    onlooking.begin("no room")
    first = onlooking.statistics()
    onlooking.begin("no labels")
    assert (onlooking.reason, onlooking.statistics()) == ("no room", first)
    assert [record.message for record in caplog.records] == ["this agent does not train, it sends summaries: no room"]


def test_a_source_that_is_over_is_not_asked_again() -> None:
    source = Parts(samples(0, 1))
    collector = Collector(source, FEATURES, Dataset(MANIFEST.model, MANIFEST.objective))
    collector.collect()
    assert not collector.is_over
    for _ in range(3):
        collector.collect()
    assert collector.is_over
    assert source.reads == 2
