"""Replay: the samples of a file come when the sensor would have delivered them."""

import math
from pathlib import Path

import numpy as np
import pytest
from builders import Watch

from agent.sources.replay import ReplaySource
from learnae.errors import DataError
from learnae.ports import Samples
from learnae.swarm.features import WindowStatistics
from learnae.tables.numbers import Numbers

FEATURES = WindowStatistics(("a",), 10.0, window=4, hop=2, shift=(0.0,) * 5, scale=(1.0,) * 5)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten samples, 0.1 s apart, that begin 100 s after some epoch."""
    path = tmp_path / "recording.npz"
    np.savez(path, signal=np.arange(10.0)[:, None], label=np.zeros(10), time=100 + np.arange(10) / 10)
    return path


def replay(file: Path, speed: float, watch: Watch, holdout: float = 0.3) -> ReplaySource:
    return ReplaySource(file, FEATURES, speed, holdout, watch, labels=Numbers())


def numbers(samples: Samples | None) -> list[int] | None:
    return None if samples is None else [int(value) for value in samples.values[:, 0]]


def test_in_real_time_a_sample_comes_when_it_was_taken(file: Path, watch: Watch) -> None:
    source = replay(file, 1.0, watch)
    assert numbers(source.read()) == [0]
    assert numbers(source.read()) == []
    watch.now += 0.25
    assert numbers(source.read()) == [1, 2]
    watch.now += 0.1
    assert numbers(source.read()) == [3]


@pytest.mark.parametrize(("speed", "expected"), [(0.5, [0]), (2.0, [0, 1, 2, 3]), (4.0, [0, 1, 2, 3, 4, 5, 6])])
def test_speed_is_how_much_faster_time_passes(file: Path, watch: Watch, speed: float, expected: list[int]) -> None:
    source = replay(file, speed, watch)
    watch.now += 0.16
    assert numbers(source.read()) == expected


def test_speed_0_is_everything_at_once_and_then_the_end(file: Path, watch: Watch) -> None:
    source = replay(file, 0.0, watch)
    assert numbers(source.read()) == list(range(10))
    assert source.read() is None


def test_after_the_last_sample_comes_the_end_for_ever(file: Path, watch: Watch) -> None:
    source = replay(file, 1.0, watch)
    watch.now += 3600
    assert numbers(source.read()) == list(range(10))
    assert source.read() is None
    assert source.read() is None


def test_each_sample_comes_once_with_all_that_belongs_to_it(file: Path, watch: Watch) -> None:
    source, parts = replay(file, 1.0, watch), []
    while (samples := source.read()) is not None:
        parts.append(samples)
        watch.now += 0.07
    assert np.concatenate([part.values[:, 0] for part in parts]).tolist() == list(range(10))
    assert np.concatenate([part.time for part in parts]).tolist() == (100 + np.arange(10) / 10).tolist()
    assert np.flatnonzero(np.concatenate([part.holdout for part in parts])).tolist() == [7, 8, 9]
    assert np.concatenate([part.label for part in parts]).tolist() == [0] * 10


def test_it_says_how_long_it_takes_until_a_sample_is_held_out(file: Path, watch: Watch) -> None:
    source = replay(file, 0.5, watch, holdout=0.3)
    assert source.until_holdout() == pytest.approx(1.4)
    watch.now += 1.0
    source.read()
    assert source.until_holdout() == pytest.approx(0.4)
    watch.now += 9
    assert (source.until_holdout(), source.holds_out) == (0.0, True)
    source.read()
    assert source.until_holdout() == math.inf
    assert replay(file, 0.0, watch).until_holdout() == 0.0
    never = replay(file, 0.5, watch, holdout=0.0)
    assert (never.until_holdout(), never.holds_out) == (math.inf, False)


def test_a_clock_that_is_set_back_takes_nothing_back(file: Path, watch: Watch) -> None:
    source = replay(file, 1.0, watch)
    watch.now += 0.35
    assert numbers(source.read()) == [0, 1, 2, 3]
    watch.now -= 0.3
    assert numbers(source.read()) == []
    watch.now += 0.4
    assert numbers(source.read()) == [4]


def test_a_recording_of_nothing_is_over_at_once(tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("a\n")
    assert replay(path, 1.0, watch).read() is None


def test_a_file_that_is_no_recording_is_refused_at_the_start(tmp_path: Path, watch: Watch) -> None:
    with pytest.raises(DataError, match="cannot read"):
        replay(tmp_path / "absent.npz", 1.0, watch)
