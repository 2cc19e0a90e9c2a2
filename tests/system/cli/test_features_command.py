"""``learnae features``: what is measured of a table, and that a swarm with it sees numbers of about one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Programs, assert_refused

from learnae.samples.recordings import read_recording
from learnae.samples.windows import Windower
from learnae.swarm.directory import open_manifest
from learnae.swarm.presets import dense_config
from learnae.tables.labels import Classes


def recording(path: Path, rate: float, rows: int, offset: float, size: float) -> Path:
    rng = np.random.default_rng(1)
    a, b = offset + size * rng.normal(size=rows), 0.001 * rng.normal(size=rows)
    lines = [
        f"{index / rate:.6f},{x:.9g},{y:.9g},{'run' if index % 3 else 'rest'},note"
        for index, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    path.write_text("time,heat,flow,label,remark\n" + "\n".join(lines) + "\n")
    return path


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["window-statistics", "raw-window"]),
    st.sampled_from([0.5, 1.0, 50.0, 800.0]),
    st.floats(-1e4, 1e4),
    st.floats(0.01, 1000),
)
def test_features_bring_a_recording_near_one(
    programs: Programs, tmp_path: Path, kind: str, rate: float, offset: float, size: float
) -> None:
    file = recording(tmp_path / "pump.csv", rate, 400, offset, size)
    found = programs.answer("learnae", "features", file, "--kind", kind, "--window", 8, "--out", tmp_path / "f.json")
    assert found["rate"] == pytest.approx(rate, rel=0.01)
    assert (found["rows"], found["gaps"], found["classes"]) == (400, 0, {"run": 266, "rest": 134})
    assert list(found["channels"]) == ["heat", "flow"], "what holds no number is no channel"
    assert found["channels"]["heat"]["mean"] == pytest.approx(offset, abs=size)
    assert json.loads((tmp_path / "f.json").read_text()) == found["features"]

    width = 10 if kind == "window-statistics" else 16
    config = dense_config(width, (), 1, "linear")
    if kind == "raw-window":
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 8, 2]
        config["config"]["layers"].insert(1, {"class_name": "Flatten", "config": {}})
    (tmp_path / "m.json").write_text(json.dumps(config))
    flags = ("--model", tmp_path / "m.json", "--loss", "huber", "--features", tmp_path / "f.json", "--directory")
    place = tmp_path / f"swarm-{abs(hash((kind, rate, offset, size)))}"
    features = open_manifest(Path(programs.answer("learnae", "swarm", "create", *flags, place)["directory"])).features
    assert features is not None
    samples = read_recording(file, features.channels, features.rate, labels=Classes(["rest", "run"], 2)).split_by_time(
        0.0
    )
    samples.label[:] = 0
    rows = features.extract(Windower(features).push(samples).values).reshape(-1, features.constants * 2)
    assert np.abs(rows.mean(axis=0)).max() < 0.15
    assert 0.8 < rows.std(axis=0).max() < 1.3


def said(programs: Programs, *arguments: object) -> Any:
    return programs.answer("learnae", "features", *arguments)


def test_times_are_read_as_a_recording_is(programs: Programs, tmp_path: Path) -> None:
    begun = 1_714_521_600_000
    for name, times in {
        "time_ms": [str(index * 20) for index in range(200)],
        "Timestamp": [str(begun + index * 20) for index in range(200)],
        "recordedAt": [f"2024-05-01T00:00:{index // 50:02}.{index % 50 * 20:03}Z" for index in range(200)],
    }.items():
        file = tmp_path / f"{name}.csv"
        file.write_text(f"{name};a\n" + "".join(f"{time};{index % 7},5\n" for index, time in enumerate(times)))
        found = said(programs, file)
        assert (found["rate"], list(found["channels"])) == (50.0, ["a"])
        assert found["channels"]["a"]["maximum"] == 6.5


@pytest.mark.modules("pyarrow")
def test_times_are_found_as_those_who_learn_find_them(programs: Programs, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    begun, count = np.datetime64("2024-05-01T00:00:00", "ms"), 40
    frames = [*range(20), *range(30, 50)]
    moments = begun + 100 * np.array(frames)
    values = [index % 7 for index in range(count)]
    (tmp_path / "when.csv").write_text("when,a\n" + "".join(f"{m},{v}\n" for m, v in zip(moments, values, strict=True)))
    table = {"note": ["x"] * count, "empty": pyarrow.nulls(count), "a": values, "__index_level_0__": moments}
    parquet.write_table(pyarrow.table(table), tmp_path / "index.parquet")
    rows = [{"meta": {"x": 1}, "frame": frame, "a": value} for frame, value in zip(frames, values, strict=True)]
    (tmp_path / "frame.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, flags in (("when.csv", ()), ("index.parquet", ()), ("frame.jsonl", ("--rate", 10))):
        found = said(programs, tmp_path / name, "--window", 4, *flags)
        assert (found["rate"], found["gaps"], list(found["channels"])) == (10.0, 1, ["a"]), name


def test_gaps_and_missing_values_are_counted(programs: Programs, tmp_path: Path) -> None:
    times = [*range(20), *range(25, 45)]
    (tmp_path / "t.csv").write_text("time,a\n" + "".join(f"{t},{'' if t == 3 else t}\n" for t in times))
    found = said(programs, tmp_path / "t.csv", "--window", 4)
    assert (found["rate"], found["gaps"], found["channels"]["a"]["missing"]) == (1.0, 1, 1)
    assert found["channels"]["a"]["maximum"] == 44
    assert "1 gap" in programs.run("learnae", "features", tmp_path / "t.csv", "--window", "4").stdout


def test_a_table_without_times_or_without_change_is_measured(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "".join(f"{t % 5}\n" for t in range(50)))
    assert said(programs, tmp_path / "t.csv", "--rate", 10)["features"]["window"] == 20
    constant = tmp_path / "c.csv"
    constant.write_text("a\n" + "7\n" * 50)
    assert set(said(programs, constant, "--rate", 10)["features"]["scale"]) == {1.0}


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        ("a\n1\n2\n", (), "has no column of times; name it with --time, or give --rate HZ"),
        (
            "no,a\n1,5\n2,1\n3,4\n4,1\n",
            (),
            "no looks like times, by its first values, and not by its name; name one with",
        ),
        ("sample,a\n1,5\n2,1\n3,4\n", (), "'sample' counts samples; say how many a second: --rate HZ"),
        ("time,a\n0,1\n0,2\n", (), "line 3, column 'time': times do not ascend"),
        ("time,a\n0,1\nlater,2\n", (), "line 3, column 'time': 'later' is no time"),
        ("time,a\n0,1\n1,2\n", ("--channels", "a,b"), "has no column 'b'; it has time, a"),
        ("time,a\n0,1\n1,2\n", ("--window", "3"), "no window of 3 samples at 1 Hz"),
        ("time,a\n0,x\n1,y\n", (), "0 columns of"),
        ("time,a\n0,1\n", (), "has 1 row"),
        ("time,a\n0,1\n1,2\n2,1\n3,2\n", ("--window", "1"), "window"),
        ("time,a\n0,1\n1,2\n", ("--out", "f.toml"), "end its name with .json"),
    ],
)
def test_what_cannot_be_measured_is_said(
    programs: Programs, tmp_path: Path, text: str, flags: tuple[str, ...], words: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert_refused(programs.run("learnae", "features", tmp_path / "t.csv", *flags), 78, words)
