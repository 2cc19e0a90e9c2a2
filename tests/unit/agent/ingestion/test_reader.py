"""Readers and the recorder: one source's trouble stays its own; floods are bounded; all is soon on the disk."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import PATIENCE, wait_for

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.reader import ReaderLimits, SourceReader
from agent.ingestion.recorder import Holdout, Recorder
from agent.labels import GivenLabel, LabelNames, write_label
from agent.sources.live import Open
from agent.sources.polled import BATCH_SECONDS
from learnae.errors import TransportError
from learnae.ports import Samples
from learnae.swarm.features import WindowStatistics

RATE = 50.0
QUICK = ReaderLimits(first_pause=0.01, longest_pause=0.04, period=0.01, join_timeout=PATIENCE)
FEATURES = WindowStatistics(("a",), RATE, 10, 5, (0.0,) * 5, (1.0,) * 5)


def readings(start: int, count: int, rate: float = RATE, label: int = -1) -> Samples:
    time_ = 1.7e9 + np.arange(start, start + count) / rate
    return Samples.unmarked(time_, np.arange(start, start + count, dtype=np.float32)[:, None], label)


class Scripted:
    """A source whose reads are given by a function; counts what is done with it."""

    def __init__(self, read: Callable[[int], Samples | None]) -> None:
        self._read = read
        self.position, self.positions = "", []  # now, and those that it was opened at
        self.opened = self.closed = self.reads = 0

    def open(self, position: str) -> Scripted:
        self.opened += 1
        self.positions.append(position)
        return self

    def read(self) -> Samples | None:
        self.reads += 1
        return self._read(self.reads)

    def state(self) -> str:
        return "scripted"

    def close(self) -> None:
        self.closed += 1


def one_each(number: int) -> Samples:
    return readings(number, 1)


def reader_of(name: str, open_source: Open, rate: float, polled: bool, position: str = "", **limits) -> SourceReader:
    return SourceReader(name, open_source, rate, polled, position, replace(QUICK, **limits))


@contextmanager
def running(*readers: SourceReader) -> Iterator[None]:
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        for reader in readers:
            reader.stop()


def taken(reader: SourceReader) -> list[int]:
    return [int(value) for samples, _ in reader.take() for value in samples.values[:, 0]]


def test_readings_come_once_each_in_order() -> None:
    reader = reader_of("a", Scripted(one_each).open, RATE, polled=True)
    with running(reader):
        wait_for(lambda: reader.samples >= 5, "readings")
    first = taken(reader)
    assert first == list(range(1, 1 + len(first)))
    assert taken(reader) == []
    assert reader.status()["state"] == "stopped"


def test_a_source_that_fails_is_closed_and_opened_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    def read(number: int) -> Samples:
        if number < 4:
            raise TransportError("sensor is unplugged")
        return one_each(number)

    caplog.set_level(logging.INFO)
    source = Scripted(read)
    reader = reader_of("pump", source.open, RATE, polled=True)
    with running(reader):
        wait_for(lambda: reader.samples, "it to come back")
        status = reader.status()
    assert (source.opened, source.closed, status["failures"]) == (4, 4, 3)
    assert (status["state"], status["error"]) == ("working", "sensor is unplugged")
    assert caplog.text.count("unplugged") == 1, "said once"
    assert caplog.text.count("source pump is back") == 1


def loose_wire(number: int) -> Samples:
    if number % 3:
        raise TransportError(f"reason {number % 3}" if number < 60 else f"reason {number}")
    return one_each(number)


def test_a_loose_wire_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reader = reader_of("pump", Scripted(loose_wire).open, RATE, polled=True)
    with running(reader):
        wait_for(lambda: reader.failures > 70, "failures")
    assert (caplog.text.count("reason 1;"), caplog.text.count("reason 2;")) == (1, 1)
    assert len(caplog.records) < 30, "reasons that are ever new have an end, too"


def test_a_reason_is_said_again_after_a_while_with_its_count(caplog: pytest.LogCaptureFixture) -> None:
    def unplugged(_: int) -> Samples:
        raise TransportError("sensor is unplugged")

    reader = reader_of("pump", Scripted(unplugged).open, RATE, polled=True, say_again=0.1)
    with running(reader):
        wait_for(lambda: len(caplog.records) > 1, "the second line")
    assert re.search(r"unplugged; trying again$", caplog.records[0].getMessage())
    assert re.search(
        r"unplugged; trying again \(\d+ times? more since this was said\)$", caplog.records[1].getMessage()
    )


@pytest.mark.parametrize("error", [OSError(19, "No such device"), ZeroDivisionError("a defect"), ValueError("x")])
def test_no_error_of_one_source_stops_another(error: Exception) -> None:
    def fail(number: int) -> Samples:
        raise error

    bad, good = (
        reader_of("bad", Scripted(fail).open, RATE, True),
        reader_of("good", Scripted(one_each).open, RATE, True),
    )
    with running(bad, good):
        wait_for(lambda: good.samples > 3 and bad.failures > 3, "both to go on")
        assert bad.status()["state"] == "failing"
        assert str(error) in bad.status()["error"]


def test_a_source_that_hangs_holds_up_neither_the_others_nor_the_end() -> None:
    release = threading.Event()
    hanging = reader_of("hanging", Scripted(lambda _: release.wait(600) and None).open, RATE, True, join_timeout=0.1)
    good = reader_of("good", Scripted(one_each).open, RATE, True)
    with running(hanging, good):
        wait_for(lambda: good.samples > 3, "the other one")
    assert not release.is_set()
    release.set()


def test_a_source_that_floods_gives_at_most_two_readings_a_period() -> None:
    flood = Scripted(lambda number: readings(number * 1000, 1000, rate=100 * RATE))
    reader = reader_of("flood", flood.open, RATE, polled=True)
    with running(reader):
        wait_for(lambda: flood.reads > 5, "some reads")
    times = np.concatenate([samples.time for samples, _ in reader.take()])
    assert len(times) <= 2 * RATE * (times[-1] - times[0]) + 2
    assert reader.dropped + reader.samples >= 5000
    assert reader.dropped > 4500


def test_what_nobody_takes_is_bounded() -> None:
    reader = reader_of("a", Scripted(lambda number: readings(number * 8, 8)).open, RATE, polled=True, queue=20)
    with running(reader):
        wait_for(lambda: reader.dropped > 50, "drops")
    assert len(taken(reader)) == 16


def test_readings_without_a_time_are_dropped() -> None:
    bad = readings(0, 3)
    bad.time[1] = np.nan
    reader = reader_of("a", Scripted(lambda _: bad).open, RATE, polled=True)
    with running(reader):
        wait_for(lambda: reader.dropped, "a drop")
    assert taken(reader)[:2] == [0, 2]


def test_a_source_is_opened_where_its_readings_that_were_taken_in_end() -> None:
    def read(number: int) -> Samples:
        if number in (1, 4):
            raise TransportError("the bridge is gone")  # what it may have heard before that is asked for again
        source.position = str(number)
        return readings(number, number % 2)

    source = Scripted(read)
    reader = reader_of("a", source.open, RATE, polled=True, position="kept")
    with running(reader):
        wait_for(lambda: source.reads >= 6, "reads")
    assert source.positions[:3] == ["kept", "kept", "3"]
    assert [position for _, position in reader.take()][:2] == ["3", "5"]


def test_a_source_that_can_be_asked_later_is_not_read_while_much_waits() -> None:
    source = Scripted(lambda number: readings(number * 8, 8))
    source.position = "x"
    reader = reader_of("a", source.open, RATE, polled=True, enough=20)
    with running(reader):
        wait_for(lambda: reader.samples >= 24, "readings")
        time.sleep(0.1)
        assert (source.reads, reader.dropped) == (3, 0)
        first = taken(reader)
        wait_for(lambda: source.reads >= 6, "it to be read again")
    assert first + taken(reader) == list(range(8, 8 + reader.samples))


# -- the recorder


def recorder_of(tmp_path: Path, *readers: SourceReader, period: float = 0.5) -> tuple[Recorder, SampleBuffer]:
    buffer = SampleBuffer(tmp_path / "samples.db", 1, 10**6, 10**8)
    holdouts = {reader.name: Holdout(0.3, FEATURES) for reader in readers}
    label = GivenLabel(tmp_path, LabelNames(("idle", "busy"), 2))
    return Recorder(readers, buffer, holdouts, label, period), buffer


def on_disk(tmp_path: Path) -> list[Samples]:
    return [chunk.samples for chunk in SampleBuffer(tmp_path / "samples.db", 1, 10**6, 10**8).after(0, 10**6)]


def test_readings_are_on_the_disk_without_anybody_asking(tmp_path: Path) -> None:
    reader = reader_of("a", Scripted(one_each).open, RATE, polled=True)
    recorder, _ = recorder_of(tmp_path, reader)
    recorder.start()
    wait_for(lambda: on_disk(tmp_path), "a commit")
    recorder.stop()
    assert sum(len(samples.time) for samples in on_disk(tmp_path)) == reader.samples == recorder.samples


class Pauses:
    """In the place of an event that ends a thread: writes down how long the thread would have waited."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return self.is_set()

    def is_set(self) -> bool:
        return len(self.asked) >= 5


