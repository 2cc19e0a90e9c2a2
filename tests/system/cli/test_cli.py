"""The programs as their users meet them: exit statuses, what is on which stream, what is left on the disk."""

import fcntl
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import termios
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_configs import dense, layer, sequential
from programs import Programs, assert_refused, finish, wait_for

import learnae
from firmware_bridge.serial_link.port import find_port
from learnae.config.loading import load_config
from learnae.models.keras_model import import_keras
from learnae.models.reference.numpy_model import predict
from learnae.peer.state import PeerState
from learnae.runtime.observer import Observer
from learnae.swarm.directory import open_manifest
from learnae.swarm.manifest import Manifest
from learnae.swarm.model_card import CARD_FILE, card
from learnae.swarm.presets import PRESETS, dense_config, preset
from trainer_node import lifecycle
from trainer_node.config import TrainerConfig

CONFIGURATION, TRY_AGAIN, USAGE, STOPPED = 78, 75, 2, 3
LOSS = ("--loss", "sparse_categorical_crossentropy")
needs_keras = pytest.mark.modules("keras", "jax")  # of Keras' backends, the one that trainers have


def create(programs: Programs, *arguments: object) -> dict[str, str]:
    return programs.answer("learnae", "swarm", "create", *(arguments or ("--preset", "wrist")))


def model_file(path: Path, config: object) -> Path:
    path.write_text(json.dumps(config))
    return path


