"""Generates calls of all programs as people and scripts get them wrong: flags, paths, files, configurations, state.

A call is made by its number alone: the same number is the same call.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import random
import shutil
import signal
import traceback
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
import programs
import typer
from programs import Finished, Programs

from agent import cli as agent_cli
from agent.config import AgentConfig
from firmware_bridge import cli as bridge_cli
from firmware_bridge.config import BridgeConfig
from learnae.cli import main as learnae_cli
from learnae.errors import EncodingError
from learnae.ipld import dagcbor
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config, preset
from trainer_node import cli as trainer_cli
from trainer_node.config import TrainerConfig

STATUSES = {0, 1, 2, 3, 4, 75, 78, 130}
ROOT_NAME = "a b\nü %s"  # where everything is: paths are what users have
_ENDLESS = {"run", "start", "watch", "monitor", "logs"}  # these may go on until they are told to stop
_ENDLESS_SECONDS, _OTHER_SECONDS = 0.4, 60.0
_NEVER = {
    "--detach",
    "--root",
    "--help",
    "-h",
}  # leaves processes; is given by hand, as / is its default; is no mistake
_CONFIGS = {"trainer": TrainerConfig, "agent": AgentConfig, "bridge": BridgeConfig}
_ROLES = {"learnae": "trainer", "agent": "agent", "trainer_node": "trainer", "firmware_bridge": "bridge"}
_LATIN = "a,b,y\n1,2,0\n3,4,1\ncaf\xe9,5,0\n".encode("latin-1")
_JUNK = (
    "", " ", "-1", "0", "1", "nan", "inf", "1e400", "9" * 30, "0x10", "x", "é", "a\nb", "\udcff", "../x",
    "a" * 300, "a" * 5000,
    "%s{0}[red]", "best", "v1", "v" + "9" * 20, "mqtt://", "mqtt://[::1", "mqtt://h:99999", "mqtt://127.0.0.1:1",
    "http://",
    "http://127.0.0.1:1", "http://[", "bafy", "true", "null", "[]", "a,b", "a,a", ",", "a,,b", "~",
    "~nobody-here/x", "\ttab",
)  # fmt: skip
_TOML = (
    '""', '"x"', "0", "-1", "1", "1e400", "nan", "-inf", "9" * 25, "true", "[]", "{}", "[1, 'a']", '"a\\nb"',
    '"\\u0000"', '"é"', "0.5",
    "1979-05-27", '"127.0.0.1:1"', '"mqtt://127.0.0.1:1"', '"http://127.0.0.1:1"', '"mqtt://["', '"small"',
    f'"{"a" * 300}"',
    "{a = 1}", '{"a b" = "c"}', '["a"]', "07:32:00", '"~"', '"~nobody-here/x"', '"../.."', '"numpy"', '"json"',
    '"hwmon"', '"iio"',
    '"mqtt"', '"bridge"',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """A program's module, its arguments, and the variables of its environment."""

    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_endless(self) -> bool:
        """Return True if it may run until it is stopped."""
        return bool(_ENDLESS & set(self.arguments[:1]))


@dataclass(frozen=True, slots=True)
class _Verb:
    module: str
    words: tuple[str, ...]
    flags: tuple[str, ...]  # without a value
    options: tuple[str, ...]  # with one
    positionals: tuple[str, ...]


class OutOfTime(BaseException):
    """The call has been told to stop."""