@pytest.mark.parametrize("polled", [False, True])
def test_a_reading_is_kept_waiting_less_than_a_second(tmp_path: Path, polled: bool) -> None:
    reader = SourceReader("a", Scripted(one_each).open, 0.1, polled)  # one reading in ten seconds
    recorder, _ = recorder_of(tmp_path, reader)
    reader._put(readings(0, 1), "")
    recorder._stopping = Pauses()
    recorder._run()
    assert reader.period + max(recorder._stopping.asked) + BATCH_SECONDS < 1
    assert len(on_disk(tmp_path)) == 1


def test_a_given_label_names_what_the_source_does_not(tmp_path: Path) -> None:
    knows = Scripted(lambda number: readings(number, 1, label=0))
    readers = [reader_of("knows", knows.open, RATE, True), reader_of("plain", Scripted(one_each).open, RATE, True)]
    recorder, buffer = recorder_of(tmp_path, *readers)
    write_label(tmp_path, "busy", None)
    with running(*readers):
        wait_for(lambda: min(reader.samples for reader in readers), "readings")
    recorder.record()
    labels = {chunk.source: set(chunk.samples.label.tolist()) for chunk in buffer.after(0, 100)}
    assert labels == {"knows": {0}, "plain": {1}}


def test_holdout_is_marked_by_time(tmp_path: Path) -> None:
    reader = reader_of("a", Scripted(lambda n: readings(0, 60_000) if n == 1 else readings(0, 0)).open, RATE, True)
    recorder, buffer = recorder_of(tmp_path, reader)
    with running(reader):
        wait_for(lambda: reader.samples, "readings")
    recorder.record()
    marks = np.concatenate([chunk.samples.holdout for chunk in buffer.after(0, 100)])
    assert 0.25 < marks.mean() < 0.35
    assert (np.diff(marks) != 0).sum() > 10