def small_data(path: Path) -> Path:
    """Rows for a swarm of ``dense_config(2, (4,), 2, "softmax")``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    np.savez(path, x=x, y=(x.sum(axis=1) > 0).astype(int))
    return path


@pytest.fixture
def small(programs: Programs) -> Manifest:
    """A swarm with a tiny model, for peers that start fast."""
    manifest = Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy")
    programs.add_swarm(manifest)
    return manifest


@pytest.fixture
def joined(programs: Programs, small: Manifest, tmp_path: Path) -> Path:
    """The configuration file of a trainer ``pump`` with data."""
    config = tmp_path / "pump.toml"
    config.write_text(f"[peer]\nname = 'pump'\n[data]\nfile = '{small_data(tmp_path / 'data.npz')}'\n")
    return config


# -- learnae swarm create


def test_a_swarm_is_created_from_a_preset(programs: Programs) -> None:
    made = create(programs)
    manifest = open_manifest(Path(made["directory"]))
    assert Path(made["directory"]) == programs.home / "swarms" / made["swarm"]
    assert (made["name"], made["model"]) == ("wrist", f"{manifest.model.count} parameters")
    assert str(manifest.swarm) == made["swarm"]
    assert manifest.created > 1_700_000_000_000


def test_people_are_told_how_to_go_on(programs: Programs, tmp_path: Path) -> None:
    done = programs.run("learnae", "swarm", "create", "--preset", "hepmass", "--directory", tmp_path / "shared")
    assert done.returncode == 0, done.stderr
    assert f"next: learnae join {tmp_path / 'shared'} " in done.stdout
    assert (tmp_path / "shared" / "manifest.cbor").exists()


def test_a_swarm_is_created_from_a_keras_json(programs: Programs, tmp_path: Path) -> None:
    file = model_file(tmp_path / "pumps.json", dense_config(3, (5,), 2, "softmax"))
    options = ("--classes", "good, bad", "--optimiser", "adam", "--learning-rate", "0.002")
    made = create(programs, "--model", file, *LOSS, *options)
    assert made["agents_train"] is False  # without features of samples
    manifest = open_manifest(Path(made["directory"]))
    assert (manifest.name, manifest.classes, manifest.model.count) == ("pumps", ("good", "bad"), 32)
    assert (manifest.optimiser.name, manifest.optimiser.learning_rate) == ("adam", 0.002)


def test_a_swarm_takes_its_features_from_a_file_or_a_preset(programs: Programs, tmp_path: Path) -> None:
    file = model_file(tmp_path / "tides.json", sequential(layer("Flatten"), dense(2), shape=(8, 1)))
    wanted = {"kind": "raw-window", "channels": ["level"], "rate": 0.1, "window": 8, "hop": 1, "ahead": 2}
    features = model_file(tmp_path / "features.json", wanted)
    made = create(programs, "--model", file, "--loss", "huber", "--features", features)
    manifest = open_manifest(Path(made["directory"]))
    assert manifest.task == "forecast"
    assert manifest.features is not None
    assert manifest.features.to_fields() == {**wanted, "shift": [0.0], "scale": [1.0]}
    assert (made["agents_train"], made["start"]) == (True, "drawn from the seed")
    for text, words in (('{"kind": "raw"}', "kind"), ("{", "cannot read features"), ("[]", "map")):
        features.write_text(text)
        done = programs.run("learnae", "swarm", "create", "--model", file, "--loss", "huber", "--features", features)
        assert_refused(done, CONFIGURATION, words)
    done = programs.run("learnae", "swarm", "create", "--model", file, "--loss", "huber", "--features", "wrist")
    assert_refused(done, CONFIGURATION, "make the model's input as wide as the features")


@pytest.mark.parametrize(("kind", "codec"), [("BatchNormalization", "f32"), ("LayerNormalization", "q4")])
def test_statistics_as_large_as_the_features_are_published_exactly(
    programs: Programs, tmp_path: Path, kind: str, codec: str
) -> None:
    config = dense_config(3, (5,), 2, "softmax")
    config["config"]["layers"].insert(1, {"class_name": kind, "config": {}})
    made = create(programs, "--model", model_file(tmp_path / "pumps.json", config), *LOSS)
    assert open_manifest(Path(made["directory"])).codec.delta == codec


@needs_keras
def test_a_swarm_is_created_from_a_keras_file(programs: Programs, tmp_path: Path) -> None:
    layers = import_keras().layers
    made = [layers.Dense(6, activation="relu"), layers.Dropout(0.2), layers.Dense(3), layers.Activation("softmax")]
    model = import_keras().Sequential([layers.Input((4,)), *made])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.save(tmp_path / "pumps.keras")
    manifest = open_manifest(Path(create(programs, "--model", tmp_path / "pumps.keras", *LOSS)["directory"]))
    assert manifest.model.count == 4 * 6 + 6 + 6 * 3 + 3
    assert manifest.model.output_shape == (3,)


LAMBDA = dense_config(2, (), 2, "softmax")
LAMBDA["config"]["layers"].insert(1, {"class_name": "Lambda", "config": {"function": "code"}})
FILES = {
    "m.json": json.dumps(dense_config(2, (), 2, "softmax")),
    "lambda.json": json.dumps(LAMBDA),
    "functional.json": json.dumps({"class_name": "Functional", "config": {}}),
    "half.json": "{",
    "list.json": "[]",
    "wide.csv": "flow,heat,power\n",
    "rows.csv": "walking,2.5\n",
    "long.csv": f"flow,{'x' * 65}\n",
}
WRONG_MODELS = {
    "lambda.json": ["keras.layers.Lambda is not allowed", "use Keras' own layers"],
    "functional.json": ["model.config.layers", "a list of 1 to 1024 layers"],
    "half.json": ["cannot read", "half.json"],
    "list.json": ["model"],
}
WRONG_COLUMNS = {
    "": ["1 column named ()"],
    "flow": ["1 column named (flow)", "the model takes 2"],
    "flow,heat,": ["3 columns named"],
    "flow,flow": ["'flow'", "a name of its own"],
    "flow,": ["''", "a name of its own"],
    "absent.csv": ["cannot read absent.csv"],
    "wide.csv": ["3 columns named (flow, heat, power)", "name each of these"],
    "rows.csv": ["rows.csv is called 2.5", "its first line may be data"],
    "long.csv": ["printable text of at most 64"],
}
OF_MODEL = ("--model", "m.json", *LOSS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *[pytest.param(("--model", file, *LOSS), words, marks=needs_keras) for file, words in WRONG_MODELS.items()],
        *[((*OF_MODEL, "--classes", n), [n, "2 classes"]) for n in ("good", "good,bad,ugly", "good,good", "good,")],
        *[((*OF_MODEL, "--columns", columns), words) for columns, words in WRONG_COLUMNS.items()],
        (("--model", "m.json"), ["give --loss"]),
        ((), ["give --preset or --model"]),
        (("--preset", "wrist", "--columns", "a", "--loss", "huber"), ["takes no --loss, --columns", "--model"]),
    ],
)
def test_a_swarm_that_cannot_be_is_refused_and_leaves_nothing(
    programs: Programs, arguments: tuple[str, ...], words: list[str]
) -> None:
    for name, text in FILES.items():
        (programs.root / name).write_text(text)
    assert_refused(programs.run("learnae", "swarm", "create", *arguments), CONFIGURATION, "learnae: ", *words)
    assert not list(programs.home.glob("swarms/*"))


def test_every_preset_is_explained(programs: Programs) -> None:
    said = programs.run("learnae", "swarm", "create", "--help").stdout
    explained = re.findall(r"^  (\S+) {2,}\S.*$", said[said.index("presets:") :], re.MULTILINE)
    assert sorted(explained) == sorted(PRESETS)
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("given", ["flow, heat", "pump.csv", "pump.csv.gz"])
def test_columns_are_named_or_read_from_a_table(programs: Programs, tmp_path: Path, given: str) -> None:
    file = model_file(tmp_path / "m.json", dense_config(2, (), 2, "softmax"))
    (tmp_path / "pump.csv").write_text("flow,label,heat\n1,0,2\n")
    (tmp_path / "pump.csv.gz").write_bytes(gzip.compress(b"# label,flow,heat\n1,0,2\n"))
    made = create(programs, "--model", file, *LOSS, "--columns", given)
    assert open_manifest(Path(made["directory"])).columns == ("flow", "heat")
    assert made["columns"] == ["flow", "heat"]
    arguments = ("join", "--config", tmp_path / "peer.toml", "--name")
    assert programs.answer("learnae", *arguments, "one")["columns"] == ["flow", "heat"]
    (tmp_path / "peer.toml").unlink()
    assert "columns        flow, heat\n" in said_to_people(programs, *arguments, "two")


@pytest.mark.modules("pyarrow")
def test_columns_are_read_from_parquet(programs: Programs, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    file = model_file(tmp_path / "m.json", dense_config(2, (), 2, "softmax"))
    table = {name: [1.0] for name in ("flow", "label", "heat", "__index_level_0__")}
    parquet.write_table(pyarrow.table(table), tmp_path / "pump.parquet")
    made = create(programs, "--model", file, *LOSS, "--columns", tmp_path / "pump.parquet")
    assert made["columns"] == ["flow", "heat"]


def test_it_is_said_that_tables_without_named_columns_must_be_alike(programs: Programs) -> None:
    said = said_to_people(programs, "swarm", "create", "--preset", "hepmass")
    assert "not named: all tables must have the same, in the same order" in said
    assert "columns" not in said_to_people(programs, "swarm", "create", "--preset", "wrist")


def test_what_is_not_said_is_as_the_help_says(programs: Programs, tmp_path: Path) -> None:
    file = model_file(tmp_path / "m.json", dense_config(2, (), 2, "softmax"))
    said = " ".join(programs.run("learnae", "swarm", "create", "--help").stdout.split())
    usual, rates = re.findall(r"--\S+ [XO] for --model[^()]*\(default: ([^()]+)\)", said)
    for more in ((), ("--optimiser", "adam", "--name", "careful")):
        made = open_manifest(Path(create(programs, "--model", file, *LOSS, *more)["directory"])).optimiser
        assert made.name == ("adam" if more else usual)
        assert f"{made.name} {made.learning_rate}" in rates.split(", ")


def test_a_second_swarm_of_a_name_is_refused(programs: Programs) -> None:
    first = create(programs)
    done = programs.run("learnae", "swarm", "create", "--preset", "wrist")
    assert_refused(done, CONFIGURATION, "'wrist'", first["swarm"], "learnae join wrist", "--name")
    other = create(programs, "--preset", "wrist", "--name", "wrist-2")
    assert (other["name"], other["model"]) == ("wrist-2", first["model"])
    assert programs.answer("learnae", "peers", "--swarm", "wrist") == []


@pytest.mark.parametrize(
    "arguments", [["swarm"], ["swarm", "create", "--batch", "x"], ["swarm", "create", "--preset", "wirst"]]
)
def test_wrong_usage_is_status_2(programs: Programs, arguments: list[str]) -> None:
    done = programs.run("learnae", *arguments)
    assert done.returncode == USAGE
    assert "usage: learnae" in done.stderr


def test_a_home_that_cannot_be_written_is_named(programs: Programs) -> None:
    programs.home.touch()
    assert_refused(programs.run("learnae", "swarm", "create", "--preset", "wrist"), CONFIGURATION, programs.home)


# -- learnae join


def test_join_makes_a_key_and_a_configuration(programs: Programs, small: Manifest, tmp_path: Path) -> None:
    data = small_data(tmp_path / "data.npz")
    made = programs.answer("learnae", "join", "--data", data)
    config = programs.config / "learnae" / "trainer.toml"
    assert (made["configuration"], made["start"]) == (str(config), "trainer-node start")
    assert made["swarm"] == str(small.swarm)
    assert re.fullmatch(r"[a-z2-7]{52}", made["peer"])
    assert (programs.home / "peers" / "trainer" / "key.pem").exists()
    loaded = load_config(TrainerConfig, "trainer", config, environment={})
    assert loaded.swarm.id == str(small.swarm)  # a home may be moved
    assert loaded.data.file == str(data)


def test_join_never_overwrites_a_configuration(programs: Programs, joined: Path) -> None:
    before = joined.read_bytes()
    done = programs.run("learnae", "join", "--name", "fan", "--config", joined)
    assert_refused(done, CONFIGURATION, f"{joined} exists", "--config FILE")
    assert joined.read_bytes() == before
    assert not (programs.home / "peers" / "fan").exists()


def test_a_peer_of_one_swarm_does_not_join_another(rested: Programs, tmp_path: Path) -> None:
    rested.answer("learnae", "swarm", "create", "--preset", "thermal", "--directory", tmp_path / "other")
    done = rested.run("learnae", "join", tmp_path / "other", "--name", "demo-1", "--config", tmp_path / "it.toml")
    assert_refused(done, CONFIGURATION, "peer 'demo-1' is in swarm", "another --name")
    assert not (tmp_path / "it.toml").exists()


@pytest.mark.parametrize("flags", [[], ["--detach"]])
def test_a_home_that_cannot_be_made_is_said(
    programs: Programs, small: Manifest, joined: Path, tmp_path: Path, flags: list[str]
) -> None:
    (tmp_path / "file").touch()
    swarm = programs.home / "swarms" / str(small.swarm)
    environment = {"LEARNAE_HOME": str(tmp_path / "file")}
    done = programs.run("trainer_node", "start", "--config", joined, "--swarm", swarm, *flags, environment=environment)
    assert_refused(done, TRY_AGAIN, "cannot write", "check owner and permissions")


def test_what_join_writes_can_be_read(programs: Programs, small: Manifest, tmp_path: Path) -> None:
    name = "pump \N{LEFT-POINTING MAGNIFYING GLASS}"
    programs.answer("learnae", "join", "--name", name, "--config", tmp_path / "it.toml")
    assert load_config(TrainerConfig, "trainer", tmp_path / "it.toml", environment={}).peer.name == name


def test_no_name_leads_out_of_the_home(programs: Programs, small: Manifest) -> None:
    assert_refused(programs.run("learnae", "join", "--name", "../x"), CONFIGURATION, "is no name for a peer")
    assert not (programs.config / "learnae").exists()


@pytest.mark.parametrize("verb", [["join"], ["peers"], ["export", "model.safetensors"]])
def test_without_a_swarm_every_verb_says_how_to_make_one(programs: Programs, verb: list[str]) -> None:
    assert_refused(programs.run("learnae", *verb), CONFIGURATION, "no swarm on this machine", "learnae swarm create")


def test_join_refuses_data_that_is_not_there_and_leaves_nothing(programs: Programs, small: Manifest) -> None:
    done = programs.run("learnae", "join", "--data", "absent.npz")
    assert_refused(done, CONFIGURATION, "cannot read absent.npz: No such file", "check the path")
    assert not (programs.home / "peers").exists()
    assert not (programs.config / "learnae").exists()


def test_of_several_swarms_the_configured_one_is_meant(programs: Programs, small: Manifest) -> None:
    programs.answer("learnae", "join")
    create(programs, "--preset", "wrist")
    assert "small" in programs.run("learnae", "peers").stdout
    done = programs.run("learnae", "join", "--name", "fan", "--config", "fan.toml")
    assert_refused(done, CONFIGURATION, "2 swarms", f"{small.name} ({small.swarm})", "wrist (")


def test_the_swarm_that_one_has_joined_elsewhere_is_meant(programs: Programs, tmp_path: Path) -> None:
    create(programs, "--preset", "thermal", "--directory", tmp_path / "shared")
    assert_refused(programs.run("learnae", "peers"), CONFIGURATION, "no swarm on this machine")
    programs.answer("learnae", "join", tmp_path / "shared")
    assert "thermal" in programs.run("learnae", "peers").stdout
    assert {"thing": "swarm", "state": "ok", "detail": "thermal", "remedy": ""} in programs.answer("learnae", "doctor")


# -- looking at a swarm that runs


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """A machine on which two people try the demo, and have heard each other."""
    with Programs(tmp_path_factory.mktemp("demo")) as programs:
        for person in (1, 2):
            # what is looked at for minutes is not to cost the tests beside it much
            process = programs.start(
                "trainer_node", "start", "--demo", pause=0.2, environment={"LEARNAE_TRAIN__SHARE": "0.05"}
            )
            assert f"demo: you are person {person} of 8" in process.line("err")
            programs.wait_for_steps(f"demo-{person}", process)
        wait_for(lambda: programs.status("demo-1")["following"] == 1, "demo-1 to merge what demo-2 has learnt")
        yield programs


def said_to_people(programs: Programs, *arguments: str) -> str:
    """What it prints, wide enough for whole tables; plain text, as it is not for a terminal."""
    done = programs.run("learnae", *arguments, environment={"COLUMNS": "250"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    return done.stdout


def test_peers_lists_everybody(demo: Programs) -> None:
    views = demo.answer("learnae", "peers")
    assert [view["name"] for view in views] == ["demo-1", "demo-2"]
    for view in views:
        assert (view["role"], view["version"], view["banned"]) == ("trainer", learnae.__version__, False)
        assert view["steps"] > 0
        assert view["bytes_out"] > 4295
        assert 0 < view["accuracy"] <= 1
    said = said_to_people(demo, "peers")
    assert all(word in said for word in ("wrist", "demo-1", "demo-2", views[0]["peer"][:8], "steps", "accuracy"))


def test_log_lists_messages_newest_first(demo: Programs) -> None:
    def log_of_two() -> list[dict[str, Any]]:
        said = demo.answer("learnae", "log", "-n", "1000")
        updates = [item["author"] for item in said if item["body"]["kind"] == "update"]
        return said if len(updates) > 3 and len(set(updates)) == 2 else []

    found = wait_for(log_of_two, "updates of both")
    assert [item["time"] for item in found] == sorted((item["time"] for item in found), reverse=True)
    assert {item["author"] for item in found if item["checkpoint"]} == {item["author"] for item in found}
    known = {(item["author"], item["seq"]): item["cid"] for item in found}
    for item in found:  # down to its author's checkpoint, nothing is missing
        previous = known.get((item["author"], item["seq"] - 1))
        assert item["checkpoint"] or item["parents"][0] == previous
    assert len(demo.answer("learnae", "log", "-n", "2")) == 2

    def newest_is_shown() -> bool:  # it may be forgotten in between
        return demo.answer("learnae", "log", "-n", "1")[0]["cid"] in said_to_people(demo, "log", "-n", "1000")

    assert wait_for(newest_is_shown, "the newest message in the table")


def steps_in(look: str) -> int:
    return sum(view["steps"] for view in json.loads(look))


def test_watch_looks_as_often_as_told(demo: Programs) -> None:
    done = demo.run("learnae", "watch", "--rounds", "3", "--every", "0.25", "--json")
    assert done.returncode == 0, done.stderr
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [[view["name"] for view in look] for look in looks] == [["demo-1", "demo-2"]] * 3
    watching = demo.start("learnae", "watch", "--every", "0.25", "--json")
    first = steps_in(watching.line())
    wait_for(lambda: steps_in(watching.line()) > first, "a look that is a new one, not the first one again")
    watching.kill()
    assert "demo-2" in said_to_people(demo, "watch", "--rounds", "2", "--every", "0.1")


def test_ctrl_c_ends_a_watch_without_a_word(demo: Programs) -> None:
    process = demo.start("learnae", "watch", "--every", "60", "--json")
    process.line()
    assert process.stop(signal.SIGINT) == ""


@pytest.mark.engine("/dev/ptmx")
def test_ctrl_c_leaves_one_table_on_a_terminal_that_is_slow(programs: Programs, small: Manifest) -> None:
    """A terminal throws away what it has not shown when it writes ^C: nothing may depend on where its cursor was."""
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", sys.executable, "-m", "learnae", "watch", "--every", "0"]
    environment = programs.environment(TERM="xterm", COLUMNS="80", LINES="24")
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)

    def unread() -> int:
        return int.from_bytes(fcntl.ioctl(ours, termios.FIONREAD, bytes(4)), sys.byteorder)

    wait_for(lambda: unread() >= 4095, "the terminal to be full")
    os.write(ours, b"\x03")
    said = b""
    with suppress(OSError):  # EIO: the other end has been closed
        while data := os.read(ours, 65536):
            said += data
    assert process.wait(60) == 0
    os.close(ours)
    live, stays = said.split(b"\x1b[?1049l")  # the second screen is left
    assert live.count(b"\x1b[?1049h") == 1
    assert live.count(b"small") > 1
    assert stays.count(b"small") == 1
    assert b"no peer has spoken yet" in stays
    assert b"\x1b[1A" not in stays  # no line above is written over


@pytest.mark.engine("/dev/ptmx")
def test_a_terminal_that_cannot_move_its_cursor_shows_one_table_a_look(programs: Programs, small: Manifest) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "learnae", "watch", "--every", "0.1", "--rounds", "2"]
    subprocess.run(command, env=programs.environment(TERM="dumb"), stdout=theirs, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # EIO: all has been read, which one read may not bring
        while data := os.read(ours, 65536):
            said += data
    os.close(ours)
    assert said.count(b"no peer has spoken yet") == 2
    assert b"\x1b" not in said


def test_doctor_finds_the_swarm(demo: Programs) -> None:
    found = {finding["thing"]: finding for finding in demo.answer("learnae", "doctor")}
    assert (found["swarm"]["state"], found["swarm"]["detail"]) == ("ok", "wrist-demo")
    assert "wrist" in said_to_people(demo, "doctor")


def test_a_swarm_that_runs_is_exported(demo: Programs, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    said = demo.answer("learnae", "export", file)
    assert (said["parameters"], len(said["classes"])) == (4295, 7)
    assert said["input"].startswith("30: ")
    assert said["output"].startswith("7: ")
    assert said["features"]["channels"] == ["ax", "ay", "az", "wx", "wy", "wz"]
    assert str(file) in said_to_people(demo, "export", str(file))
    assert file.stat().st_size > 4 * 4295


def test_tables_are_whole_where_they_are_not_for_a_terminal(demo: Programs) -> None:
    said = demo.run("learnae", "log", "-n", "1000").stdout
    assert "demo-1" in said
    assert "update" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["learnae", "watch", "--every", "-1", "--rounds", "2"],
        ["learnae", "log", "-n", "-1"],
        ["agent", "results", "-n", "-1"],
        ["trainer_node", "logs", "--name", "pump", "-n", "-1"],
        ["firmware_bridge", "monitor", "--count", "-1"],
    ],
)
def test_negative_numbers_are_wrong_usage(programs: Programs, arguments: list[str]) -> None:
    log_of_pump(programs, "said\n")
    done = programs.run(*arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode == USAGE


@pytest.mark.parametrize(
    ("file", "more", "status", "words"),
    [
        ("absent/model.safetensors", (), CONFIGURATION, ["absent/model.safetensors"]),
        pytest.param("model.keras", (), TRY_AGAIN, ["cannot write", "model.keras"], marks=needs_keras),
        ("model.onnx", (), CONFIGURATION, ["model.onnx", ".safetensors or .keras"]),
        ("model.safetensors", ("--peer", "nobody"), CONFIGURATION, ["no peer 'nobody'"]),
    ],
)
def test_an_export_that_cannot_be_is_refused(
    demo: Programs, tmp_path: Path, file: str, more: tuple[str, ...], status: int, words: list[str]
) -> None:
    (tmp_path / "model.keras").mkdir()
    assert_refused(demo.run("learnae", "export", tmp_path / file, *more), status, *words)


# -- exporting what a peer has learnt


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """A machine on which somebody tried the demo, and stopped it."""
    with Programs(tmp_path_factory.mktemp("rested")) as programs:
        process = programs.start("trainer_node", "start", "--demo")
        programs.wait_for_steps("demo-1", process, more_than=26)
        process.stop()
        return programs


def saved(programs: Programs) -> PeerState:
    return PeerState.from_bytes((programs.home / "peers" / "demo-1" / "state").read_bytes())


def swarm_of(programs: Programs) -> Path:
    return next((programs.home / "swarms").iterdir())


@pytest.mark.modules("safetensors")
def test_an_exported_estimate_is_the_peers_own(rested: Programs, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    file = tmp_path / "model.safetensors"
    manifest = open_manifest(swarm_of(rested))
    rested.answer("learnae", "export", file, "--peer", "demo-1")
    arrays = load_file(file)
    names = [f"layer.{index}.{part}" for index in (0, 2, 4) for part in ("kernel", "bias")]
    assert sorted(arrays) == sorted(names)
    assert arrays["layer.0.kernel"].shape == (30, 64)
    vector = np.concatenate([arrays[name].ravel() for name in names])
    assert vector.tobytes() == saved(rested).estimate.tobytes()
    with safe_open(file, "numpy") as opened:
        facts = opened.metadata()
    assert facts["swarm"] == str(manifest.swarm)
    assert json.loads(facts["model"]) == manifest.config
    assert json.loads(facts["classes"]) == list(manifest.classes)
    assert json.loads(facts["features"])["window"] == 100
    assert facts["input"] == card(manifest)["input"]


@pytest.mark.modules("safetensors")
def test_the_estimate_of_the_whole_swarm_is_what_an_observer_sees(rested: Programs, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    file = tmp_path / "model.safetensors"
    rested.answer("learnae", "export", file)
    observer = Observer(swarm_of(rested))
    observer.refresh()
    last = observer.estimate().vector[-7:]
    assert load_file(file)["layer.4.bias"].tolist() == last.tolist()
    assert last.any()


@pytest.mark.modules("flatbuffers")
def test_a_workstation_without_an_agent_writes_a_tflite_file(rested: Programs, tmp_path: Path) -> None:
    report = rested.answer("agent", "export", tmp_path / "model.tflite")
    assert report["parameters"] == 4295
    assert report["swarm"] == str(open_manifest(swarm_of(rested)).swarm)
    done = rested.run("agent", "export", tmp_path / "absent" / "model.tflite")
    assert_refused(done, CONFIGURATION, "there is no such directory")
    done = rested.run("agent", "export", tmp_path / "model.tflite", "--swarm", "nonesuch")
    assert_refused(done, CONFIGURATION, "nonesuch")


@needs_keras
def test_an_exported_keras_file_predicts_the_same(rested: Programs, tmp_path: Path) -> None:
    file, rows = tmp_path / "model.keras", np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    rested.answer("learnae", "export", file, "--peer", "demo-1")
    manifest = open_manifest(swarm_of(rested))
    found = import_keras().models.load_model(file, compile=False).predict(rows, verbose=0)
    assert found == pytest.approx(predict(manifest.model, saved(rested).estimate, rows), abs=1e-5)
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read(CARD_FILE)) == card(manifest)


WITHOUT_JAX = """
import sys
sys.modules["jax"] = None  # as if it were not installed
from learnae.cli.main import main
main(["export", sys.argv[1], "--peer", "demo-1"])
"""


@pytest.mark.modules("keras")
def test_an_export_to_keras_without_a_backend_is_refused(rested: Programs, tmp_path: Path) -> None:
    done = finish(sys.executable, "-c", WITHOUT_JAX, tmp_path / "model.keras", env=rested.environment())
    assert_refused(done, CONFIGURATION, "[trainer]")


# -- trainer-node


def test_a_trainer_with_nothing_configured_says_what_to_do_in_three_lines(programs: Programs) -> None:
    words = ("learnae swarm create", "learnae join", "trainer-node start --demo")
    for arguments in ([], ["--detach"]):
        done = programs.run("trainer_node", "start", *arguments)
        assert (done.returncode, done.stdout) == (CONFIGURATION, "")
        lines = done.stderr.splitlines()
        assert len(lines) == 3
        assert all(word in line for line, word in zip(lines, words, strict=True))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--data", "own.npz"), "takes no --data"),
        (("--swarm", "x", "--preset", "wrist"), "takes no --swarm and no --preset"),
        (("--name", "pump"), "use demo-1 to demo-8"),
    ],
)
def test_the_demo_takes_nothing_that_it_would_not_use(programs: Programs, flags: tuple[str, ...], words: str) -> None:
    assert_refused(programs.run("trainer_node", "start", "--demo", *flags), CONFIGURATION, words)
    assert not programs.home.exists()


def test_a_trainer_without_data_is_told_so(programs: Programs, small: Manifest) -> None:
    assert_refused(programs.run("trainer_node", "start"), CONFIGURATION, "no data to train on", "--data FILE")


def test_the_environment_alone_can_configure_a_trainer(programs: Programs, tmp_path: Path) -> None:
    made = create(programs, "--preset", "wrist", "--directory", tmp_path / "shared")
    environment = {"LEARNAE_SWARM__ID": made["directory"], "LEARNAE_DATA__FILE": str(tmp_path / "absent.npz")}
    assert_refused(programs.run("trainer_node", "start", environment=environment), CONFIGURATION, "absent.npz")


@pytest.mark.parametrize("content", [b"\x00\xff garbage", None])
def test_unreadable_data_is_named(programs: Programs, small: Manifest, tmp_path: Path, content: bytes | None) -> None:
    data = tmp_path / "data.npz"
    if content is not None:
        data.write_bytes(content)
    assert_refused(programs.run("trainer_node", "start", "--data", data), CONFIGURATION, f"cannot read {data}")


@pytest.mark.parametrize("verb", ["start", "status"])
def test_a_mistake_in_the_configuration_is_named(programs: Programs, joined: Path, verb: str) -> None:
    joined.write_text(joined.read_text().replace("[data]", "[dato]"))
    done = programs.run("trainer_node", verb, "--config", joined)
    assert_refused(done, CONFIGURATION, joined, "unknown section 'dato'", "did you mean 'data'")


def test_a_trainer_drains_and_goes_on_where_it_was(programs: Programs, joined: Path) -> None:
    steps = []
    for _ in range(2):
        process = programs.start("trainer_node", "start", "--config", joined)
        programs.wait_for_steps("pump", process, more_than=steps[-1] if steps else 0)
        assert "stopping: saving state" in process.stop()
        assert process.communicate()[0] == ""
        steps.append(programs.status("pump")["steps"])
    assert steps[0] < steps[1]


def test_a_second_process_of_one_name_is_refused(programs: Programs, joined: Path) -> None:
    first = programs.start("trainer_node", "start", "--config", joined)
    programs.wait_for_steps("pump", first)
    done = programs.run("trainer_node", "start", "--config", joined)
    assert_refused(done, TRY_AGAIN, f"in use by process {first.pid}", "choose another name")
    # before it reads its data: that may take minutes, or be wrong
    done = programs.run("trainer_node", "start", "--config", joined, "--data", "no-such-file.csv")
    assert_refused(done, TRY_AGAIN, f"in use by process {first.pid}")
    done = programs.run("trainer_node", "start", "--config", joined, "--detach")
    assert_refused(done, TRY_AGAIN, f"pump is running as process {first.pid}", "trainer-node stop")
    steps: int = programs.status("pump")["steps"]
    programs.wait_for_steps("pump", first, more_than=steps)  # the first one is none the worse


def test_sighup_reads_again_how_often_is_published(programs: Programs, joined: Path) -> None:
    config = joined.read_text()
    joined.write_text(config + "\n[train]\nsteps = 26\n[publish]\nevery = 3600\n")
    process = programs.start("trainer_node", "start", "--config", joined, pause=None)
    steps: int = programs.wait_for_steps("pump", process)["steps"]
    joined.write_text(config + "\n[train]\nsteps = 26\n[publish]\nevery = 0.05\n")
    process.send_signal(signal.SIGHUP)
    programs.wait_for_steps("pump", process, more_than=steps + 3 * 26)


def has_ended(pid: int) -> bool:
    """Whether there is no such process, or only what is left for its parent to read."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def detached(programs: Programs, config: Path) -> int:
    done = programs.run("trainer_node", "start", "--config", config, "--detach")
    assert done.returncode == 0, done.stderr
    found = re.match(r"running as process (\d+); see: trainer-node status --name pump", done.stdout)
    assert found is not None
    programs.adopt(int(found[1]))
    return int(found[1])


