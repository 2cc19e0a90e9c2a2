"""A training loop of one's own among stock trainers: whether it, and they, come as far as stock trainers alone.

Three members have a third of eight people's windows each, as rows of a table. The third member trains by
examples/beside_trainers.py, in NumPy, Keras and PyTorch in turn, and once is a stock trainer, too. Judged are the
consensus estimates that each saves, on the windows that are held out of all.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.harness import AT_MOST, Race
from bench.rigs.processes import read_status, wait_until
from bench.swarms import Person, accuracy_of, held_out, load_people
from demo.swarm import Swarm, answer_of, environment_of
from learnae.runtime.observer import estimate_of
from learnae.swarm.directory import find_swarm
from learnae.swarm.presets import preset
from learnae.system.paths import STATUS_FILE

_STOCK, _ALONE = ("stock-0", "stock-1"), "stock"
_SETTINGS = {"trainer": {"TRAIN__ENGINE": "numpy", "TRAIN__SHARE": "0.1", "PUBLISH__EVERY": "0.5"}}
_EXAMPLE = Path(__file__).parents[1] / "examples" / "beside_trainers.py"
_UPDATES, _LOOKS = 80, 10  # of each member; so many times, an update apart, is looked at the end
_TIMEOUT_SECONDS = 400.0


def run(race: Race) -> None:
    """Let a swarm of three learn with each kind of third member."""
    pythons = {"numpy": sys.executable, **({"keras": sys.executable} if importlib.util.find_spec("keras") else {})}
    torch = os.environ.get("LEARNAE_TORCH_PYTHON", sys.executable if importlib.util.find_spec("torch") else "")
    pythons |= {"torch": torch} if torch else {}
    for framework in {"keras", "torch"} - pythons.keys():
        race.note(f"{framework} is not measured: it is not here; LEARNAE_TORCH_PYTHON may name a Python with PyTorch")
    people = load_people(preset("wrist", 0))
    updates, looks = (3, 1) if race.quick else (_UPDATES, _LOOKS)
    with race.step(f"three stock trainers, {updates} updates of each"):
        alone = float(np.mean(reach("", "", people, updates, looks)))
    race.figure("three stock trainers: accuracy", 100 * alone, "%")
    for framework, python in pythons.items():
        with race.step(f"two stock trainers and a loop in {framework}, {updates} updates of each"):
            *stock, own = reach(framework, python, people, updates, looks)
        race.figure(f"a loop in {framework}: accuracy", 100 * own, "%")
        note = f"mean of {looks} looks, after {updates} updates of each"
        behind = 100 * (float(np.mean(stock)) - own)
        race.check(f"a loop in {framework} behind the stock trainers beside it", behind, 1.0, AT_MOST, "points", note)
        behind = 100 * (alone - min(own, *stock))
        race.check(f"the worst beside a loop in {framework} behind stock alone", behind, 1.0, AT_MOST, "points", note)


def reach(framework: str, python: str, people: Sequence[Person], updates: int, looks: int) -> list[float]:
    """Return the accuracy of each of three members, the third last; without ``framework`` that is a stock trainer."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        wrist = preset("wrist", 0)
        (home / "model.json").write_text(json.dumps(wrist.config))
        made = answer_of(
            home, "swarm", "create", "--model", str(home / "model.json"), "--loss", wrist.loss, "--optimiser", "adam",
            "--json",
        )  # fmt: skip
        swarm = Swarm(home, Path(made["directory"]), settings=_SETTINGS)
        third = f"loop-{framework}" if framework else _ALONE
        tables = [_table(home / f"{name}.csv", people, part) for part, name in enumerate((*_STOCK, third))]
        try:
            for name, table in zip((*_STOCK, third), tables, strict=True):
                if name in _STOCK or not framework:
                    _start_stock(swarm, name, table)
                else:
                    wait_until(lambda: min(_updates(home, each) for each in _STOCK) > 0, _TIMEOUT_SECONDS, "stock")
                    _start_loop(swarm, name, [python, str(_EXAMPLE), framework, str(swarm.directory), str(table)])
            return _looks(swarm, (*_STOCK, third), people, updates, looks)
        finally:
            swarm.stop()


def _table(path: Path, people: Sequence[Person], part: int) -> Path:
    """Write every third training window of each as a row; the last column is the class."""
    windows = [person.train.share(part, 1 + len(_STOCK)) for person in people]
    rows = np.concatenate([np.column_stack([each.features, each.classes]) for each in windows])
    header = ",".join([*(f"x{column}" for column in range(rows.shape[1] - 1)), "label"])
    np.savetxt(path, rows, ["%.6g"] * (rows.shape[1] - 1) + ["%d"], ",", header=header, comments="")
    return path


def _start_stock(swarm: Swarm, name: str, table: Path) -> None:
    config = swarm.home / f"{name}.toml"
    answer_of(
        swarm.home, "join", str(swarm.directory), "--role", "trainer", "--name", name, "--data", str(table),
        "--config", str(config), "--json",
    )  # fmt: skip
    swarm.start(name, "trainer", config)


def _start_loop(swarm: Swarm, name: str, command: Sequence[str]) -> None:
    path = os.pathsep.join([str(_EXAMPLE.parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**environment_of(swarm.home), "PYTHONPATH": path, "KERAS_BACKEND": "jax"}
    with (swarm.home / f"{name}.log").open("ab") as log:
        swarm.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _updates(home: Path, name: str) -> int:
    return int(read_status(home / "peers" / name / STATUS_FILE).get("seq") or 0)


def _looks(swarm: Swarm, names: Sequence[str], people: Sequence[Person], updates: int, looks: int) -> list[float]:
    """Return the accuracy of each, mean of so many looks, an update of each apart, after ``updates``."""
    manifest = find_swarm(str(swarm.directory)).manifest
    exam, home, found = held_out(people), swarm.home / "peers", []
    for look in range(looks):
        is_past = partial(_is_past, swarm, names, updates + look)
        wait_until(is_past, _TIMEOUT_SECONDS, f"{updates + look} updates of each")
        found.append([accuracy_of(manifest, estimate_of(home / name, manifest).vector, exam) for name in names])
    return [float(mean) for mean in np.mean(found, axis=0)]


def _is_past(swarm: Swarm, names: Sequence[str], updates: int) -> bool:
    swarm.check()
    return min(_updates(swarm.home, name) for name in names) >= updates