class Template:
    """A home with a swarm, a trainer that has trained, and its configuration; copied for every call."""

    def __init__(self, root: Path) -> None:
        """Make it below ``root``, which does not exist yet."""
        root.mkdir(parents=True)
        self.root = root
        with Programs(root) as programs:
            small = Manifest("small", dense_config(2, (4,), 2, "softmax"), "sparse_categorical_crossentropy")
            self.swarm = programs.add_swarm(small)
            _write_files(root, small)
            call = Call("learnae", ("join", "small", "--data", "data.npz", "--name", "pump"))
            assert programs.run(call.module, *call.arguments).returncode == 0
            _, error = make(programs, Call("trainer_node", ("start", "--name", "pump")), 2.0)
            assert not error, error
            assert (programs.home / "peers" / "pump" / "state").exists()

    def copy(self, root: Path) -> Programs:
        """Return a machine at ``root`` that is as this one."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.root, root, symlinks=True)
        os.mkfifo(root / "pipe")
        return Programs(root)


def _write_files(root: Path, small: Manifest) -> None:
    """Write what may be given as a file: right ones, and every kind of wrong ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    np.savez(root / "data.npz", x=x, y=(x.sum(axis=1) > 0).astype(int))
    right = (root / "data.npz").read_bytes()
    table = b"a,b,label\n" + b"".join(b"%f,%f,%d\n" % (*row, row.sum() > 0) for row in x)
    model = json.dumps(dense_config(2, (4,), 2, "softmax")).encode()
    np.savez(root / "objects.npz", x=np.array([{}, []], object), y=np.zeros(2))
    np.savez(root / "shapes.npz", x=np.zeros((3, 7, 2)), y=np.zeros(2))
    files = {
        "data.csv": table, "data.csv.gz": gzip.compress(table), "cut.csv.gz": gzip.compress(table)[:40],
        "latin.csv": _LATIN,
        "header.csv": b"a,b,label\n", "bom.csv": b"\xef\xbb\xbf" + table, "cut.npz": right[:100], "wrong.npz": table,
        "wrong.parquet": table, "wrong.csv": bytes(range(256)) * 9, "empty.csv": b"", "empty.npz": b"",
        "empty.parquet": b"",
        "model.json": model, "cut.json": model[:50], "deep.json": b"[" * 100_000, "list.json": b"[1]",
        "nan.json": b"NaN",
        "wrong.keras": b"PK\x03\x04" + bytes(99), "empty.keras": b"", "manifest.cbor": small.to_bytes(),
        "wrist.cbor": preset("wrist", 0).to_bytes(),
        "cut.cbor": small.to_bytes()[:-9], "wrong.cbor": b"\xa1\x61a\x01",
        "a.toml": b"", "wrong.toml": b"\xff[", "key": b"x" * 32, "é \n.csv": table, "x.safetensors": b"x",
        "x.tflite": b"TFL3",
    }  # fmt: skip
    for name, content in files.items():
        (root / name).write_bytes(content)
    (root / "directory").mkdir()
    (root / "directory.npz").mkdir()
    (root / "loop.csv").symlink_to("loop.csv")
    (root / "dangling.npz").symlink_to("nowhere")