def test_a_trainer_in_the_background_is_found_read_and_stopped(programs: Programs, joined: Path) -> None:
    name = ("--name", "pump")
    before = programs.run("trainer_node", "status", *name)
    assert (before.returncode, before.stdout.split()[0]) == (STOPPED, "stopped")

    pid = detached(programs, joined)
    running = programs.run("trainer_node", "status", *name, "--json")
    said = json.loads(running.stdout)
    assert running.returncode == 0
    assert (said["state"], said["process"], said["name"]) == ("running", pid, "pump")
    assert os.getsid(pid) == pid  # it outlives this terminal
    wait_for(lambda: programs.status("pump").get("steps"), "it to train")

    stopped = programs.run("trainer_node", "stop", *name)
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    wait_for(lambda: has_ended(pid), "it to end")
    programs.disown(pid)
    after = programs.run("trainer_node", "status", *name, "--json")
    assert (after.returncode, json.loads(after.stdout)["state"]) == (STOPPED, "stopped")
    logs = programs.run("trainer_node", "logs", *name, "-n", "2")
    assert logs.returncode == 0
    assert "stopping: saving state" in logs.stdout.splitlines()[0]
    assert len(logs.stdout.splitlines()) == 2
    again = programs.run("trainer_node", "stop", *name)
    assert (again.returncode, again.stderr) == (0, "not running\n")
    assert programs.answer("trainer_node", "stop", *name) == {"stopped": False}


