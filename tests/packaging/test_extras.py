"""Extras one after another in one fresh environment: each part works, or one line says what to type, and that mends it.

Nightly: every ordered pair on every Python that is at hand. Else the pair whose parts want different NumPys.
"""

import itertools
import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nightly import how_many
from programs import Child, Finished, assert_refused, clean_environment, finish, succeed, wait_for

ROOT = Path(__file__).parents[2]
EXTRAS = ("trainer", "agent", "agent-litert", "demo")
PAIRS = [pair for pair in itertools.product(EXTRAS, repeat=2) if pair[0] != pair[1]][: how_many(1, 12)]
VERSIONS = ["3.11", "3.12", "3.13"][: how_many(1, 3)]
HEAVY = {"jax": "trainer", "keras": "trainer", "tflite-runtime": "agent", "ai-edge-litert": "agent"}


class Environment:
    """A fresh virtual environment, made by uv where that is here, and a home."""

    def __init__(self, root: Path, version: str) -> None:
        found = finish(ROOT / "scripts" / "find-python", version)
        if found.returncode:
            pytest.skip(f"Python {version} is not here")
        self.root, self.python = root, root / "venv" / "bin" / "python"
        self._uv = shutil.which("uv")
        maker = [self._uv, "venv", "--quiet", "--python"] if self._uv else []
        interpreter = found.stdout.strip()
        self._run(*(maker or []), interpreter, *([] if maker else ["-m", "venv"]), root / "venv")

    def install(self, *words: object) -> None:
        """Install with uv, or with the environment's own pip."""
        tool = (
            [self._uv, "pip", "install", "--python", self.python] if self._uv else [self.python, "-m", "pip", "install"]
        )
        self._run(*tool, "--quiet", *words)

    def type_in(self, line: str) -> None:
        """Do what a remedy says."""
        self._run(*shlex.split(line))

    def finish(self, program: str, *arguments: object) -> Finished:
        """Run one of the programs that were installed."""
        return finish(self.python.parent / program, *arguments, env=self._variables(), cwd=self.root)

    def can_import(self, module: str) -> bool:
        """Whether it has this module."""
        return finish(self.python, "-c", f"import {module}", env=self._variables(), cwd=self.root).returncode == 0

    def start(self, program: str, *arguments: str, **variables: str) -> Child:
        """Start one of the programs."""
        command = [str(self.python.parent / program), *arguments]
        return Child(command, self.root / "said" / program, {**self._variables(), **variables}, self.root)

    def _run(self, *command: object) -> None:
        succeed(*command, env=self._variables(), cwd=self.root)

    def _variables(self) -> dict[str, str]:
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        home = {"LEARNAE_HOME": str(self.root / "home"), "XDG_CONFIG_HOME": str(self.root / "config")}
        return clean_environment(PYTHONPATH="", PATH=path, **home)


@pytest.fixture
def environment(tmp_path: Path, version: str) -> Iterator[Environment]:
    yield Environment(tmp_path, version)
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)  # a gigabyte each


def diagnose(environment: Environment) -> dict[str, dict[str, Any]]:
    """What the doctor says of the parts that extras disagree about."""
    done = environment.finish("learnae", "doctor", "--json")
    found = {finding["thing"]: finding for finding in json.loads(done.stdout)}
    return {name: found[name] for name in HEAVY if name in found and found[name]["state"] != "missing"}


def train(environment: Environment, engine: str) -> Finished:
    """Start a trainer of the demo, and stop it when it has trained."""
    process = environment.start("trainer-node", "start", "--demo", LEARNAE_TRAIN__ENGINE=engine)
    try:
        wait_for(lambda: process.poll() is not None or ": accuracy " in process.log, "the trainer to train", 300)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    finally:
        process.close()
    return Finished(process.args, process.returncode, out, process.log)


def check(environment: Environment) -> set[str]:
    """Whatever the doctor finds well works; the rest is refused in one line. Returns the remedies."""
    findings = diagnose(environment)
    trainer = {findings[name]["state"] for name in ("jax", "keras") if name in findings}
    if environment.can_import("typer"):
        if not (environment.root / "home").exists():
            assert train(environment, "numpy").returncode == 0  # and now there is a model
        for done in (
            train(environment, "auto"),
            environment.finish("learnae", "export", "m.keras", "--swarm", "wrist-demo"),
        )[0 if trainer else 2 :]:
            if "broken" in trainer:
                assert_refused(done, 78, "with NumPy", "install", "[trainer")
            else:
                assert done.returncode == 0, done.stderr
        if findings.keys() & {"tflite-runtime", "ai-edge-litert"}:
            done = environment.finish("learnae-agent", "export", "m.tflite", "--swarm", "wrist-demo")
            assert done.returncode == 0, done.stderr
    return {finding["remedy"] for finding in findings.values() if finding["state"] == "broken"}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_extras_in_turn(environment: Environment, wheel: Path, first: str, second: str) -> None:
    for extra in (first, second):
        environment.install(f"{wheel}[{extra}]")
    remedies = check(environment)
    assert len(remedies) <= 1, "one line mends all"
    for remedy in remedies:
        environment.type_in(remedy)
        assert check(environment) == set()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_wheel_alone_is_whole_and_says_what_it_lacks(environment: Environment, wheel: Path, tmp_path: Path) -> None:
    environment.install(wheel)
    assert environment.finish("learnae", "swarm", "create", "--preset", "wrist").returncode == 0
    assert environment.finish("learnae", "doctor").returncode == 0
    for program, arguments, extra in (
        ("trainer-node", ["start", "--demo"], "trainer"),
        ("firmware-bridge", ["check", "--port", "/dev/null"], "serial"),
        ("learnae-agent", ["install", "--trainer", "--root", tmp_path / "image"], "trainer"),
        ("learnae-agent", ["install", "--bridge", "pump", "--root", tmp_path / "image"], "serial"),
    ):
        assert_refused(environment.finish(program, *arguments), 78, "not installed", f"[{extra}]")
    assert not (tmp_path / "image").exists()
    done = environment.finish("learnae-agent", "install", "garden", "--root", tmp_path / "image")
    assert (done.returncode, done.stderr.startswith("the agent has to do without")) == (0, True), done.stderr
    assert (tmp_path / "image/usr/local/lib/systemd/system/learnae-agent@.service").is_file()
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for folder in ("firmware_bridge/firmware", "learnae/data"):
        shipped = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.*") if path.is_file()}
        assert shipped
        assert all((packages / path).is_file() for path in shipped)
