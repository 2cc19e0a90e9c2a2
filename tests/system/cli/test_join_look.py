"""``learnae join --data`` looks into a table at once: what is there, and what does not fit."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import Programs, assert_refused

from learnae.config.loading import load_config
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from trainer_node.config import TrainerConfig

Join = Callable[..., dict[str, Any]]
CROSS = "sparse_categorical_crossentropy"
NAMED = Manifest(
    "small", dense_config(2, (4,), 3, "softmax"), CROSS, classes=("good", "bad", "odd"), columns=("a", "b")
)


@pytest.fixture
def join(programs: Programs, tmp_path: Path) -> Join:
    """Joins the swarm of a manifest with a table of this text."""

    def join_with(text: str, manifest: Manifest = NAMED, *more: object, name: str = "t.csv") -> dict[str, Any]:
        programs.add_swarm(manifest)
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        answer = programs.answer("learnae", "join", "--data", tmp_path / name, *more)["data"]
        assert isinstance(answer, dict)
        return answer

    return join_with


def test_rows_and_classes_are_counted(join: Join, programs: Programs) -> None:
    found = join("b,extra,label,a\n1,2,good,3\n1,2,bad,3\n1,2,good,3\n1,2,2,3\n")
    assert found == {"rows": 4, "more": False, "classes": {"good": 2, "bad": 1, "2": 1}, "notes": []}
    said = programs.run("learnae", "join", "--data", "t.csv", "--name", "x", "--config", "x.toml").stdout
    assert "data           4 rows, 3 classes: 2 1, bad 1, good 2\n" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,label\n1,good\n", "columns of the swarm are missing: b; there are a"),
        ("a,b,class\n1,2,good\n", "no column 'label': name the labels' with --label, one of a, b, class"),
        ("a,b,label\n1,2,good\n1,2,god\n1,2,7\n", "labels that are no class: 'god' (1), '7' (1); there are good, bad"),
        ("a,b,label\n1,2,good\n1,2,bad\n", "no row is of class odd: other members may have some"),
        ("a,b,label\n", "the table has no row"),
    ],
)
def test_what_does_not_fit_is_said(join: Join, text: str, words: str) -> None:
    assert words in "\n".join(join(text)["notes"])


def test_without_named_columns_their_number_counts(join: Join) -> None:
    plain = Manifest("plain", dense_config(2, (), 2, "softmax"), CROSS)
    assert join("a,b,label\n1,2,0\n1,2,1.0\n", plain, name="t.csv.gz") == {
        "rows": 2, "more": False, "classes": {"0": 1, "1": 1}, "notes": [],
    }  # fmt: skip


def test_a_column_too_many_is_said(join: Join) -> None:
    found = join("a,b,mass,label\n1,2,3,0\n", Manifest("plain", dense_config(2, (), 1, "linear"), "huber"))
    assert found == {
        "rows": 1, "more": False, "classes": {},
        "notes": ["beside 'label' there are 3 columns; the swarm's model takes 2"],
    }  # fmt: skip


def test_another_label_is_counted_and_configured(join: Join, programs: Programs) -> None:
    found = join("a,b,state\n1,2,good\n1,2,bad\n1,2,odd\n", NAMED, "--label", "state")
    assert (found["classes"], found["notes"]) == ({"good": 1, "bad": 1, "odd": 1}, [])
    config = programs.config / "learnae" / "trainer.toml"
    assert load_config(TrainerConfig, "trainer", config, environment={}).data.label == "state"


def test_channels_of_a_recording_are_columns_but_needed_all(join: Join) -> None:
    found = join("time,ax,ay,az,wx,wy,label\n" + "0,1,1,1,1,1,PEN\n", preset("wrist", 1))
    assert "columns of the swarm are missing: wz; there are time, ax, ay, az, wx, wy" in found["notes"]


RECORDED = "ax,ay,az,wx,wy,wz,label\n"
PAUSED = "".join(f"{index / 50},1,1,1,1,1,1,PEN\n" for index in (0, 1, 2, 40, 41))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("taken," + RECORDED + PAUSED, "taken looks like times, by its first values"),
        ("taken," + RECORDED + "14.11.2023 22:13,1,1,1,1,1,1,PEN\n", "taken looks like times: '14.11.2023 22:13'"),
        ("time," + RECORDED + PAUSED.replace("0.8,", "0.01,"), "line 5, column 'time': times do not ascend"),
        ("time (h)," + RECORDED + PAUSED, ""),
        ("time [ms]," + RECORDED + PAUSED, "samples are 2e-05 s apart; the swarm's are 0.02 s apart"),
    ],
)
def test_times_are_looked_at_as_those_who_learn_read_them(join: Join, text: str, words: str) -> None:
    assert words in "\n".join(join(text, preset("wrist", 1))["notes"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "time," + RECORDED + "noon,1,1,1,1,1,1,PEN\n", "line 2, column 'time': 'noon' is no time"),
        ("t.csv", RECORDED + '"1,234.5",1,1,1,1,1,PEN\n', "line 2, column 'ax': '1,234.5' has marks between thousands"),
        ("t.jsonl", json.dumps({name: [1] for name in ("ax", "ay", "az", "wx", "wy", "wz")}), "column 'ax': '[1]'"),
        ("t.xlsx", "PK", "its name does not say what it is; give one of .csv"),
    ],
)
def test_what_those_who_learn_refuse_is_refused(
    programs: Programs, tmp_path: Path, name: str, text: str, words: str
) -> None:
    programs.add_swarm(preset("wrist", 1))
    (tmp_path / name).write_text(text)
    assert_refused(programs.run("learnae", "join", "--data", tmp_path / name), 78, words)


def test_a_class_may_be_called_none(join: Join) -> None:
    named = Manifest("small", dense_config(2, (4,), 2, "softmax"), CROSS, classes=("none", "some"), columns=("a", "b"))
    assert join("a,b,label\n1,2,none\n1,2,some\n1,2,\n", named)["classes"] == {"none": 1, "some": 1}


@pytest.mark.modules("pyarrow")
def test_parquet_is_looked_into_as_well(programs: Programs, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    programs.add_swarm(NAMED)
    table = {"a": [1.0] * 3, "b": [1.0] * 3, "label": ["good", "bad", None]}
    parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    found = programs.answer("learnae", "join", "--data", tmp_path / "t.parquet")["data"]
    assert (found["rows"], found["classes"]) == (3, {"good": 1, "bad": 1})
    notes = {"note": ["x"] * 3, **table}
    del notes["label"]
    parquet.write_table(pyarrow.table(notes), tmp_path / "t.parquet")
    arguments = ("--data", tmp_path / "t.parquet", "--name", "b", "--config", tmp_path / "b.toml")
    assert programs.answer("learnae", "join", *arguments)["data"]["rows"] == 3


def test_many_columns_are_not_printed_each_time(programs: Programs) -> None:
    names = tuple(f"f{number}" for number in range(40))
    programs.add_swarm(Manifest("wide", dense_config(40, (), 2, "softmax"), CROSS, columns=names))
    said = programs.run("learnae", "join").stdout
    assert "columns        f0, f1, f2, f3, f4, … (40 in all)\n" in said


def test_a_table_that_cannot_be_read_makes_no_peer(programs: Programs, tmp_path: Path) -> None:
    programs.add_swarm(NAMED)
    (tmp_path / "t.csv").write_text("a b label\n1 2 good\n")
    assert_refused(programs.run("learnae", "join", "--data", tmp_path / "t.csv"), 78, "is separated by spaces")
    assert not (programs.home / "peers").exists()


def test_all_trainers_are_listed_where_no_name_is_given(programs: Programs, tmp_path: Path) -> None:
    programs.add_swarm(NAMED)
    assert programs.run("trainer_node", "list").returncode == 3
    programs.answer("learnae", "join", "--name", "pump")
    assert programs.run("trainer_node", "status", "--json").stdout == '{"state": "stopped", "process": null}\n'
    programs.answer("learnae", "join", "--name", "fan", "--config", tmp_path / "fan.toml")
    (programs.home / "peers" / "fan" / "status.json").write_text('{"role": "trainer", "steps": 1200, "loss": 0.5}')
    programs.answer("learnae", "join", "--name", "sensor", "--config", tmp_path / "sensor.toml")
    (programs.home / "peers" / "sensor" / "status.json").write_text('{"role": "agent"}')
    for verb in ("status", "list"):
        done = programs.run("trainer_node", verb, "--json")
        assert done.returncode == 3
        assert [(each["name"], each["state"]) for each in json.loads(done.stdout)] == [
            ("fan", "stopped"), ("pump", "stopped"),
        ]  # fmt: skip
        assert "1,200" in programs.run("trainer_node", verb).stdout
    assert json.loads(programs.run("trainer_node", "status", "--name", "fan", "--json").stdout)["steps"] == 1200