def test_a_trainer_that_cannot_start_in_the_background_says_why(programs: Programs, small: Manifest) -> None:
    arguments = ("start", "--name", "pump", "--data", "absent.npz")
    log = programs.home / "peers" / "pump" / "log"
    for status in (programs.run("trainer_node", *arguments).returncode, CONFIGURATION):
        done = programs.run("trainer_node", *arguments, "--detach")
        assert_refused(done, status, "the trainer did not start: cannot read absent.npz: No such file", f"see {log}")


def log_of_pump(programs: Programs, text: str) -> Path:
    log = programs.home / "peers" / "pump" / "log"
    log.parent.mkdir(parents=True)
    log.write_text(text)
    return log


def test_a_log_is_followed(programs: Programs) -> None:
    log = log_of_pump(programs, "first\nsecond\n")
    process = programs.start("trainer_node", "logs", "--name", "pump", "--follow", "-n", "1")
    assert process.line() == "second\n"
    with log.open("a") as file:
        file.write("third\n")
    assert process.line() == "third\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_there_is_no_log_of_what_never_ran(programs: Programs) -> None:
    assert_refused(programs.run("trainer_node", "logs", "--name", "pump"), TRY_AGAIN, "no log at", "--detach")


def test_a_status_that_cannot_be_read_is_unknown(programs: Programs) -> None:
    directory = programs.home / "peers" / "pump"
    directory.mkdir(parents=True)
    (directory / "status.json").write_text("{")
    done = programs.run("trainer_node", "status", "--name", "pump", "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (4, "unknown")


def test_what_is_damaged_is_named(programs: Programs, small: Manifest) -> None:
    directory = programs.home / "peers" / "pump"
    directory.mkdir(parents=True)
    for file in (directory / "state", directory / "status.json"):
        file.write_text("{")
    done = programs.run("learnae", "join", "--name", "pump")
    assert_refused(done, TRY_AGAIN, f"{directory / 'state'}: the saved state is damaged", "move the state file away")
    assert f"{directory / 'status.json'} is no JSON" in programs.run("trainer_node", "status", "--name", "pump").stdout
    manifest = programs.home / "swarms" / str(small.swarm) / "manifest.cbor"
    manifest.write_text("garbage")
    assert_refused(programs.run("learnae", "peers"), CONFIGURATION, f"{manifest}: not a manifest", "as it was made")


def test_a_status_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("[]")
    assert lifecycle.status(tmp_path)[0] == lifecycle.UNKNOWN


# -- learnae-agent


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(7), 300)
    np.savez(tmp_path / "motion.npz", signal=rng.normal(size=(2100, 6)) + label[:, None], label=label)
    return tmp_path / "motion.npz"


