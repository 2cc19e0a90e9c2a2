"""A program's own loop among real processes: beside stock trainers, killed and started again, and what leaves it."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from canary import leaks, leaks_in, patterns, private_readings
from programs import NO_FLOORS, Programs, clean_environment
from test_canary import blocks_in

import learnae
from learnae.swarm.directory import create_swarm, find_swarm
from learnae.swarm.manifest import Manifest
from learnae.swarm.presets import dense_config
from learnae.system.paths import home

CONFIGURATION = 78


@pytest.fixture(autouse=True)
def _home(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAE_HOME", str(programs.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(programs.config))


def parameters_file(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "model.npz", **(arrays or {"w": np.ones((2, 3)), "seen": np.array(3)}))
    return folder / "model.npz"


def test_a_swarm_of_parameters_is_made_and_trainers_and_agents_say_that_it_is_not_theirs(
    programs: Programs, tmp_path: Path
) -> None:
    file = parameters_file(tmp_path)
    said = programs.run("learnae", "swarm", "create", "--parameters", file, "--membership", "open")
    assert said.returncode == 0, said.stderr
    assert "6 parameters" in said.stdout
    assert "none, and no trainers: members' own programs train it" in said.stdout
    manifest = find_swarm("model").manifest
    assert (manifest.merge.rule, manifest.codec.delta, manifest.name) == ("trimmed", "q8", "model")
    refusal = (
        "of swarm 'model' only the parameters are known: members' own programs train it; join it with learnae.join"
    )
    for role in ("trainer", "agent"):
        refused = programs.run("learnae", "join", "--role", role, "--accept", "foreign_start")
        assert (refused.returncode, refusal in refused.stderr) == (CONFIGURATION, True), refused.stderr
        config = tmp_path / f"{role}.toml"
        source = "data" if role == "trainer" else "source"
        config.write_text(f'[swarm]\nid = "{manifest.swarm}"\n[{source}]\nfile = "{file}"\n')
        started = ("trainer_node", "start") if role == "trainer" else ("agent", "run")
        refused = programs.run(*started, "--config", config)
        assert (refused.returncode, refusal in refused.stderr) == (CONFIGURATION, True), refused.stderr
    for command in (("audit",), ("simulate", "--attack", "zeros", "--swarm", "model")):
        assert "only the parameters are known" in programs.run("learnae", *command).stderr


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: folder / "none.npz", "cannot read"),
        (lambda folder: folder, "cannot read"),
        (lambda folder: _written(folder, b"PK\x03\x04 no archive"), "no .npz file"),
        (lambda folder: _written(folder, b""), "no .npz file"),
        (lambda folder: parameters_file(folder, w=np.array([{}], object)), "no .npz file"),
        (lambda folder: parameters_file(folder, n=np.array(1)), "no parameter of floats"),
        (lambda folder: parameters_file(folder, w=np.array([np.nan])), "cannot be used"),
        (lambda folder: parameters_file(folder, **{"w" * 300: np.ones(1)}), "256"),
    ],
)
def test_files_that_are_no_parameters_are_refused(programs: Programs, tmp_path: Path, make: Any, why: str) -> None:
    refused = programs.run("learnae", "swarm", "create", "--parameters", make(tmp_path))
    assert (refused.returncode, why in refused.stderr) == (CONFIGURATION, True), refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("flags", [("--loss", "huber"), ("--steps", 3), ("--epsilon", 4), ("--classes", "a,b")])
def test_how_it_is_trained_is_no_matter_of_the_swarm(programs: Programs, tmp_path: Path, flags: Any) -> None:
    refused = programs.run("learnae", "swarm", "create", "--parameters", parameters_file(tmp_path), *flags)
    assert (refused.returncode, "--parameters and " in refused.stderr) == (CONFIGURATION, True), refused.stderr


def _written(folder: Path, data: bytes) -> Path:
    (folder / "model.npz").write_bytes(data)
    return folder / "model.npz"


def test_a_loop_that_is_killed_goes_on_from_what_it_has_saved(programs: Programs) -> None:
    """SIGKILL at any moment, twice: the chain of messages goes on, and so do the weights."""
    swarm = learnae.create_swarm("mine", parameters={"w": np.zeros(3)}, membership="open")
    loop = textwrap.dedent("""
        import sys, learnae
        with learnae.join(sys.argv[1], name="loop", settings={"publish.every": 0.01}) as peer:
            weights = peer.weights()
            print("began", weights["w"][0], flush=True)
            while True:
                weights = peer.share({"w": weights["w"] + 0.01}, samples=300)
                print(weights["w"][0], flush=True)
    """)
    environment, last = clean_environment(LEARNAE_HOME=str(programs.home), **NO_FLOORS), 0.0
    for kills in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", loop, swarm], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout
                began = float(process.stdout.readline().split()[1])
                assert began >= last - 0.02, "what it has shared is saved"
                for _ in range(3 + kills):
                    last = float(process.stdout.readline())
            finally:
                process.send_signal(signal.SIGKILL)
    with learnae.join(swarm, name="loop") as peer:
        status = peer.status()
        assert (status["banned"], status["problems"]) == (False, {})
        assert status["steps"] >= 6


def test_planted_rows_are_in_nothing_that_a_loop_shares(programs: Programs) -> None:
    """All blocks, the peer's own directory but for what never leaves, and what members open in a sealed swarm."""
    rows = private_readings(21, 600)
    targets = rows @ np.ones((6, 1), np.float32)
    manifest = Manifest("line", dense_config(6, (), 1, "linear"), "mean_squared_error")
    planted = patterns(rows[::10])
    for number, swarm in enumerate(
        (
            str(create_swarm(manifest).manifest.swarm),
            learnae.create_swarm("mine", parameters={"w": np.zeros((6, 1)), "b": np.zeros(1)}),
        )
    ):
        options = (
            {"data": (rows, targets)}
            if number == 0
            else {"loss": lambda weights: float(_error(weights, rows, targets))}
        )
        settings = {"publish.every": 0.01, "privacy.merge_first": False, "peer.history": "all"}
        with learnae.join(swarm, name=f"canary-{number}", settings=settings, **options) as peer:
            weights = peer.weights()
            for _ in range(12):
                slope = rows.T @ (rows @ _first(weights) + 1 - targets) / len(rows)
                metrics = {"loss": 3.25} if number == 2 else None
                weights = peer.share(
                    _with_first(weights, _first(weights) - 0.05 * slope), None if number == 0 else 420, metrics
                )
            status = peer.status()
        assert status["seq"] > 4
        out = [blocks_in(find_swarm(swarm).directory), json.dumps(status).encode()]
        out += [path.read_bytes() for path in (home() / "peers" / f"canary-{number}").rglob("*") if path.is_file()]
        assert list(leaks_in(b"".join(out), planted)) == []
        assert list(leaks(find_swarm(swarm).directory, planted)) == []
    assert list(leaks_in(rows.tobytes(), planted)), "the search must be able to find them"


def _first(weights: Any) -> Any:
    return weights["w"] if isinstance(weights, dict) else weights[0]


def _with_first(weights: Any, first: Any) -> Any:
    return {**weights, "w": first} if isinstance(weights, dict) else [first, *weights[1:]]


def _error(weights: Any, rows: Any, targets: Any) -> float:
    return float(np.mean((rows @ weights["w"] + weights["b"] - targets) ** 2))
