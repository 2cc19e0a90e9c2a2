"""Other frameworks on the race's table, beside this one and in the same run: Flower, p2pfl, hivemind.

The same rows, network, starting weights, optimiser and passes, a process a peer, all traffic on loopback. Each runs in
a Python of its own, whose path an environment variable gives; without one it is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from bench.harness import Race
from bench.race import baselines
from bench.race.splits import HOLDOUT, QUICK, Course, Size
from bench.race.swarm import Plan, run_swarm
from bench.rigs.race_table import Part

_FIELD = Path(__file__).parent / "field"
_NET = Path(__file__).parents[1] / "rigs" / "bare_net.py"
_PLAN = Plan("an update an epoch", settings={"TRAIN__EPOCHS": "1", "TRAIN__FIRST_EPOCHS": "0"})  # as all others have


@dataclass(frozen=True, slots=True)
class _Framework:
    """Another framework: the ``variable`` that names its Python, and the ``files`` of its peers by their new names."""

    name: str
    variable: str
    files: dict[str, str]


_FRAMEWORKS = (
    _Framework(
        "flower", "LEARNAE_BENCH_FLOWER",
        {f"flower_app/{name}": name for name in ("pyproject.toml", "client_app.py", "server_app.py")},
    ),
    _Framework("p2pfl", "LEARNAE_BENCH_P2PFL", {"p2pfl_peer.py": "peer.py"}),
    _Framework("hivemind", "LEARNAE_BENCH_HIVEMIND", {"hivemind_peer.py": "peer.py"}),
)  # fmt: skip


def run(race: Race) -> None:
    """Run what is installed, then averaging in rounds and the product, on rows that are alike."""
    size = QUICK if race.quick else Size()
    parts, test = size.parts("iid")
    for framework in _FRAMEWORKS:
        python = os.environ.get(framework.variable, "")
        if not python:
            race.note(f"{framework.name} was left out: {framework.variable} names no Python (docs/benchmarks.md)")
            continue
        with race.step(f"{size.peers} peers of {framework.name}"), tempfile.TemporaryDirectory() as home:
            _report(race, framework.name, _run(framework, Path(python), Path(home), parts, size.last), test, size)
    rounds = baselines.federated(parts, test, size.last)
    race.figure(f"averaging in rounds, in one process: accuracy after {size.early} passes", rounds[size.early - 1])
    race.figure(f"averaging in rounds, in one process: accuracy after {size.last} passes", rounds[-1])
    with race.step(f"{size.peers} trainers: {_PLAN.name}"), tempfile.TemporaryDirectory() as home:
        swarm = run_swarm(Path(home), _PLAN, parts, (size.early, size.last), HOLDOUT)
    course, ended = Course(_PLAN, swarm, test), swarm.reached[size.last]
    for epochs in (size.early, size.last):
        _tell(race, "learnae", epochs, course.after(epochs))
    race.figure("learnae: a peer and pass", mean(course.bytes_out(size.last)) / 1000, "kB")
    race.figure("learnae: processor time of all", sum(each.at(ended).cpu for each in swarm.runners), "s")
    race.figure("learnae: from the first start to the end", ended, "s")


@dataclass(frozen=True, slots=True)
class _Found:
    """What the peers of a framework had ``after`` each pass, and what it took of them all."""

    after: dict[int, list[np.ndarray]]
    seconds: float
    cpu: float
    bytes: int


def _run(framework: _Framework, python: Path, home: Path, parts: Sequence[Part], rounds: int) -> _Found:
    app = home / "app"
    app.mkdir()
    for name, new in framework.files.items():
        shutil.copy(_FIELD / name, app / new)
    shutil.copy(_FIELD / "work.py", app)
    shutil.copy(_NET, app)
    for number, part in enumerate(parts):
        np.savez(home / f"rows-{number}.npz", x=part.x, y=part.y)
    task = baselines.manifest()
    np.save(home / "start.npy", task.definition.initial(task.seed))
    launch = [sys.executable, "-m", "bench.race.field.launch", framework.name, str(python), str(home)]
    apart = ["unshare", "--net", *launch, str(len(parts)), str(rounds)]
    done = subprocess.run(apart, capture_output=True, text=True, check=False)
    if done.returncode:
        logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in home.glob("*.log"))
        raise RuntimeError(f"{framework.name}: {done.stderr[-800:]}\n{logs}")
    after: dict[int, list[np.ndarray]] = {}
    for path in home.glob("weights-*-*.npy"):
        after.setdefault(int(path.stem.rsplit("-", 1)[1]), []).append(np.load(path))
    return _Found(after, **json.loads(done.stdout))


def _report(race: Race, name: str, found: _Found, test: Part, size: Size) -> None:
    for epochs in (size.early, size.last):
        _tell(race, name, epochs, [baselines.accuracy(weights, test) for weights in found.after[epochs]])
    race.figure(f"{name}: a peer and pass", found.bytes / size.peers / size.last / 1000, "kB")
    race.figure(f"{name}: processor time of all", found.cpu, "s")
    race.figure(f"{name}: from the first start to the end", found.seconds, "s")


def _tell(race: Race, name: str, epochs: int, accuracies: Sequence[float]) -> None:
    race.figure(f"{name}: worst peer's accuracy after {epochs} passes", min(accuracies))
    race.figure(f"{name}: mean accuracy after {epochs} passes", mean(accuracies))