def test_a_recorder_that_meets_a_defect_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of("a", Scripted(one_each).open, RATE, polled=True)
    recorder, buffer = recorder_of(tmp_path, reader)
    commit, times = buffer.commit, []

    def flawed() -> None:
        times.append(1)
        if len(times) == 1:
            raise ZeroDivisionError("a defect")
        commit()

    monkeypatch.setattr(buffer, "commit", flawed)
    recorder.start()
    wait_for(lambda: on_disk(tmp_path), "a commit after the defect")
    recorder.stop()
    assert recorder.failures == 1


def test_the_end_waits_for_what_is_being_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of("a", Scripted(one_each).open, RATE, polled=True)
    recorder, buffer = recorder_of(tmp_path, reader, period=0.01)
    append, holding = buffer.append, threading.Event()

    def slowly(*given: Any) -> None:
        if not holding.is_set():
            holding.set()
            # the recorder's thread is held up with the first readings in its hands until it shall end
            wait_for(lambda: reader.status()["state"] == "stopped", "the end to begin")
        append(*given)

    monkeypatch.setattr(buffer, "append", slowly)
    recorder.start()
    wait_for(holding.is_set, "the first readings")
    wait_for(lambda: reader.samples > 5, "more of them")
    recorder.stop()
    values = np.concatenate([samples.values[:, 0] for samples in on_disk(tmp_path)])
    assert values.tolist() == list(range(1, 1 + reader.samples))


def test_a_position_is_on_the_disk_with_its_readings(tmp_path: Path) -> None:
    source = Scripted(one_each)
    source.position = "here"
    reader = reader_of("a", source.open, RATE, polled=True)
    recorder, _ = recorder_of(tmp_path, reader)
    with running(reader):
        wait_for(lambda: reader.samples, "readings")
    recorder.record()
    assert SampleBuffer(tmp_path / "samples.db", 1, 10**6, 10**8).position("a") == "here"
