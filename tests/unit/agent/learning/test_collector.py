"""The collector: from samples to rows; what must not be trained on is kept apart."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.ingestion.buffer import SampleBuffer
from agent.learning.collector import NO_LABELS, Collector, SummaryMode
from learnae.models.dataset import Dataset
from learnae.ports import Samples
from learnae.samples.dp_statistics import Layout, Statistics, layout_of
from learnae.swarm.features import WindowStatistics
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config

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
    collector = Collector({"file": Parts(*parts)}, MANIFEST, dataset)
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


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [samples(0, 7)],
            "0 rows to train on, 0 held out; of 1 window of 4 samples at 10 Hz without a gap, 0 without",
        ),
        ([samples(0, 7)], "1 skipped: all values must be finite numbers, and the class one of 0 to 2"),
        ([samples(0, -1), samples(4, -1)], "2 without a label, 0 skipped"),
        ([samples(0, 1, count=3)], "of 0 windows"),
        ([samples(0, 1), samples(4, 1)], "all rows are of class 1"),
    ],
)
def test_a_recording_that_taught_nothing_is_said_at_its_end(
    parts: list[Samples], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    collector, _ = collect(*parts)
    with caplog.at_level(logging.WARNING, "learnae"):
        collector.collect()
        collector.collect()
    assert caplog.text.count(said) == 1


def test_a_recording_of_several_classes_ends_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    collector, _ = collect(samples(0, 1), samples(4, 2))
    with caplog.at_level(logging.WARNING, "learnae"):
        collector.collect()
    assert not caplog.records


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


def test_all_windows_but_those_held_out_are_summed_up_and_in_summary_mode_none_is_kept() -> None:
    dataset, summary_mode = Dataset(MANIFEST.model, MANIFEST.objective), SummaryMode()
    source = Parts(samples(0, 1), samples(4, 2), samples(8, -1), samples(12, 0, holdout=True))
    layout = layout_of(MANIFEST)
    assert layout == Layout("diagonal", 5, 5, 3)
    statistics = Statistics(layout)
    collector = Collector({"file": source}, MANIFEST, dataset, summary_mode=summary_mode, statistics=statistics)
    collector.collect()
    assert (statistics.rows, len(dataset.train)) == (1, 1), "also while it trains: how many tells nothing of labels"
    summary_mode.begin("no room")
    for _ in range(3):
        collector.collect()
    counts = statistics.sums().reshape(4, -1)[:, 0]
    assert (counts / counts.max()).tolist() == [0, 1, 1, 1]
    assert (len(dataset.train), len(dataset.holdout), collector.samples, collector.unlabelled) == (1, 0, 16, 1)


def test_why_an_agent_looks_on_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    summary_mode = SummaryMode()
    summary_mode.begin("no room")
    summary_mode.begin("no labels")
    assert summary_mode.reason == "no room"
    assert [record.message for record in caplog.records] == ["this agent does not train, it sends summaries: no room"]


@pytest.mark.parametrize("before", [1, 150, 400])
def test_an_agent_without_labels_looks_on_from_a_fixed_time_until_there_are_some(before: int) -> None:
    """Others see when: 200 hops of 0.4 s after the start, however many windows have come."""
    dataset, summary_mode, now = Dataset(MANIFEST.model, MANIFEST.objective), SummaryMode(), [1000.0]
    later = [samples(4 * (before + number), label) for number, label in enumerate((-1, -1, 1, 2))]
    source = Parts(samples(0, -1, count=4 * before), *later)
    collector = Collector({"file": source}, MANIFEST, dataset, summary_mode=summary_mode, monotonic=lambda: now[0])
    reasons = []
    for passed in (0, 79.9, 0.2, 1, 1):
        now[0] += passed
        collector.collect()
        reasons.append(summary_mode.reason)
    assert reasons == ["", "", NO_LABELS, "", ""]
    assert dataset.train.targets.tolist() == [1, 2], "not one labelled window is lost"


def test_a_source_that_is_over_is_not_asked_again() -> None:
    source = Parts(samples(0, 1))
    collector = Collector({"file": source}, MANIFEST, Dataset(MANIFEST.model, MANIFEST.objective))
    collector.collect()
    assert not collector.is_over
    for _ in range(3):
        collector.collect()
    assert collector.is_over
    assert source.reads == 2


# -- the buffer


def with_buffer(tmp_path: Path, **options: Any) -> tuple[Collector, Dataset, SampleBuffer]:
    dataset = Dataset(MANIFEST.model, MANIFEST.objective)
    buffer = SampleBuffer(tmp_path / "samples.db", 1, 10**6, 10**8)
    return Collector({}, MANIFEST, dataset, buffer=buffer, **options), dataset, buffer


def test_readings_of_several_sources_make_windows_of_their_own(tmp_path: Path) -> None:
    collector, dataset, buffer = with_buffer(tmp_path)
    for start in (0, 2):
        buffer.append("a", samples(start, 1, count=2))
        buffer.append("b", samples(100 + start, 2, count=2))
    collector.collect()
    assert dataset.train.targets.tolist() == [1, 2]
    assert dataset.train.rows[:, 0].tolist() == [1.5, 101.5]
    assert collector.samples == 8
    assert not collector.is_over


def test_after_a_restart_the_rows_are_those_from_before(tmp_path: Path) -> None:
    collector, before, buffer = with_buffer(tmp_path, chunks=3)
    for start in range(0, 100, 3):
        buffer.append("a", samples(start, start // 30 % 2, holdout=start >= 60, count=3))
        buffer.commit()
        collector.collect()
    assert len(collector.newest()) == len(before.train) + len(before.holdout) > 20
    again, after, _ = with_buffer(tmp_path, chunks=3)
    again.collect()
    for one, other in ((before.train, after.train), (before.holdout, after.holdout)):
        assert len(one) > 5
        assert (one.rows == other.rows).all()
        assert (one.targets == other.targets).all()
    assert again.newest() == [], "what was judged before the restart is not judged again"


def test_a_clock_that_jumps_back_by_a_year_costs_one_window_and_mixes_nothing(tmp_path: Path) -> None:
    collector, dataset, buffer = with_buffer(tmp_path)
    year = 366 * 86_400.0
    for start, jump in ((0, 0.0), (6, -year), (12, -year), (18, 0.0)):
        part = samples(start, 1, count=6)
        buffer.append("a", Samples(part.time + 1.8e9 + jump, part.values, part.label, part.holdout))
    buffer.commit()
    collector.collect()
    # windows of four: 0…3 | the clock is a year behind | 6…9, 10…13, 14…17 | it is set right again | 18…21
    assert dataset.train.rows[:, 0].tolist() == [1.5, 7.5, 11.5, 15.5, 19.5]
    again, after, _ = with_buffer(tmp_path)
    again.collect()
    assert (after.train.rows == dataset.train.rows).all(), "and the same after a restart"


def test_new_windows_are_handed_out_once_the_newest_of_many(tmp_path: Path) -> None:
    collector, _, buffer = with_buffer(tmp_path)
    buffer.append("a", samples(0, -1, count=400))
    collector.collect()
    newest = collector.newest()
    assert [round(window.time, 1) for window in newest] == [round(0.3 + 0.4 * index, 1) for index in range(68, 100)]
    assert newest[-1].row[0] == 397.5
    assert not any(window.dated for window in newest), "a clock that still is in 1970"
    assert collector.newest() == []
    late = samples(0, -1, count=4)
    buffer.append("a", Samples(late.time + 1_700_000_000, late.values, late.label, late.holdout))
    collector.collect()
    assert [window.dated for window in collector.newest()] == [True]


def test_old_readings_are_taken_in_bit_by_bit(tmp_path: Path) -> None:
    _, _, buffer = with_buffer(tmp_path)
    for start in range(0, 40, 4):
        buffer.append("a", samples(start, 1))
    buffer.close()
    seconds = iter(range(1000)).__next__
    collector, dataset, _ = with_buffer(tmp_path, chunks=1, seconds=2.5, monotonic=seconds)
    collector.collect()
    assert 1 <= len(dataset.train) <= 3
    for _ in range(10):
        collector.collect()
    assert len(dataset.train) == 10
