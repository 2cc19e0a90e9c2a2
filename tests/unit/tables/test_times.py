"""Times in recordings: found by what people call them, in any unit and form; gaps are never lost without a word."""

import importlib
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learnae.errors import ConfigurationError, DataError
from learnae.samples.columns import Columns
from learnae.samples.recordings import Recording, read_recording, recording_of_table
from learnae.tables.labels import Classes
from learnae.tables.opening import open_table
from learnae.tables.time_units import SECONDS
from learnae.tables.times import iso_seconds

BEGIN = 1_700_000_000
GAP = 100.0  # seconds, after the fifth sample
COUNT = 12


def seconds(rate: float) -> list[float]:
    return [BEGIN + index / rate + GAP * (index > 4) for index in range(COUNT)]


def iso(moment: float, zone: timezone | None = UTC) -> str:
    """A time as a logger writes it, in whole microseconds."""
    whole = datetime.fromtimestamp(0, zone or UTC) + timedelta(microseconds=round(moment * 1e6))
    return (whole if zone else whole.replace(tzinfo=None)).isoformat()


def csv(path: Path, name: str, times: list[Any], **others: list[Any]) -> Path:
    columns = {name: times, **others, "x": list(range(COUNT))}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, rate: float = 10.0, **options: Any) -> Recording:
    return read_recording(path, ("x",), rate, Columns(**options))


@pytest.mark.parametrize(
    ("times", "is_dated"),
    [
        ([iso(moment) for moment in seconds(10)], True),
        ([iso(moment - 1_500_000_000) for moment in seconds(10)], True),  # of 1976
        (seconds(10), True),
        ([moment - BEGIN for moment in seconds(10)], False),
        (np.array(seconds(10)) * 1e9, True),
        (np.array([moment - BEGIN for moment in seconds(10)]) * 1e9, False),
    ],
)
def test_a_recording_knows_whether_its_times_are_dates(tmp_path: Path, times: Any, is_dated: bool) -> None:
    if not isinstance(times, np.ndarray):
        assert read(csv(tmp_path / "a.csv", "time", times)).is_dated == is_dated
        return
    kind = "M8[ns]" if is_dated else "m8[ns]"
    np.savez(tmp_path / "a.npz", signal=np.zeros((COUNT, 1)), time=times.round().astype(np.int64).astype(kind))
    assert read(tmp_path / "a.npz").is_dated == is_dated


def test_a_recording_without_times_has_no_dates(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", signal=np.zeros((COUNT, 1)))
    assert not read(tmp_path / "a.npz").is_dated


def assert_gap_is_kept(recording: Recording, rate: float) -> None:
    steps = np.diff(recording.time)
    assert np.flatnonzero(steps > 1.5 / rate).tolist() == [4]
    np.testing.assert_allclose(steps[4], GAP + 1 / rate, rtol=1e-3)


NAMES = ["time", "timestamp", "Time", "t", "date", "datetime", "ts", "epoch", "Time (s)", "eventTime", "recorded_at",
         "TIMESTAMP", "unix_time", "utc", "Datum"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_dated", [False, True])
def test_a_column_is_found_by_its_name_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, is_dated: bool
) -> None:
    times = [iso(moment) if is_dated else moment for moment in seconds(10)]
    with caplog.at_level(logging.INFO):
        assert_gap_is_kept(read(csv(tmp_path / "data.csv", name, times)), 10)
    assert f"in {name!r}" in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    unit=st.sampled_from(["s", "ms", "us", "ns", "iso", "zone", "naive", "Z"]),
    rate=st.sampled_from([0.01, 1.0, 8.0, 50.0, 1000.0]),
    is_whole=st.booleans(),
)
def test_every_unit_is_told_by_the_rate(tmp_path: Path, unit: str, rate: float, is_whole: bool) -> None:
    forms = {
        "iso": lambda moment: iso(moment).replace("T", " "),
        "zone": lambda moment: iso(moment, timezone(timedelta(hours=-7))),
        "naive": lambda moment: iso(moment, None),
        "Z": lambda moment: iso(moment).replace("+00:00", "Z"),
    }

    def number(moment: float) -> Any:
        value = (moment - BEGIN) / SECONDS[unit]
        return round(value) if is_whole and 1 / rate / SECONDS[unit] >= 1 else value

    times = [forms[unit](moment) if unit in forms else number(moment) for moment in seconds(rate)]
    assert_gap_is_kept(read(csv(tmp_path / "data.csv", "timestamp", times), rate), rate)


