"""Recordings: what a file may hold, and that nothing else gets in or blows up."""

import io
import random
import zipfile
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.samples import recordings
from learnae.samples.recordings import Recording, read_recording, shipped_recording
from learnae.swarm.presets import demo_data
from learnae.tables.labels import Classes

CHANNELS = ("a", "b")
RATE = 10.0
SIGNAL = np.arange(6.0).reshape(3, 2)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def read(path: Path) -> Recording:
    return read_recording(path, CHANNELS, RATE, labels=Classes(("still", "moving"), 2))


def read_csv(path: Path, text: str) -> Recording:
    path.write_text(text)
    return read(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "recording.npz"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "recording.csv"


# -- what is read


def test_a_table_may_name_classes(table: Path) -> None:
    assert read_csv(table, "a,b,label\n1,2, moving\n3,4,still\n5,6,1\n7,8,else\n").label.tolist() == [1, 0, 1, -1]


def test_an_archive_is_read_whole(archive: Path) -> None:
    got = read(npz(archive, signal=SIGNAL, label=np.array([0, 1, -1]), time=np.array([5, 6, 7.5])))
    assert got.values.dtype == np.float32
    assert got.values.tolist() == SIGNAL.tolist()
    assert got.label.tolist() == [0, 1, -1]
    assert got.time.tolist() == [5, 6, 7.5]


def test_without_times_and_labels_samples_are_evenly_spaced_and_unknown(archive: Path) -> None:
    got = read(npz(archive, signal=SIGNAL))
    assert got.time.tolist() == [0.0, 0.1, 0.2]
    assert got.label.tolist() == [-1, -1, -1]


def test_a_table_is_read_by_the_names_of_its_columns(table: Path) -> None:
    got = read_csv(table, "label, b ,time,other,a\n1,20,0.5,?,10\n,21,1.5,?,11\n")
    assert got.values.tolist() == [[10, 20], [11, 21]]
    assert got.time.tolist() == [0.5, 1.5]
    assert got.label.tolist() == [1, -1]  # an empty field: unknown


def test_a_field_that_is_no_number_is_no_reading(table: Path) -> None:
    assert np.isnan(read_csv(table, "a,b\n1,off\n").values).tolist() == [[False, True]]


def test_a_table_of_no_rows_is_a_recording_of_no_samples(table: Path) -> None:
    assert len(read_csv(table, "a,b\n").time) == 0


def test_held_out_are_the_last_samples_of_each_label(archive: Path) -> None:
    label = np.array([0, 0, 0, 0, 1, 1, 0, 1, 1, 1])
    samples = read(npz(archive, signal=np.zeros((10, 2)), label=label)).split_by_time(0.4)
    assert np.flatnonzero(samples.holdout).tolist() == [3, 6, 8, 9]
    assert not read(archive).split_by_time(0.0).holdout.any()


# -- what is refused, and how


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": SIGNAL}, ["has no array 'signal'", "it has x"]),
        ({"signal": SIGNAL[:, :1]}, ["signal is float64 (3, 1)", "(n, 2)"]),
        ({"signal": SIGNAL[:, 0]}, ["signal is float64 (3,)"]),
        ({"signal": SIGNAL.astype("U8")}, ["signal is <U8"]),
        ({"signal": SIGNAL.astype(complex)}, ["signal is complex128"]),
        ({"signal": SIGNAL > 1}, ["signal is bool"]),
        ({"signal": SIGNAL, "label": np.zeros(3, complex)}, ["column 'label' is of type complex128"]),
        ({"signal": SIGNAL, "label": np.zeros(2)}, ["label is float64 (2,)", "(3,)"]),
        ({"signal": SIGNAL, "time": np.zeros((3, 2))}, ["time is float64 (3, 2)"]),
        ({"signal": SIGNAL, "time": np.zeros((3, 1))}, ["row 2, column 'time': times do not ascend: 0.0 after 0.0"]),
        ({"signal": SIGNAL, "time": np.array([0, 2, 1])}, ["times do not ascend"]),
        ({"signal": SIGNAL, "time": np.array([0, 1, 1])}, ["times do not ascend"]),
        ({"signal": SIGNAL, "time": np.array([0, 1, np.nan])}, ["row 3, column 'time': 'nan' is no time"]),
        ({"signal": SIGNAL, "time": np.array([0, 1, np.inf])}, ["row 3, column 'time': 'inf' is no time"]),
    ],
)
def test_arrays_that_are_no_recording_are_named(archive: Path, arrays: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read(npz(archive, **arrays))
    for word in [str(archive), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no usable header"]),
        ("\n", ["no usable header"]),
        ("1,2\n3,4\n", ["no usable header"]),
        ("a,a\n1,2\n", ["no usable header"]),
        ("a,c\n1,2\n", ["has no column b", "the swarm needs a, b"]),
        ("c\n1\n", ["has no column a, b"]),
        ("a,b\n1,2\n3\n", ["line 3: 1 fields", "the header has 2"]),
        ("a,b\n1,2,3\n", ["line 2: 3 fields"]),
        ("a,b,time\n1,2,now\n", ["line 2, column 'time': 'now' is no time"]),
        ('a,b\n"' + "1" * 200_000 + '",2\n', ["cannot read", "field larger"]),
    ],
)
def test_tables_that_are_no_recording_are_named(table: Path, text: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(table, text)
    for word in [str(table), *words]:
        assert word in str(caught.value)


def test_pickled_objects_are_never_loaded(archive: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return archive.with_suffix(".sprung").touch, ()

    np.savez(archive, signal=np.array([[Trap(), 1]], dtype=object))
    with pytest.raises(DataError, match="cannot read"):
        read(archive)
    archive.write_bytes(b"\x80\x04\x95.")  # a bare pickle
    with pytest.raises(DataError, match="cannot read"):
        read(archive)
    assert not archive.with_suffix(".sprung").exists()


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize("what", ["absent", "directory", "binary"])
def test_unreadable_files_are_named(tmp_path: Path, suffix: str, what: str) -> None:
    path = tmp_path / f"data{suffix}"
    if what == "directory":
        path.mkdir()
    elif what == "binary":
        path.write_bytes(b"a\xfe\x00\x01")
    with pytest.raises(DataError, match=rf"cannot read {path}"):
        read(path)


def test_a_file_too_large_is_not_read(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npz(archive, signal=SIGNAL)
    size = SIGNAL.nbytes  # not the file's: it may be packed
    monkeypatch.setattr(recordings, "MAX_SIGNAL_BYTES", size)
    read(archive)
    monkeypatch.setattr(recordings, "MAX_SIGNAL_BYTES", size - 1)
    with pytest.raises(DataError, match=f"has {size} bytes"):
        read(archive)


def test_the_shipped_people_are_told_apart_and_their_recordings_kept_apart() -> None:
    with resources.as_file(demo_data()) as path:
        people = [shipped_recording(path, person) for person in (1, 2)]
        with pytest.raises(DataError, match="has no person 9"):
            shipped_recording(path, 9)
    assert people[0].values.shape != people[1].values.shape
    steps = np.diff(people[0].time)
    assert sorted({round(step, 6) for step in steps.tolist()}) == [0.02, 10.02]
    assert (np.diff(people[0].label)[steps < 1] == 0).all()  # a label changes only between recordings


# -- damaged and hostile files


def member(data: bytes) -> bytes:
    """An archive with one member ``signal``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("signal.npy", data)
    return buffer.getvalue()


def array_bytes(array: np.ndarray[Any, Any] = SIGNAL) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def compressed() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, signal=np.random.default_rng(0).normal(size=(40, 2)))
    return buffer.getvalue()


def patched(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    """``data`` with ``value`` written ``offset`` bytes after each ``marker``."""
    changed = bytearray(data)
    position = data.find(marker)
    while position >= 0:
        changed[position + offset : position + offset + len(value)] = value
        position = data.find(marker, position + 1)
    return bytes(changed)


def promising(rows: int) -> bytes:
    """An array whose header says that it has ``rows`` rows."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (rows, 2)})
    return buffer.getvalue()


DAMAGED = {
    "an array without an archive": array_bytes(),
    "a member that is no array": member(b"hello"),
    "broken compression": patched(compressed(), b"signal.npy", 30, b"\xff" * 8),
    "unknown compression": patched(patched(compressed(), b"PK\x03\x04", 8, b"\x63"), b"PK\x01\x02", 10, b"\x63"),
    "an encrypted member": patched(patched(compressed(), b"PK\x03\x04", 6, b"\x01"), b"PK\x01\x02", 8, b"\x01"),
    "more rows than any memory holds": member(promising(1 << 50)),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_named(archive: Path, data: bytes) -> None:
    archive.write_bytes(data)
    with pytest.raises(DataError, match=str(archive)):
        read(archive)


@pytest.mark.parametrize("data", [promising(10**30), promising(3).replace(b"2)", b"2 ")], ids=["size", "unfinished"])
def test_an_array_whose_header_makes_no_sense_is_named(archive: Path, data: bytes) -> None:
    archive.write_bytes(member(data))
    with pytest.raises(DataError, match=str(archive)):
        read(archive)


@pytest.mark.parametrize("length", range(0, 1200, 37))
def test_a_truncated_archive_is_named(archive: Path, length: int) -> None:
    whole = compressed()
    archive.write_bytes(whole[: min(length, len(whole) - 1)])
    with pytest.raises(DataError, match=str(archive)):
        read(archive)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"PK\x03\x04" + tail))
def test_random_bytes_are_no_archive(archive: Path, data: bytes) -> None:
    archive.write_bytes(data)
    with pytest.raises(DataError):
        read(archive)


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bytes_give_a_recording_or_a_data_error(archive: Path, seed: int) -> None:
    whole, rng = compressed(), random.Random(seed)
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        archive.write_bytes(changed)
        with suppress(DataError):
            assert isinstance(read(archive), Recording)


FIELDS = st.sampled_from(["a", "b", "time", "label", "1", "-1", "1e999", "nan", "x", "", '"', ",", "\n", "\r", "\0"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.binary(max_size=200)
    | st.lists(FIELDS, max_size=30).map(lambda parts: ",".join(parts).encode())
    | st.lists(st.lists(FIELDS, min_size=3, max_size=3), max_size=4).map(
        lambda rows: "\n".join(["a,b,label", *map(",".join, rows)]).encode()
    )
)
def test_any_bytes_are_a_table_or_a_data_error(table: Path, data: bytes) -> None:
    table.write_bytes(data)
    try:
        got = read(table)
    except DataError:
        return
    assert got.values.shape == (len(got.time), 2)
    assert got.label.dtype == np.int64


def test_unsigned_times_must_ascend_too(archive: Path) -> None:
    with pytest.raises(DataError, match="times do not ascend"):
        read(npz(archive, signal=SIGNAL, time=np.array([5, 3, 1], np.uint32)))


@pytest.mark.parametrize("label", [1.5, -0.5, -7, 1e300])
def test_a_label_that_is_no_class_is_not_taken_for_one(archive: Path, label: float) -> None:
    got = read(npz(archive, signal=SIGNAL, label=np.array([0, label, 1])))
    assert got.label.tolist() == [0, -1, 1]


def test_a_table_from_a_spreadsheet_is_read(table: Path) -> None:
    assert read_csv(table, "\ufeffa,b\n1,2\n").values.tolist() == [[1, 2]]
