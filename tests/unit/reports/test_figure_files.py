"""Figures over time for other programs: TensorBoard's files read by a reader of the test's own, tables by csv."""

import csv
import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightly import how_many
from programs import clean_environment, succeed

from learnae.adapters.local.figures_file import FIGURES, Figures
from learnae.reports.event_file import FILE_NAME, Event, crc32c, event_file
from learnae.reports.figure_files import run_name, write_csv, write_tensorboard
from learnae.reports.history import PeerHistory
from learnae.tables.opening import open_table

PACKAGES = ("tensorboard==2.20.0",)
READER = """
import json, sys
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
for event in LegacyEventFileLoader(sys.argv[1]).Load():
    print(json.dumps([event.file_version, event.wall_time, event.step,
                      {value.tag: value.simple_value for value in event.summary.value}]))
"""
FLOATS = st.floats(allow_nan=False)
EVENTS = st.lists(
    st.builds(
        Event,
        st.floats(0, 1e10),
        st.integers(0, (1 << 63) - 1),
        st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=200), FLOATS, max_size=4),
    ),
    max_size=4,
)


def as_single(value: float) -> float:
    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single


def varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if data[place - 1] < 0x80:
            return value, place


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a protobuf message: their numbers, and bytes or a whole number."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        if key & 7 == 0:
            value, place = varint(data, place)
            yield key >> 3, value
            continue
        size, place = varint(data, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
        assert place + size <= len(data)
        yield key >> 3, data[place : place + size]
        place += size


def records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file, whose checksums are those that are unmasked as TensorFlow does it."""
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        parts = (data[place : place + 8], 8), (data[place + 12 : place + 12 + length], 12 + length)
        for part, at in parts:
            (stored,) = struct.unpack_from("<I", data, place + at)
            turned = (stored - 0xA282EAD8) & 0xFFFFFFFF
            assert (turned >> 17 | turned << 15) & 0xFFFFFFFF == crc32c(part)
        yield parts[1][0]
        place += 16 + length
    assert place == len(data)


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_checksum_is_that_of_the_standard(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc, "RFC 3720, B.4"


@given(EVENTS)
def test_an_event_file_holds_what_went_in(events: list[Event]) -> None:
    first, *rest = records(event_file(events))
    assert dict(fields(first))[3] == b"brain.Event:2"
    assert len(rest) == len(events)
    for record, event in zip(rest, events, strict=True):
        found = dict(fields(record))
        assert struct.unpack("<d", bytes(found[1])) == (event.time,)  # type: ignore[arg-type]
        assert found[2] == event.step
        scalars = {}
        summary = found[5]
        assert isinstance(summary, bytes)
        for number, value in fields(summary):
            assert number == 1
            assert isinstance(value, bytes)
            parts = dict(fields(value))
            tag, single = parts[1], parts[2]
            assert isinstance(tag, bytes)
            assert isinstance(single, bytes)
            (scalars[tag.decode()],) = struct.unpack("<f", single)
        assert scalars == {name: as_single(value) for name, value in event.scalars.items()}


NAMES = ["pump", "=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", "＝1", 'a,"b"', "../../x", "ann\u202e"]
POINTS = [
    Figures(1_700_000_000_123, {"steps": 26, "loss": 0.1, "r2": -1.5}),
    Figures(1_700_000_010_000, {"steps": 1e99}),
]


@pytest.fixture
def histories() -> list[PeerHistory]:
    return [PeerHistory("abcdefgh" + "2" * 44, name, "", POINTS) for name in NAMES]


def test_a_table_is_read_back_and_no_spreadsheet_computes_it(tmp_path: Path, histories: list[PeerHistory]) -> None:
    path = tmp_path / "figures.csv"
    assert write_csv(path, histories) == 2 * len(NAMES)
    header, *rows = csv.reader(path.open(encoding="utf-8"))
    assert header == ["time", "peer", "key", *FIGURES]
    assert len(rows) == 2 * len(NAMES)
    first = dict(zip(header, rows[0], strict=True))
    assert (first["time"], first["steps"], first["loss"], first["r2"]) == (
        "2023-11-14T22:13:20.123Z",
        "26",
        "0.1",
        "-1.5",
    )
    assert first["accuracy"] == ""
    for row in rows:
        assert row[1][0] not in "=+-@＝\t\r\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(open_table(path).names) == {"time", "peer", "key", *FIGURES}


def test_runs_stay_in_their_directory_and_are_replaced(tmp_path: Path, histories: list[PeerHistory]) -> None:
    place = tmp_path / "a" / "board"
    for _ in range(2):
        write_tensorboard(place, histories)
    files = [path.relative_to(place) for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {FILE_NAME}
    assert {str(path.parent) for path in files} == {run_name(each) for each in histories}
    assert all(name.isascii() and not name.startswith(".") for name in map(run_name, histories))
    assert len(list(records((place / files[0]).read_bytes()))) == 3


@pytest.mark.skipif(how_many(1, 0) > 0, reason="installs TensorBoard: make nightly")
def test_tensorboard_reads_the_same(tmp_path: Path, histories: list[PeerHistory]) -> None:
    place = Path(__file__).parents[3] / "build" / PACKAGES[0].replace("==", "-")
    if not (place / "tensorboard").is_dir():
        succeed(sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "setuptools<81", *PACKAGES)
    write_tensorboard(tmp_path, histories[:1])
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path / run_name(histories[0]) / FILE_NAME)],
        env=clean_environment(PYTHONPATH=str(place)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    first, *rest = map(json.loads, done.stdout.splitlines())
    assert first[0] == "brain.Event:2", done.stderr
    assert [(time, step) for _, time, step, _ in rest] == [(1_700_000_000.123, 26), (1_700_000_010.0, (1 << 63) - 1)]
    assert rest[0][3] == {"loss": as_single(0.1), "r2": -1.5}
