"""Tables of other programs and countries: what has one meaning is read, everything else is refused with what helps."""

import gzip
import importlib
import io
import json
import logging
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnae.errors import DataError
from learnae.samples.columns import Columns
from learnae.samples.recordings import Recording, read_recording
from learnae.tables.labels import Classes
from learnae.tables.numbers import Numbers
from learnae.tables.opening import open_table
from learnae.tables.table import Where
from learnae.tables.times import Times, iso_seconds, unit_in

BEGIN = datetime(2023, 11, 14, 22, 13, 20)  # 20231114221320 ascends by one a second, too
COUNT = 12


def csv(path: Path, name: str, times: Sequence[object], separator: str = ",") -> Path:
    rows = [(name, "x"), *zip(times, (0.5, 0.1, 0.9, 0.3, 0.2, 0.8) * 2, strict=False)]
    path.write_text("".join(f"{separator.join(map(str, row))}\n" for row in rows))
    return path


def read(path: Path, rate: float = 1.0, **options: Any) -> Recording:
    return read_recording(path, ("x",), rate, Columns(**options))


def moments(form: str) -> list[str]:
    return [(BEGIN + timedelta(seconds=second)).strftime(form) for second in range(COUNT)]


# -- times


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)), st.integers(1, 9), st.sampled_from(".,"))
def test_only_a_second_has_a_fraction(moment: datetime, digit: int, mark: str) -> None:
    """Of a minute, an hour or a day it would be sixty, or more, times as much."""
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y%m%dT%H%M%S", "%Y-%m-%dt%H:%M:%S"):
        assert iso_seconds(f"{whole:{form}}{mark}{digit}z")[0] == pytest.approx(whole.timestamp() + digit / 10)
    for form in ("%Y-%m-%dT%H:%M", "%Y%m%dT%H%M", "%Y-%m-%dT%H", "%Y-%m-%d"):
        with pytest.raises(ValueError, match=r"\d"):
            iso_seconds(f"{whole:{form}}{mark}{digit}")


@pytest.mark.parametrize("form", ["%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d"])
def test_dates_without_marks_are_no_seconds(tmp_path: Path, form: str) -> None:
    step = {"%Y%m%d%H%M%S": 1, "%Y%m%d%H%M": 60, "%Y%m%d": 86_400}[form]
    times = [(BEGIN + timedelta(seconds=step * index)).strftime(form) for index in range(COUNT)]
    with pytest.raises(DataError, match=rf"line 2, column 'time': {times[0]} looks like a date; write it as 20"):
        read(csv(tmp_path / "data.csv", "time", times))
    np.testing.assert_allclose(np.diff(read(csv(tmp_path / "data.csv", "time", times), unit="s").time)[:5], 1)


@pytest.mark.parametrize(
    "form",
    ["%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%G-W%V-%uT%H:%M:%S", "%Y-%jT%H:%M:%S", "%H:%M:%S", "%Y/%m/%d"],
)
def test_dates_in_other_forms_are_not_left_out_without_a_word(tmp_path: Path, form: str) -> None:
    times = moments(form)
    with pytest.raises(DataError, match=r"taken looks like times: .* ISO 8601 .* time = false"):
        read(csv(tmp_path / "data.csv", "taken", times))
    with pytest.raises(DataError, match=r"line 2, column 'Zeitstempel': .* is no time; give seconds"):
        read(csv(tmp_path / "data.csv", "Zeitstempel", times))


def test_a_column_that_ascends_evenly_is_asked_about_at_any_rate(tmp_path: Path) -> None:
    path = csv(tmp_path / "data.csv", "id", [7 * index + 90 * (index > 4) for index in range(COUNT)])
    with pytest.raises(DataError, match="id looks like times"):
        read(path)
    assert np.diff(read(path, time=False).time).max() == 1


@pytest.mark.parametrize(
    ("name", "seconds"), [("time (h)", 3600), ("elapsed minutes", 60), ("t[d]", 86_400), ("hours", 3600), ("time_s", 1)]
)
def test_hours_are_no_seconds(tmp_path: Path, name: str, seconds: float) -> None:
    assert unit_in(name) in {3600: "h", 60: "min", 86_400: "d", 1: "s"}[int(seconds)]
    path = csv(tmp_path / "data.csv", name, [*range(6), *range(20, 26)])
    np.testing.assert_allclose(np.diff(read(path, 1 / seconds).time)[4:7], [seconds, 15 * seconds, seconds])


def test_minutes_are_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="samples are 1 s apart"):  # seconds at another rate, perhaps
        read(csv(tmp_path / "data.csv", "time", range(COUNT)), 1 / 60)