def agent_config(programs: Programs, file: Path, more: str = "") -> Path:
    programs.add_swarm(preset("wrist", 0))
    config = programs.config / "learnae" / "agent.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f"[source]\nfile = '{file}'\nspeed = 0\n{more}")
    return config


def test_check_tells_what_an_agent_would_learn_from(programs: Programs, recording: Path) -> None:
    agent_config(programs, recording)
    report = programs.answer("agent", "check")
    assert report["samples_now"] == 2100
    # of 300 samples a label 210 are trained on, which are 3 windows of 100 every 50, and 90 are too few for one
    assert (report["training_rows_now"], report["holdout_rows_now"], report["skipped_rows"]) == (21, 0, 0)
    assert report["state"] == str(programs.home / "peers" / "agent")
    assert not (programs.home / "peers" / "agent" / "state").exists()
    shown = programs.run("agent", "check").stdout
    assert "samples_now: 2100" in shown
    assert "samples: 2100" in shown
    found = {"samples": 2100, "dated": False, "seconds": 41.98, "labelled": 2100, "unlabelled": 0}
    assert report["sources"] == {"source": {"state": "recording", **found}}


def test_an_agent_that_reads_only_recordings_has_nothing_to_label(programs: Programs, recording: Path) -> None:
    agent_config(programs, recording)
    words = ["reads only recordings", str(recording), "column label"]
    assert_refused(programs.run("agent", "label", "PEN"), CONFIGURATION, "learnae-agent: ", *words)


