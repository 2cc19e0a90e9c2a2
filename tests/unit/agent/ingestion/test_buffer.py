"""The sample buffer: bounded, in order of arrival, through crashes, damage and full disks; private."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from builders import damaged

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.chunks import MAX_READINGS, Seal, pack, unpack
from learnae.errors import ConfigurationError, StateError
from learnae.ports import Samples

KEY = bytes(range(32))


def samples(start: int, count: int = 10, channels: int = 2) -> Samples:
    number = np.arange(start, start + count)
    values = np.repeat(number[:, None], channels, 1).astype(np.float32)
    return Samples(1.7e9 + number / 50, values, number % 3 - 1, number % 2 == 0)


def opened(path: Path, readings: int = 10**6, size: int = 10**8, seal: Seal | None = None) -> SampleBuffer:
    return SampleBuffer(path / "samples.db", 2, readings, size, seal)


def numbers(buffer: SampleBuffer, after: int = 0) -> list[int]:
    return [int(value) for chunk in buffer.after(after, 10**6) for value in chunk.samples.values[:, 0]]


def fill(buffer: SampleBuffer, count: int, start: int = 0) -> None:
    """``count`` chunks of ten readings, one commit each."""
    for index in range(start, start + count):
        buffer.append("a", samples(10 * index))
        buffer.commit()


def test_what_was_put_in_comes_out_whole_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append("pump", samples(0))
    first.append("fan", samples(10))
    first.commit()
    del first  # as after kill -9: never closed
    chunks = opened(tmp_path).after(0, 10)
    assert [(chunk.id, chunk.source) for chunk in chunks] == [(1, "pump"), (2, "fan")]
    for chunk, expected in zip(chunks, (samples(0), samples(10)), strict=True):
        for name in Samples.__slots__:
            found, wanted = getattr(chunk.samples, name), getattr(expected, name)
            assert found.dtype == wanted.dtype
            assert (found == wanted).all()


def test_readings_are_seen_before_they_are_on_the_disk_and_lost_without_a_commit(tmp_path: Path) -> None:
    buffer = opened(tmp_path)
    buffer.append("a", samples(0))
    assert numbers(buffer) == list(range(10))
    assert numbers(opened(tmp_path)) == []


def test_a_position_is_committed_with_its_readings_or_not_at_all(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append("pump", samples(0), "1")
    first.append("fan", samples(0))
    first.commit()
    first.append("pump", samples(10), "2")
    assert (first.position("pump"), first.position("fan")) == ("2", "")
    assert opened(tmp_path).position("pump") == "1", "as after kill -9"
    first._database.execute("CREATE TRIGGER full BEFORE INSERT ON position BEGIN SELECT raise(ABORT, 'full'); END")
    first.commit()
    assert numbers(opened(tmp_path)) == [*range(10), *range(10)], "no readings without their position"
    first._database.execute("DROP TRIGGER full")
    first.close()
    assert opened(tmp_path).position("pump") == "2"
    assert len(numbers(opened(tmp_path))) == 30


def test_a_position_that_had_to_wait_for_the_disk_is_newer_than_what_is_there(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append("pump", samples(0), "1")
    first.close()
    (tmp_path / "samples.db").rename(tmp_path / "away")
    (tmp_path / "samples.db").mkdir()
    second = opened(tmp_path)
    second.append("pump", samples(10), "2")
    (tmp_path / "samples.db").rmdir()
    (tmp_path / "away").rename(tmp_path / "samples.db")
    second.commit()
    assert opened(tmp_path).position("pump") == second.position("pump") == "2"


def test_ids_go_on_after_a_restart_and_tell_old_readings_from_new(tmp_path: Path) -> None:
    first = opened(tmp_path)
    fill(first, 2)
    first.close()
    second = opened(tmp_path)
    fill(second, 1, start=2)
    assert second.newest == 2
    assert numbers(second, after=second.newest) == list(range(20, 30))


def test_the_oldest_go_beyond_the_bound_of_readings_and_are_counted_over_restarts(tmp_path: Path) -> None:
    buffer = opened(tmp_path, readings=35)
    fill(buffer, 5)
    assert numbers(buffer) == list(range(20, 50))
    buffer.close()
    again = opened(tmp_path, readings=35)
    status = again.status()
    assert (status["readings"], status["dropped"]) == (30, 20)
    fill(again, 1, start=5)
    assert again.status()["dropped"] == 30


def test_the_oldest_go_beyond_the_bound_of_bytes(tmp_path: Path) -> None:
    size = 200_000
    buffer = opened(tmp_path, size=size)
    for index in range(60):
        buffer.append("a", samples(1000 * index, 1000))
        buffer.commit()
    kept = numbers(buffer)
    assert buffer.status()["bytes"] <= size
    assert len(kept) > size / 40  # most of the room is used
    assert kept == list(range(60_000 - len(kept), 60_000))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * size + (2 << 20)  # and the write-ahead log


def test_order_is_that_of_arrival_whatever_the_clock_does(tmp_path: Path) -> None:
    buffer = opened(tmp_path, readings=30)
    year_ago = samples(10)
    buffer.append("a", samples(0))
    buffer.append("a", Samples(year_ago.time - 366 * 86_400, year_ago.values, year_ago.label, year_ago.holdout))
    buffer.append("a", samples(20))
    buffer.append("a", samples(30))
    buffer.commit()
    assert numbers(buffer) == list(range(10, 40)), "the first to come is the first to go, not the one dated earliest"


def test_large_parts_are_cut_into_chunks(tmp_path: Path) -> None:
    buffer = opened(tmp_path)
    buffer.append("a", samples(0, 2 * MAX_READINGS + 1))
    buffer.commit()
    assert [len(chunk.samples.time) for chunk in buffer.after(0, 9)] == [MAX_READINGS, MAX_READINGS, 1]


def test_others_may_not_read_the_files(tmp_path: Path) -> None:
    buffer = opened(tmp_path)
    fill(buffer, 1)
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    buffer = opened(tmp_path)
    assert buffer._database is not None
    assert buffer._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert buffer._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# -- sealed


def test_a_sealed_buffer_has_no_reading_in_any_byte_on_the_disk(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    planted = [row.tobytes() for row in values]
    shown = {}
    for seal in (None, Seal(KEY)):
        place = tmp_path / str(bool(seal))
        place.mkdir()
        buffer = opened(place, seal=seal)
        buffer.append("a", Samples(np.arange(50.0), values, np.zeros(50, np.int64), np.zeros(50, np.bool_)))
        buffer.commit()
        data = b"".join(file.read_bytes() for file in place.iterdir())
        shown[bool(seal)] = sum(reading in data for reading in planted)
        buffer.close()
        assert (opened(place, seal=seal).after(0, 1)[0].samples.values == values).all()
    assert shown == {False: 50, True: 0}


@pytest.mark.parametrize(("before", "after"), [(KEY, KEY[::-1]), (KEY, None), (None, KEY)])
def test_a_key_that_does_not_fit_is_refused_and_loses_nothing(
    tmp_path: Path, before: bytes | None, after: bytes | None
) -> None:
    first = opened(tmp_path, seal=Seal(before) if before else None)
    fill(first, 1)
    first.close()
    with pytest.raises(ConfigurationError, match="encrypted"):
        opened(tmp_path, seal=Seal(after) if after else None)
    assert numbers(opened(tmp_path, seal=Seal(before) if before else None)) == list(range(10))


def test_a_chunk_is_bound_to_its_source() -> None:
    seal = Seal(KEY)
    with pytest.raises(StateError):
        seal.open(seal.close(b"readings", "pump"), "fan")


@pytest.mark.parametrize("length", [0, 31, 5000])
def test_a_secret_of_the_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ConfigurationError, match="urandom"):
        Seal(bytes(length))


# -- damage


@pytest.mark.parametrize("seal", [None, Seal(KEY)])
def test_every_damage_of_a_chunk_is_noticed(seal: Seal | None) -> None:
    data = pack(samples(0, 2))
    if seal:
        data = seal.close(data, "a")
    for case in damaged(data):
        with pytest.raises(StateError):
            unpack(seal.open(case, "a") if seal else case, 2)


def test_a_damaged_chunk_is_counted_and_passed_over(tmp_path: Path) -> None:
    buffer = opened(tmp_path)
    fill(buffer, 3)
    buffer.close()
    database = sqlite3.connect(tmp_path / "samples.db")
    database.execute("UPDATE chunk SET data = zeroblob(100) WHERE id = 2")
    database.commit()
    database.close()
    again = opened(tmp_path)
    assert numbers(again) == [*range(10), *range(20, 30)]
    assert again.status()["damaged"] == 1


@pytest.mark.parametrize("start", [0, 100])
def test_a_damaged_database_is_moved_aside_and_sampling_goes_on(
    tmp_path: Path, start: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "samples.db"
    buffer = opened(tmp_path)
    fill(buffer, 100)
    buffer.close()
    data = path.read_bytes()
    path.write_bytes(data[:start] + os.urandom(len(data) - start))
    again = opened(tmp_path)
    fill(again, 2)
    fill(again, 1, start=2)
    assert numbers(again)[-10:] == list(range(20, 30))
    assert again.status()["damaged"] >= 1
    assert (tmp_path / "samples.db.damaged").exists()
    assert "moved to" in caplog.text
    again.close()
    assert numbers(opened(tmp_path))[-10:] == list(range(20, 30))


# -- a disk that takes nothing


def test_a_full_disk_is_said_once_and_readings_wait_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    buffer = SampleBuffer(tmp_path / "samples.db", 2, 10**6, 10**8, pending=50)
    fill(buffer, 1)
    assert buffer._database is not None
    pages = buffer._database.execute("PRAGMA page_count").fetchone()[0]
    buffer._database.execute(f"PRAGMA max_page_count={pages}")  # SQLite's own way to be full
    filled = 0
    while not buffer.status()["failures"]:
        filled += 1
        fill(buffer, 1, start=filled)
    fill(buffer, 9, start=filled + 1)
    status = buffer.status()
    assert (status["waiting"], status["lost"]) == (50, 50)
    assert "full" in str(status["trouble"])
    assert caplog.text.count("takes no samples") == 1
    assert numbers(buffer)[-10:] == list(range(10 * filled + 90, 10 * filled + 100)), "training goes on with them"
    buffer._database.execute("PRAGMA max_page_count=1000000")
    fill(buffer, 1, start=filled + 10)
    assert (buffer.status()["waiting"], buffer.status()["trouble"]) == (0, "")
    buffer.close()
    kept = numbers(opened(tmp_path))
    assert kept == [*range(10 * filled), *range(10 * filled + 50, 10 * filled + 110)]


def test_a_place_that_cannot_be_written_at_first_is_used_as_soon_as_it_can(tmp_path: Path) -> None:
    fill(opened(tmp_path), 2)
    os.rename(tmp_path / "samples.db", tmp_path / "there")
    (tmp_path / "samples.db").mkdir()
    buffer = opened(tmp_path)
    fill(buffer, 1, start=5)
    assert buffer.status()["waiting"] == 10
    (tmp_path / "samples.db").rmdir()
    os.rename(tmp_path / "there", tmp_path / "samples.db")
    fill(buffer, 1, start=6)
    assert numbers(buffer) == [*range(20), *range(50, 70)]


def test_two_threads_use_it_at_once(tmp_path: Path) -> None:
    buffer, position, found = opened(tmp_path), 0, []
    writer = threading.Thread(target=fill, args=(buffer, 100))
    writer.start()
    while writer.is_alive() or len(found) < 1000:
        for chunk in buffer.after(position, 7):
            position = chunk.id
            found += chunk.samples.values[:, 0].astype(int).tolist()
    writer.join()
    assert found == list(range(1000))
