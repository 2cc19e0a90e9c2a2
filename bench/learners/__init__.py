"""What a training step costs with each learner, of the net 27-64-64-1 and of convolutions, side by side in one run.

Every measurement runs in a process of its own, one at a time and in turn, so that the machine's
load and the memory of one learner touch no other.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from bench.harness import AT_LEAST, AT_MOST, Race, readable, wide_console
from bench.learners.contestants import CONTESTANTS, FIT, FUSED, NUMPY, TFLITE, TORCH, is_installed, needs
from bench.learners.diabetes import race_diabetes
from bench.learners.parity import BOUNDS, MARGIN, STEPS
from bench.learners.worker import ROWS as AGENT_ROWS

_SECONDS = 600.0  # for one process, on a slow machine
_EPOCH_ROWS, _EPOCH_ROWS_QUICK = 7_000_000, 20_000  # as many as HEPMASS has
_EPOCH_CONTESTANTS = (FUSED, FIT, TORCH)

Measured = dict[str, Any]


def run(race: Race) -> None:
    """Show all learners that are installed, and the checks; an epoch of seven million rows on a GPU.

    ``race.rows`` asks for an epoch of so many rows, wherever that trains.
    """
    names = [name for name in CONTESTANTS if is_installed(name)]
    for name in CONTESTANTS:
        if name not in names:
            race.note(f"{name} is not measured: it needs {needs(name)}")
    rounds, steps = (1, 200) if race.quick else (3, 1500)
    results: dict[str, list[Measured]] = {name: [] for name in names}
    with race.step("steps of " + ", ".join(names)) as progress:
        for number in range(rounds):
            for name in names:
                progress(f"round {number + 1} of {rounds}: {name}")
                results[name].append(_measure(name, "steps", steps))
    middle = {name: _median(found) for name, found in results.items()}
    for name in (name for name in names if name != TORCH):
        with race.step(f"convolutions of {name}"):
            middle[name]["convolutions"] = _measure(name, "convolutions", 20 if race.quick else 200)["step"]
    _report_steps(race, middle)
    _check_steps(race, middle)
    _check_memory(race, names)
    for name in (NUMPY, TFLITE, FUSED, FIT):
        if name in names:
            _check_parity(race, name)
    race_diabetes(race)
    device = middle[FUSED]["device"] if FUSED in middle else "cpu"
    if device != "cpu" or race.rows:
        _race_epochs(race, device, names)


def _measure(name: str, what: str, size: int) -> Measured:
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), name, what, str(size)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    result: Measured = json.loads(done.stdout.splitlines()[-1])
    return result


def _median(found: list[Measured]) -> Measured:
    return {key: value if isinstance(value, str) else median([one[key] for one in found])
            for key, value in found[0].items()}  # fmt: skip


def _report_steps(race: Race, results: dict[str, Measured]) -> None:
    headings = ("learner", "µs/step, batch 32", "samples/s", "µs/step, batch 128", "samples/s",
                "µs/step, wrist-cnn", "peak RSS, MB", "import and build, s")  # fmt: skip
    table = Table(*headings, title="learners")
    for name, one in results.items():
        cells = (one["step_32"], 32e6 / one["step_32"], one["step_128"], 128e6 / one["step_128"])
        convolutions = readable(one["convolutions"]) if "convolutions" in one else "-"
        table.add_row(name, *map(readable, cells), convolutions, readable(one["rss"]), readable(one["import"]))
        for batch in (32, 128):
            race.figure(f"{name}: step, batch {batch}", one[f"step_{batch}"], "µs")
            race.figure(f"{name}: samples, batch {batch}", batch * 1e6 / one[f"step_{batch}"], "a second")
        if "convolutions" in one:
            race.figure(f"{name}: step, wrist-cnn, batch 32", one["convolutions"], "µs")
        race.figure(f"{name}: peak RSS with 10,000 rows", one["rss"], "MB")
        race.figure(f"{name}: import and build", one["import"], "s")
    wide_console().print(table)


def _check_steps(race: Race, results: dict[str, Measured]) -> None:
    for fast, slow, key, bound, name in (
        (FUSED, FIT, "step_32", 5.0, "fused epoch against keras.fit, batch 32"),
        (FUSED, FIT, "convolutions", 1.0, "fused epoch against keras.fit, wrist-cnn, batch 32"),
        (TFLITE, TORCH, "step_32", 3.0, "TFLite against PyTorch eager, batch 32"),
    ):
        absent = [one for one in (fast, slow) if one not in results]
        if absent:
            race.note(f"not held against its bound of {bound:g} times, without {' and '.join(absent)}: {name}")
        else:
            times = results[slow][key] / results[fast][key]
            note = f"on {results[fast]['device']}, best of 3 in a process"
            race.check(name, times, bound, AT_LEAST, "times", note)


def _check_memory(race: Race, names: list[str]) -> None:
    if TFLITE in names:
        with race.step("memory of an agent's training"):
            one = _measure(TFLITE, "memory", AGENT_ROWS)
        name = f"memory above the bare imports, TFLite, {AGENT_ROWS:,} rows"
        race.check(name, one["above"], 10.0, AT_MOST, "MB", f"peak, one process, {one['device']}")


def _check_parity(race: Race, name: str) -> None:
    """Check against the bounds where training is one function; report any batches beside it, as they are."""
    title = {NUMPY: "NumPy in float32", FIT: "Keras train_on_batch"}.get(name, name)
    with race.step(f"parity of {title}"):
        differences = _measure(name, "parity", 0 if race.quick else 1)["differences"]
    for optimiser, found in differences.items():
        what, smooth, any_ = f"{title} against float64, {STEPS} steps, {optimiser}", found["smooth"], found["any"]
        note = f"largest of a weight in {len(smooth)} runs, no row within {MARGIN} of an edge"
        race.check(what, max(smooth), BOUNDS[optimiser], AT_MOST, "", note)
        race.figure(f"{what}: any batches, largest", max(any_))
        race.figure(f"{what}: any batches, usual", median(any_))
        beyond = sum(difference > BOUNDS[optimiser] for difference in any_)
        race.figure(f"{what}: any batches, beyond the bound", beyond, f"of {len(any_)} runs")


def _race_epochs(race: Race, device: str, names: list[str]) -> None:
    """Race one epoch of batches of 1,024; ten times as fast is expected where a GPU trains."""
    rows = race.rows or (_EPOCH_ROWS_QUICK if race.quick else _EPOCH_ROWS)
    speed = {}
    for name in (name for name in _EPOCH_CONTESTANTS if name in names):
        with race.step(f"an epoch of {rows:,} rows on {device}: {name}"):
            one = _measure(name, "epoch", rows)
        speed[name] = one["rows_per_second"]
        race.figure(f"{name}: epoch of {rows:,} rows on {one['device']}", speed[name], "rows a second")
    for name in (FIT, TORCH):
        if name in speed and FUSED in speed:
            what, times = f"fused epoch against {name}, batch 1,024", speed[FUSED] / speed[name]
            if device == "cpu":
                race.figure(what, times, "times")
            else:
                race.check(what, times, 10.0, AT_LEAST, "times", device)