@pytest.mark.parametrize(
    ("verb", "more", "words"),
    [
        ("check", "hold_out = 0.2\n", ["[source]", "unknown key 'hold_out'", "did you mean 'holdout'"]),
        ("check", "holdout = 1.5\n", ["source.holdout is 1.5"]),
        ("run", "[trian]\nstop_when = 1\n", ["unknown section 'trian'", "did you mean 'train'"]),
    ],
)
def test_a_mistake_in_an_agents_configuration_is_named(
    programs: Programs, recording: Path, verb: str, more: str, words: list[str]
) -> None:
    agent_config(programs, recording, more)
    assert_refused(programs.run("agent", verb), CONFIGURATION, "learnae-agent: ", *words)


def test_an_agent_without_a_source_is_told_so(programs: Programs) -> None:
    create(programs)
    assert_refused(programs.run("agent", "check"), CONFIGURATION, "no source of samples", "set source.file")


def test_the_status_of_a_check_is_that_of_the_sources(programs: Programs) -> None:
    create(programs, "--preset", "thermal")
    programs.answer("learnae", "join", "--role", "agent")
    environment = {"LEARNAE_SOURCE__KIND": "hwmon", "LEARNAE_SOURCE__ROOT": str(programs.root)}
    done = programs.run("agent", "check", environment=environment)
    assert (done.returncode, "state: failing" in done.stdout, "no sensors" in done.stdout) == (1, True, True)


