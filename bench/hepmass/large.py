"""As many rows as HEPMASS has, through the program itself: what reading them and an epoch take of memory."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.harness import AT_LEAST, AT_MOST, Race
from bench.hepmass.collisions import FEATURES, TITLE
from bench.hepmass.files import Say, Table
from bench.hepmass.sources import Simulated
from bench.rigs.processes import cpu_seconds, memory_bytes, read_status
from demo.swarm import environment_of
from learnae.models.keras_model import absent_of_keras
from learnae.swarm.presets import preset
from learnae.system.paths import STATUS_FILE
from trainer_node.engines import JAX, NUMPY

ROWS, _ROWS_QUICK, _FEW_ROWS = 7_000_000, 30_000, 20_000
_MOST = 1.2  # times the array
_MOST_SECONDS = 3000.0
_TOLD = 2  # times: even a small epoch is seen to go on
_LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Epoch:
    """What reading and an epoch took: memory in bytes, the rest in seconds.

    ``peak`` is what the kernel says; ``mapped`` and ``own`` are the most that was seen of its two parts, each at its
    own time. Rows were there after ``read``; that more ``steps`` were taken was told so many ``times``.
    """

    peak: float = 0.0
    mapped: float = 0.0
    own: float = 0.0
    read: float = 0.0
    cpu: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    times: int = 0

    def look(self, pid: int, seconds: float, steps: int, is_read: bool) -> None:
        """Take in what a process has taken so far."""
        self.times += steps > self.steps
        self.steps = steps
        self.peak = memory_bytes("status", "VmHWM", pid)
        self.mapped = max(self.mapped, memory_bytes("status", "RssFile", pid))
        self.own = max(self.own, memory_bytes("status", "RssAnon", pid))
        self.cpu, self.seconds = cpu_seconds(pid), seconds
        self.read = self.read or is_read * seconds


def run(race: Race) -> None:
    """Let ``trainer-node start`` read the rows and pass over them once, with each engine that is installed."""
    rows = _ROWS_QUICK if race.quick else race.rows or ROWS
    source = Simulated(rows, 1)
    source.make(race)
    with tempfile.TemporaryDirectory() as directory:
        large, few = (Path(directory) / f"{TITLE.replace(' ', '-')}-{count}.npz" for count in (rows, _FEW_ROWS))
        with race.step(f"{TITLE}: writing {rows:,} rows as a file of the user's"):
            for path, count in ((large, rows), (few, _FEW_ROWS)):
                _write(path, source.train().first(count))
        for engine in (NUMPY,) if race.quick else (NUMPY, JAX):
            if engine == JAX and (absent := absent_of_keras()):
                race.note(f"{TITLE}: without {' and '.join(absent)} JAX was not measured")
                continue
            with race.step(f"trainer-node start, {engine}, {rows:,} rows: reading and an epoch") as say:
                least = _epoch(Path(directory) / f"{engine}-few", few, engine, lambda _: None)
                found = _epoch(Path(directory) / f"{engine}-large", large, engine, say)
            array, name = 4 * FEATURES * rows, f"{TITLE}: {rows:,} rows, {engine}"
            what = f"{name}: peak memory above that with few rows, to the array"
            race.check(what, (found.peak - least.peak) / array, _MOST, AT_MOST)
            race.figure(f"{name}: the array", array / 1e6, "MB")
            race.figure(f"{name}: peak memory; with few rows {least.peak / 1e6:,.0f} MB", found.peak / 1e6, "MB")
            race.figure(f"{name}: … of this files that are mapped, at most", found.mapped / 1e6, "MB")
            race.figure(f"{name}: … of this its own, at most", found.own / 1e6, "MB")
            race.check(f"{name}: times that the status told of more steps of an epoch", found.times, _TOLD, AT_LEAST)
            race.figure(f"{name}: until rows are read", found.read, "s")
            race.figure(f"{name}: reading and an epoch, processor time", found.cpu, "s")
            race.figure(f"{name}: … wall time", found.seconds, "s")


def _write(path: Path, table: Table) -> None:
    """Write what the preset takes: features without the mass, and labels; no more than a piece is in memory."""
    np.savez(path, x=table.rows[:, :FEATURES], y=table.labels)


def _epoch(home: Path, data: Path, engine: str, say: Say) -> Epoch:
    """Return what a trainer takes until it has passed over its rows once; ``say`` what it shows of that."""
    home.mkdir()
    environment = environment_of(home) | {"LEARNAE_TRAIN__ENGINE": engine}
    command = [sys.executable, "-m", "trainer_node", "start", "--preset", "hepmass", "--data", str(data)]
    begun, found = time.monotonic(), Epoch()
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            while True:
                if process.poll() is not None or time.monotonic() > begun + _MOST_SECONDS:
                    raise RuntimeError(f"trainer-node: {(home / 'log').read_text(errors='replace')[-500:]}")
                steps, epoch = _progress(home)
                found.look(process.pid, time.monotonic() - begun, steps, epoch > 0)
                say(f"{steps:,} of {epoch:,} steps")
                if epoch and steps >= epoch:
                    return found
                time.sleep(_LOOK_SECONDS)
        finally:
            process.send_signal(signal.SIGTERM)


def _progress(home: Path) -> tuple[int, int]:
    """Return the steps that are taken, and those of an epoch; 0 before they are known."""
    for path in home.glob(f"**/{STATUS_FILE}"):
        said = read_status(path)
        batch = preset("hepmass", 0).training.batch
        return int(said.get("steps", 0)), -(-int(said.get("training_rows", 0)) // batch)
    return 0, 0