@given(st.datetimes(datetime(1971, 1, 2), datetime(2200, 1, 1)), st.integers(0, 999_999_999), st.integers(-14, 14))
def test_dates_are_read_to_the_last_digit(moment: datetime, nanoseconds: int, hours: int) -> None:
    whole = moment.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours)))
    text = whole.isoformat()
    got = iso_seconds(f"{text[:19]}.{nanoseconds:09}{text[19:]}")[0]
    assert abs(got - (whole.timestamp() + nanoseconds / 1e9)) < 1e-6
    assert iso_seconds(text)[0] == whole.timestamp()


@pytest.mark.parametrize("unit", ["s", "ms", "iso"])
def test_times_have_the_decimal_comma_of_their_file(tmp_path: Path, unit: str) -> None:
    numbers = [(moment - BEGIN) / SECONDS.get(unit, 1.0) + 0.25 for moment in seconds(10)]
    times = [iso(moment) for moment in seconds(10)] if unit == "iso" else numbers
    rows = [f"{time};{index}.5;{index % 2}.0".replace(".", ",") for index, time in enumerate(times)]
    (tmp_path / "data.csv").write_text("\n".join(["Zeit;x;label", *rows, ""]))
    for block in (20, 1 << 18):
        table = open_table(tmp_path / "data.csv", block)
        recording = recording_of_table(table, ("x",), 10, Columns(), Classes((), 2))
        assert_gap_is_kept(recording, 10)
        assert recording.values[:, 0].tolist() == [index + 0.5 for index in range(COUNT)]
        assert recording.label.tolist() == [0, 1] * 6


@pytest.mark.parametrize("name", ["index", "sample", "Frame"])
def test_a_column_that_counts_samples_keeps_gaps(tmp_path: Path, name: str) -> None:
    counts = [index + (index > 4) * 1000 for index in range(COUNT)]
    assert_gap_is_kept(read(csv(tmp_path / "data.csv", name, counts)), 10)


def test_the_user_says_which_column_and_unit(tmp_path: Path) -> None:
    path = csv(tmp_path / "data.csv", "when", [moment * 1e6 for moment in seconds(10)], time=["?"] * COUNT)
    assert_gap_is_kept(read(path, time="when", unit="us"), 10)
    assert np.diff(read(path, time=False).time).max() < 0.11
    with pytest.raises(DataError, match=r"has no column 'wann'; it has when, time, x"):
        read(path, time="wann")
    with pytest.raises(
        ConfigurationError, match="time_unit is 'minutes'; use one of s, ms, us, ns, min, h, d, samples"
    ):
        read(path, unit="minutes")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"time": seconds(10), "date": seconds(10)}, "several columns that look like times: time, date"),
        ({"stamp": seconds(10)}, "stamp looks like times, by its first values"),
        ({"stamp": [1e3 * (moment - BEGIN) for moment in seconds(10)]}, "stamp looks like times"),
        (
            {"a": [iso(moment) for moment in seconds(10)], "b": [iso(moment) for moment in seconds(10)]},
            "several .*: a, b",
        ),
    ],
)
def test_what_looks_like_time_and_is_not_used_is_refused(tmp_path: Path, columns: Any, words: str) -> None:
    name, *others = columns
    path = csv(
        tmp_path / "data.csv", name, columns[name][:5] + columns[name][5:], **{one: columns[one] for one in others}
    )
    with pytest.raises(DataError, match=rf"{words}.*set time = \"COLUMN\", or time = false"):
        read(path)
    assert len(read(path, time=False).time) == COUNT


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        (4, "", "line 4, column 'time': '' is no time; give seconds, or ms"),
        (7, "now", "line 7, column 'time': 'now' is no time"),
        (5, "nan", "line 5, column 'time': 'nan' is no time"),
        (6, "14.11.2023 22:13", "line 6, column 'time': '14.11.2023 22:13' is no time"),
        (6, "12:00:01", "line 6, column 'time': '12:00:01' is no time"),
        (6, "2023-11-14T22:13:20Z", "several forms: '1700000000.0' is a number, '2023-11-14T22:13:20Z' is a date"),
        (4, "1", "line 4, column 'time': times do not ascend: 1.0 after 1700000000.1"),
    ],
)
def test_the_line_of_a_time_that_is_none_is_named(tmp_path: Path, line: int, field: str, words: str) -> None:
    times: list[Any] = seconds(10)
    times[line - 2] = field
    with pytest.raises(DataError) as caught:
        read(csv(tmp_path / "data.csv", "time", times))
    assert words in str(caught.value)