def test_what_needs_no_label_cannot_be_labelled(programs: Programs) -> None:
    create(programs, "--preset", "thermal")
    assert_refused(programs.run("agent", "label", "warm"), CONFIGURATION, "'thermal' learns without labels")


def test_an_agent_without_results_says_so(programs: Programs, recording: Path) -> None:
    agent_config(programs, recording)
    done = programs.run("agent", "results")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no results yet" in done.stderr


def test_an_agent_with_unreadable_data_names_it(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "motion.npz").write_bytes(b"garbage")
    agent_config(programs, tmp_path / "motion.npz")
    assert_refused(programs.run("agent", "run"), CONFIGURATION, f"cannot read {tmp_path / 'motion.npz'}")


def test_an_agent_cannot_join_a_swarm_of_trainers_only(programs: Programs, small: Manifest) -> None:
    assert_refused(programs.run("agent", "check"), CONFIGURATION, "defines no features")
    done = programs.run("learnae", "join", "--role", "agent")
    assert_refused(done, CONFIGURATION, "defines no features", "only trainers")
    assert not (programs.home / "peers").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_trains_and_drains(programs: Programs, recording: Path, number: signal.Signals) -> None:
    agent_config(programs, recording)
    process = programs.start("agent", "run")
    programs.wait_for_steps("agent", process)
    process.stop(number)
    assert process.communicate()[0] == ""
    status = programs.status("agent")
    assert (status["role"], status["problems"]) == ("agent", {})
    assert [view["name"] for view in programs.answer("learnae", "peers")] == ["agent"]