_NAMES = (
    "data.npz", "data.csv", "data.csv.gz", "cut.csv.gz", "latin.csv", "header.csv", "bom.csv", "cut.npz",
    "wrong.npz", "objects.npz",
    "shapes.npz", "wrong.parquet", "wrong.csv", "empty.csv", "empty.npz", "empty.parquet", "model.json",
    "cut.json", "deep.json",
    "list.json", "nan.json", "wrong.keras", "empty.keras", "manifest.cbor", "wrist.cbor", "cut.cbor", "wrong.cbor",
    "a.toml",
    "wrong.toml", "key", "é \n.csv", "x.safetensors", "x.tflite", "directory", "directory.npz", "loop.csv",
    "dangling.npz", "pipe",
    "nowhere.csv", "data.npz/x", "nowhere/x.npz", "new.safetensors", "new.keras", "new.tflite", "/proc/nowhere/x",
    "x\udcff.npz", "-",
)  # fmt: skip
_GOOD = {
    "swarm": ("small", "own.cbor", "own.cbor", "manifest.cbor", "wrist.cbor", "home/swarms"),
    "--swarm": ("small", "manifest.cbor", "home/swarms"),
    "--name": ("pump", "small", "new"),
    "--peer": ("pump",),
    "--version": ("best", "v1"),
    "version": ("best", "v1"),
    "--preset": ("wrist", "thermal", "hepmass", "wrist-cnn"),
    "--model": ("model.json", "own.json", "own.json"),
    "--features": ("own.json", "wrist", "list.json", "thermal"),
    "--loss": ("mse", "sparse_categorical_crossentropy"),
    "--data": ("own.csv", "data.npz", "data.csv", "data.csv.gz"),
    "--config": ("own.toml",),
    "--role": ("agent", "trainer"),
    "file": ("new.safetensors", "new.keras", "new.tflite"),
    "--rounds": ("1",),
    "--count": ("3",),
    "what": ("data.npz", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"),
}


def calls(number: int) -> Call:
    """Return the call of this number."""
    rng = random.Random(f"wrong call {number}")
    verb = _VERBS[number % len(_VERBS)]
    words = [*verb.words]
    if verb.words == ("install",):
        words.append(f"--root={rng.choice(['image', 'directory', 'data.npz', 'data.npz/x', 'é n'])}")
    if verb.words == ("watch",):
        words += ["--rounds", "1"]
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        if verb.options and rng.random() < 0.7:
            name = rng.choice(verb.options)
            words += [name, _value(rng, name)] if rng.random() < 0.95 else [name]
        elif verb.flags:
            words.append(rng.choice(verb.flags))
    for name in verb.positionals:
        if rng.random() < 0.8:
            words.append(_value(rng, name))
    if rng.random() < 0.1:
        words.insert(
            rng.randint(len(verb.words), len(words)), rng.choice(("--no-such", "-z", "--=", "--json=1", *_JUNK))
        )
    words = [word.replace("\0", "") for word in words]
    environment = {}
    if rng.random() < 0.15:
        section, key = _setting(rng, _ROLES[verb.module])
        environment[f"LEARNAE_{section}__{key}".upper()] = rng.choice(_JUNK)
    return Call(verb.module, tuple(words), environment)


def spoil(programs: Programs, number: int) -> None:
    """Write configurations, and damage a file, as the call of this number finds them."""
    rng = random.Random(f"wrong files {number}")
    role = _ROLES[_VERBS[number % len(_VERBS)].module]
    (programs.config / "learnae").mkdir(parents=True, exist_ok=True)
    if rng.random() < 0.6:
        (programs.root / "own.toml").write_bytes(_config(rng, role))
    model = json.loads((programs.root / "model.json").read_text())
    (programs.root / "own.json").write_text(json.dumps(_mutated(rng, model)))
    fields = dagcbor.decode((programs.root / "manifest.cbor").read_bytes())
    with suppress(EncodingError):
        (programs.root / "own.cbor").write_bytes(dagcbor.encode(_mutated(rng, fields)))
    (programs.root / "own.csv").write_text("".join(f"{_row(rng)}\n" for _ in range(rng.randrange(30))))
    if rng.random() < 0.4:
        (programs.config / "learnae" / f"{role}.toml").write_bytes(_config(rng, role))
    if rng.random() < 0.3:
        files = sorted(path for path in programs.root.rglob("home/**/*") if path.is_file())
        _damage(rng, rng.choice(files))


def make(where: Programs, call: Call, seconds: float = 0.0) -> tuple[Finished | None, str]:
    """Make a call in this process; return what came of it, and what is wrong with that: a traceback, a hang."""
    limit = seconds or (_ENDLESS_SECONDS if call.is_endless else _OTHER_SECONDS)
    environment = {"HOME": str(where.root), **call.environment}
    done: Finished | None = None
    try:
        with (
            _told_to_stop_after(limit),
            mock.patch.object(programs, "tried", lambda names: dict.fromkeys(names, "")),  # seconds of JAX otherwise
        ):
            done = where.run(call.module, *call.arguments, environment=environment)
    except OutOfTime:
        return None, "" if call.is_endless else f"it did not end in {limit:g} s"
    except BaseException:  # noqa: BLE001 - whatever it is, it would be a traceback
        return None, traceback.format_exc()
    if "Traceback" in done.stderr:
        return done, done.stderr
    if done.returncode not in STATUSES:
        return done, f"exit status {done.returncode!r}: {done.stderr}"
    if done.returncode and not done.stderr + done.stdout:
        return done, f"exit status {done.returncode} without a word"
    return done, ""


@contextmanager
def _told_to_stop_after(seconds: float) -> Iterator[None]:
    """SIGINT after so long, which a service handles; again and again, for what does not."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    def remind(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, stop), signal.signal(signal.SIGALRM, remind)
    signal.setitimer(signal.ITIMER_REAL, seconds, 20.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGALRM, before[1])


def _value(rng: random.Random, name: str) -> str:
    if rng.random() < 0.55 and name in _GOOD:
        return rng.choice(_GOOD[name])
    return rng.choice(_NAMES if rng.random() < 0.5 else _JUNK)


def _setting(rng: random.Random, role: str) -> tuple[str, str]:
    kinds = typing.get_type_hints(_CONFIGS[role])
    section = rng.choice(sorted(kinds))
    kind = kinds[section]
    if not dataclasses.is_dataclass(kind):
        return section, "a"
    return section, rng.choice([each.name for each in dataclasses.fields(kind)])


def _config(rng: random.Random, role: str) -> bytes:
    """Return a configuration with some settings that are no good, or damaged."""
    sections: dict[str, dict[str, str]] = {}
    if rng.random() < 0.7:
        sections |= {"swarm": {"id": '"small"'}, "peer": {"name": '"pump"'}}
        if role == "trainer":
            sections["data"] = {"file": rng.choice(('"own.csv"', '"data.npz"', '"data.csv"', '"nowhere.csv"'))}
        if role == "agent":
            kind = rng.choice(("replay", "hwmon", "iio", "mqtt", "bridge"))
            own = {
                "replay": {"file": rng.choice(('"data.npz"', '"own.csv"')), "speed": "0"},
                "mqtt": {"topic": '"a"', "broker": '"mqtt://127.0.0.1:1"'},
            }
            sections["source"] = {"kind": f'"{kind}"', **own.get(kind, {})}
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        section, key = _setting(rng, role)
        value = json.dumps(rng.choice(_NAMES)) if rng.random() < 0.2 else rng.choice(_TOML)
        sections.setdefault(section, {})[key] = value
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for name, own in sections.items()
    )
    data = text.encode(errors="surrogateescape")
    if rng.random() < 0.1:
        data = rng.choice((b"\xef\xbb\xbf" + data, data[: len(data) // 2], data + b"\xff", data.replace(b"\n", b"\r")))
    return data


def _mutated(rng: random.Random, value: Any) -> Any:
    """Return ``value`` with something in it replaced, left out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        return {**value, key: _mutated(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        return [*value[:place], _mutated(rng, value[place]), *value[place + rng.choice((0, 1, 1, 1)) :]]
    odd = (
        None,
        True,
        -1,
        0,
        1 << 62,
        1.5,
        float("nan"),
        "",
        "x",
        "relu",
        [],
        {},
        [[]],
        {"a": 1},
        "é" * 99,
        [value] * 2,
    )
    return rng.choice(odd)


def _row(rng: random.Random) -> str:
    cells = (
        "1",
        "0.5",
        "-2e3",
        "x",
        "",
        "nan",
        "inf",
        '"',
        '"a,b"',
        "1,5",
        "2026-01-01T00:00:00Z",
        "true",
        "label",
        "\ufeff",
        " 1 ",
    )
    return ",".join(rng.choice(cells) for _ in range(rng.choice((3, 3, 3, 1, 4))))


def _damage(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.randrange(6)
    if kind == 0:
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif kind == 1 and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    elif kind == 2:
        path.write_bytes(
            rng.choice((b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"time": "x"}', b'{"steps": []}'))
        )
    elif kind == 3:
        path.unlink()
        path.mkdir()
    elif kind == 4:
        path.unlink()
    else:
        path.write_bytes(rng.randbytes(rng.randrange(5000)))


def _verbs() -> Iterator[_Verb]:
    for module, parser in (
        ("learnae", learnae_cli._parser()), ("agent", agent_cli._parser()), ("firmware_bridge", bridge_cli._parser())
    ):  # fmt: skip
        yield from _of_parser(module, parser, ())
    for name, command in sorted(typer.main.get_command(trainer_cli.app).commands.items()):  # type: ignore[attr-defined]
        own = [parameter for parameter in command.params if not _NEVER & set(parameter.opts)]
        yield _Verb(
            "trainer_node",
            (name,),
            tuple(each.opts[0] for each in own if each.param_type_name == "option" and each.is_flag),
            tuple(each.opts[0] for each in own if each.param_type_name == "option" and not each.is_flag),
            tuple(str(each.name) for each in own if each.param_type_name == "argument"),
        )


def _of_parser(module: str, parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[_Verb]:
    actions = parser._actions
    below = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for name, inner in action.choices.items():
            yield from _of_parser(module, inner, (*words, name))
    if not below:
        named = [each for each in actions if each.option_strings and not _NEVER & set(each.option_strings)]
        flags = tuple(each.option_strings[-1] for each in named if each.nargs == 0)
        options = tuple(each.option_strings[-1] for each in named if each.nargs != 0)
        yield _Verb(module, words, flags, options, tuple(each.dest for each in actions if not each.option_strings))


_VERBS: Sequence[_Verb] = tuple(_verbs())
VERBS: Sequence[tuple[str, tuple[str, ...]]] = tuple((verb.module, verb.words) for verb in _VERBS)