def test_a_clock_that_was_put_back_is_thought_of(tmp_path: Path) -> None:
    times = ["2023-10-29T02:59:58", "2023-10-29T02:59:59", "2023-10-29T02:00:00"]
    with pytest.raises(DataError, match=r"line 4, column 'time': times do not ascend.*write their zones if"):
        read(csv(tmp_path / "data.csv", "time", times))


# -- numbers, labels


@pytest.mark.parametrize("text", ["1.050,00", "1,050.00", "1'050", "1 050,5", "12\u202f345", "1.234.567,8"])
def test_marks_between_thousands_do_not_cost_the_large_numbers(text: str) -> None:
    where = Where(Path("a.csv"), "line", [2, 3], "x")
    with pytest.raises(DataError, match=r"a.csv, line 3, column 'x': .* has marks between thousands; write numbers"):
        Numbers().of_texts(["5", text], where)
    assert np.isnan(Numbers().of_texts(["5", "12:30"], where)[1])


@pytest.mark.parametrize("texts", [["1", "2", "3", "4", "5"], ["3", "4", "5"]])
def test_more_classes_than_the_swarm_has_are_not_some_bad_rows(texts: list[str]) -> None:
    labels = Classes((), 3)
    labels.of_texts(texts, Where(Path("a.csv"), "line", range(5), "label"))
    with pytest.raises(DataError, match=r"5 \(1\): numbered from 1, .*; name the classes .* --classes 1,2,3,4,5$"):
        labels.check("a.csv")


# -- what typed files hold


def test_types_of_arrow_that_say_the_same(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), importlib.import_module("pyarrow.parquet")
    nanoseconds = [1_700_000_000_000_000_001 + index * 10**9 + 10**11 * (index > 4) for index in range(COUNT)]
    labels, x = arrow.array(["a", None] * 6), [0.5, None] * 6
    labels = labels.cast(arrow.string_view()) if hasattr(arrow, "string_view") else labels
    path = tmp_path / "data.parquet"
    table = {"note": ["-"] * COUNT, "time": nanoseconds, "x": x, "y": arrow.nulls(COUNT), "label": labels}
    parquet.write_table(arrow.table(table), path)
    recording = read_recording(path, ("x", "y"), 1.0, labels=Classes(("a",), 1))
    np.testing.assert_allclose(np.diff(recording.time)[3:6], [1, 101, 1], atol=1e-6)
    assert np.isnan(recording.values).sum() == COUNT // 2 + COUNT
    assert recording.label.tolist() == [0, -1] * 6
    assert sum(len(piece.values) for piece in open_table(path).pieces([])) == COUNT


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (Times(), [datetime(2023, 1, 1).time()], "time32|time64.* give seconds"),
        (Classes(("a",), 1), [b"a"], "binary; give names or numbers of classes"),
        (Numbers(), ["1.5"], "string; give numbers"),
    ],
)
def test_the_remedy_is_that_of_the_kind(tmp_path: Path, kind: Any, values: list[Any], words: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.table({"c": values}), tmp_path / "data.parquet")
    with pytest.raises(DataError, match=words):
        list(open_table(tmp_path / "data.parquet").pieces([("c", kind)]))


def test_the_array_of_objects_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", signal=np.zeros((3, 1)), notes=np.array(["a", None], object))
    with pytest.raises(DataError, match="'notes' holds pickled objects"):
        read(tmp_path / "data.npz")


# -- what is packed, and what a power cut leaves


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    packed, text = io.BytesIO(), b"time,x\n0,1\n1,2\n"
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("a.csv")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    path = tmp_path / "data.csv.gz"
    path.write_bytes(packed.getvalue())
    with pytest.raises(DataError, match="is no text: zeros are in its first line; unpack it first"):
        open_table(path)
    path.write_bytes(gzip.compress(text) + b"rubbish")
    with pytest.raises(DataError, match=r"what follows its packed part is none.* pack it anew"):
        read(path)
    path.write_bytes(gzip.compress(text[:9]) + gzip.compress(text[9:]))
    assert len(read(path).time) == 2


def test_zeros_between_lines_of_json_cost_that_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [json.dumps({"time": index, "x": 1}) for index in range(5)]
    (tmp_path / "data.jsonl").write_text("\n".join([*rows[:2], "\0" * 50, "\0" * 50 + rows[3][9:], *rows[4:], ""]))
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path / "data.jsonl").time.tolist() == [0, 1, 4]
    assert "line 4 has zeros" in caplog.text