def test_a_unit_that_fits_the_rate_and_not_the_century_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path / "data.csv", "time", [BEGIN + index for index in range(COUNT)])
    with pytest.raises(DataError, match=r'is of this century in s, .* swarm\'s in ms; set time_unit = "s" or "ms"'):
        read(path, 1000.0)
    assert np.diff(read(path, 1000.0, unit="ms").time).max() < 0.0011
    with pytest.raises(DataError, match=r"samples are 0\.001 s apart; the swarm's are 0\.1 s apart"):
        read(csv(tmp_path / "data.csv", "time", [BEGIN * 1000 + index for index in range(COUNT)]), 10.0)


def test_times_with_and_without_zone_are_not_mixed(tmp_path: Path) -> None:
    times = [iso(moment, UTC if index % 2 else None) for index, moment in enumerate(seconds(10))]
    with pytest.raises(DataError, match=r"is a date without a zone, .* is a date with a zone; write all in one form"):
        read(csv(tmp_path / "data.csv", "time", times))


@pytest.mark.parametrize("name", ["time", "t", "timestamps"])
@pytest.mark.parametrize("kind", ["f8", "M8[ms]", "M8[ns]", "column", "text"])
def test_arrays_of_times_are_found_too(tmp_path: Path, name: str, kind: str) -> None:
    times: Any = np.array(seconds(10))
    if kind.startswith("M8"):
        times = (times * 1e3).round().astype("M8[ms]").astype(kind)
    elif kind == "column":
        times = times[:, None]
    elif kind == "text":
        times = np.array([iso(moment) for moment in seconds(10)])
    np.savez(tmp_path / "data.npz", signal=np.zeros((COUNT, 1)), **{name: times})
    assert_gap_is_kept(read(tmp_path / "data.npz"), 10)


def test_a_bare_array_is_a_signal_without_times(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.arange(COUNT)[:, None])
    assert read(tmp_path / "data.npy").values[:, 0].tolist() == list(range(COUNT))
    np.save(tmp_path / "data.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="without pickled objects"):
        read(tmp_path / "data.npy")


@pytest.mark.modules("pyarrow")
@pytest.mark.parametrize("name", ["time", "__index_level_0__", "taken"])
@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns", "zone", "text", "date"])
def test_timestamps_of_arrow_are_times(tmp_path: Path, name: str, kind: str) -> None:
    arrow = importlib.import_module("pyarrow")
    rate = 1.0 if kind != "date" else 1 / 86_400
    moments = seconds(rate) if kind != "date" else [86_400.0 * (index + (index > 4)) for index in range(COUNT)]
    types = {"zone": arrow.timestamp("us", "Europe/Athens"), "date": arrow.date32()}
    if kind == "text":
        column = arrow.array([iso(moment) for moment in moments])
    elif kind == "date":
        column = arrow.array([int(moment // 86_400) for moment in moments], arrow.int32()).cast(types[kind])
    else:
        unit = types.get(kind) or arrow.timestamp(kind)
        column = arrow.array([int(moment) for moment in moments], arrow.timestamp("s")).cast(unit)
    if kind == "text" and name == "__index_level_0__":
        name = "index_time"
    table = arrow.table({"x": arrow.array(range(COUNT)), name: column})
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "data.parquet")
    steps = np.diff(read(tmp_path / "data.parquet", rate).time)
    assert np.flatnonzero(steps > 1.5 / rate).tolist() == [4]