def test_under_journald_lines_carry_their_priority(programs: Programs, recording: Path) -> None:
    agent_config(programs, recording)
    process = programs.start("agent", "run", environment={"JOURNAL_STREAM": "8:1"})
    programs.wait_for_steps("agent", process)
    lines = process.stop().splitlines()
    assert [line for line in lines if not re.match("<[2-7]>", line)] == []
    assert "<6>stopping: saving state" in lines


# -- all programs


def test_boards_are_listed(programs: Programs) -> None:
    done = programs.run("firmware_bridge", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    for name, device in json.loads(done.stdout).items():
        assert find_port(name) == device


FIRST = {"learnae": "learnae join", "agent": "learnae-agent run", "trainer_node": "start", "firmware_bridge": "check"}


@pytest.mark.parametrize(("module", "first"), FIRST.items())
def test_every_program_tells_its_version_and_what_it_is_for(programs: Programs, module: str, first: str) -> None:
    assert programs.run(module, "--version").stdout.strip() == learnae.__version__
    done = programs.run(module)
    assert first in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    narrow = programs.run_process(module, "--help", environment={"COLUMNS": "60", "PYTHONIOENCODING": "ascii"})
    assert (narrow.returncode, narrow.stderr) == (0, "")
    assert max(map(len, narrow.stdout.partition("first steps")[0].splitlines())) <= 60


def in_shell(programs: Programs, command: str) -> tuple[int, str, str]:
    environment = programs.environment()
    environment.pop("PYTHONUNBUFFERED", None)  # as users have it: what is printed may be written at the very end
    done = finish("bash", "-o", "pipefail", "-c", f"{sys.executable} -m {command}", env=environment)
    return done.returncode, done.stdout.strip(), done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(demo: Programs) -> None:
    assert in_shell(demo, "learnae log -n 100000 --json | head -n 1") == (0, "[", "")
    watched = in_shell(demo, "learnae watch --every 0.01 --swarm wrist-demo | grep -o -m 1 wrist-demo")
    assert watched == (0, "wrist-demo", "")
    log_of_pump(demo, "said\n" * 100_000)
    assert in_shell(demo, "trainer_node logs --name pump -n 100000 | head -n 1") == (0, "said", "")


@pytest.mark.parametrize(
    "command", ["learnae peers", "agent results --json", "trainer_node logs --name pump", "firmware_bridge list --json"]
)
def test_a_full_disk_and_a_closed_output_are_no_tracebacks(programs: Programs, small: Manifest, command: str) -> None:
    log_of_pump(programs, "said\n")
    status, _, said = in_shell(programs, f"{command} > /dev/full")
    why = "cannot write: No space left on device; free some space where it goes\n"
    assert (status, said.partition(": ")[2]) == (TRY_AGAIN, why)
    assert in_shell(programs, f"{command} >&-") == (0, "", "")


WITHOUT_TRIALS = """
from learnae.cli.commands.look import doctor
from learnae.cli.main import main
doctor.try_parts = lambda names: dict.fromkeys(names, "")  # seconds of JAX each time
main(["doctor"])
"""


@pytest.mark.parametrize(
    ("place", "commands"),
    [
        ("home", {"learnae peers": 75, "learnae doctor": 1, "trainer_node stop --name pump": 75}),
        ("home/swarms", {"learnae doctor": 1, "agent check": 75}),
        ("home/swarms/*", {"learnae peers": 78, "learnae swarm create --preset wrist": 0}),
        ("home/peers", {"learnae blocks --gc": 75, "learnae doctor": 1, "trainer_node start --name pump --detach": 75}),
        ("config/learnae", {"learnae doctor": 1, "trainer_node status": 78}),
    ],
)
def test_what_one_may_not_read_is_said(
    programs: Programs, small: Manifest, place: str, commands: dict[str, int]
) -> None:
    (programs.home / "peers" / "pump").mkdir(parents=True)
    (programs.config / "learnae").mkdir(parents=True)
    (closed,) = programs.root.glob(place)
    closed.chmod(0)
    root = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    tries_nothing = [sys.executable, "-c", WITHOUT_TRIALS]
    try:
        for command, status in commands.items():
            program = tries_nothing if command == "learnae doctor" else [sys.executable, "-m", *command.split()]
            done = finish(*root, *program, env=programs.environment())
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode == status, done.stderr
            assert ("Permission denied" in done.stdout + done.stderr) == (status != 0)
    finally:
        closed.chmod(0o700)


def test_a_name_that_is_no_text_is_written_as_it_can_be(programs: Programs, small: Manifest, tmp_path: Path) -> None:
    data = os.fsdecode(bytes(tmp_path) + b"/\xff.npz")
    small_data(Path(data))
    done = programs.run("learnae", "join", "--data", data)
    assert_refused(done, CONFIGURATION, "is not UTF-8", "rename it")
    assert not (programs.home / "peers").exists()
    environment = {"PYTHONIOENCODING": "utf-8:strict"}
    done = programs.run_process("trainer_node", "start", "--data", f"{data}.txt", environment=environment)
    assert_refused(done, CONFIGURATION, r"\udcff.npz.txt")
