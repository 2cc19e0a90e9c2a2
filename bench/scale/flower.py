"""Peer-rounds a second: this project's simulator beside Flower's simulation engine, on the same task and in turn.

The same rows, model, starting weights, learner, steps and batches: what differs is what carries an update from one to
the others. Both have two cores, a process each. What it takes to start either is left out. The engine runs in a Python
of its own, which an environment variable names.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.harness import AT_LEAST, Race
from bench.scale.swarm import CORES, Task, measured
from bench.swarms import FOUNDING

VARIABLE = "LEARNAE_BENCH_FLOWER"
_ROOT = Path(__file__).parents[2]
_PATIENCE = 300.0
_TIMES = 20  # as fast as the engine
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True, slots=True)
class Found:
    """Updates that were made and merged in a second, and how good the model was after a number of each peer's."""

    speed: float
    accuracy: float


def run(race: Race) -> None:
    """Run both where Flower's engine is installed."""
    python = os.environ.get(VARIABLE, "")
    if not python or subprocess.run([python, "-c", "import flwr, ray"], capture_output=True, check=False).returncode:
        race.note(f"flower was left out: {VARIABLE} names no Python with flwr[simulation] (docs/benchmarks.md)")
        return
    sizes, rounds, repeats = ((8,), 2, 1) if race.quick else ((100, 200), 10, 3)
    for peers in sizes:
        _compare(race, python, peers, rounds, repeats)


def _compare(race: Race, python: str, peers: int, rounds: int, repeats: int) -> None:
    engines: dict[str, Callable[[], Found]] = {
        "Flower's engine": lambda: _run_flower(python, peers, rounds),
        "the simulator": lambda: _run_swarm(peers, rounds),
    }
    found: dict[str, list[Found]] = {name: [] for name in engines}
    with race.step(f"{peers} peers, {rounds} updates of each, {repeats} times in turn") as say:
        for number in range(repeats):
            for name, engine in engines.items():
                say(f"{name}, {number + 1} of {repeats}")
                found[name].append(engine())
    for name, runs in found.items():
        race.figure(f"{peers} peers, {name}", median(each.speed for each in runs), "peer-rounds a second")
        accuracy = median(each.accuracy for each in runs)
        race.figure(f"{peers} peers, {name}: accuracy", accuracy, f"after {rounds} updates of each")
    theirs, ours = (median(each.speed for each in runs) for runs in found.values())
    note = f"median of {repeats}, in turn; two cores each"
    race.check(f"{peers} peers: peer-rounds a second to Flower's", ours / theirs, _TIMES, AT_LEAST, "times", note)


def _run_swarm(peers: int, rounds: int) -> Found:
    cost = measured(Task(peers, rounds, founding=FOUNDING, processes=CORES))
    return Found(cost.updates * peers / cost.wall, cost.accuracy)


def _run_flower(python: str, peers: int, rounds: int) -> Found:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "found.json"
        command = [python, "-m", "bench.scale.flower_app.server_app", str(peers), str(rounds), str(file)]
        environment = {**os.environ, **_QUIET, "RAY_TMPDIR": name, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, timeout=_PATIENCE, capture_output=True, text=True, check=False
        )
        if not file.exists():
            raise RuntimeError(f"Flower's engine has ended with {done.returncode}: {done.stderr[-2000:]}")
        said = json.loads(file.read_text())
    return Found(peers * rounds / said["seconds"], said["accuracy"])
