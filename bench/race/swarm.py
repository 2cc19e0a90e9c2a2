"""Real trainers that learn the table together: processes of their own, one directory of blocks, watched by files."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.race.baselines import BATCH, LOSS, MODEL, RATE, steps_of
from bench.rigs.processes import cpu_seconds, memory_bytes, read_status
from bench.rigs.race_table import Part
from demo.swarm import Swarm, answer_of
from learnae.peer.state import PeerState
from learnae.system.paths import STATE_FILE, STATUS_FILE
from learnae.weights.codecs import Vector

_LOOK_SECONDS = 0.04
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A swarm's ``name`` in the table, keys of its ``definition``, and ``settings`` of its trainers' environment."""

    name: str
    definition: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """What a peer had saved after ``seconds`` of the race, its processor time so far, and bytes put out."""

    seconds: float
    cpu: float
    steps: int
    bytes_out: int
    estimate: Vector


@dataclass(eq=False)
class Runner:
    """A peer of the race, whose training rows make epochs of so many steps, from its first step on."""

    name: str
    epoch: int
    looks: list[Look] = field(default_factory=list)
    merged: float | None = None  # seconds until it had others' weights
    announced: int = 0  # bytes, as far as was seen
    resident: float = 0.0
    peak: float = 0.0

    def epochs(self) -> float:
        """Return how many times it has passed over its rows."""
        return self.looks[-1].steps / self.epoch if self.looks else 0.0

    def at(self, seconds: float) -> Look:
        """Return the last look before so many ``seconds``."""
        return self.looks[max(0, bisect_right([look.seconds for look in self.looks], seconds) - 1)]

    def cpu(self, seconds: float) -> float:
        """Return the processor time between its first step and the last look before so many ``seconds``."""
        return self.at(seconds).cpu - self.looks[0].cpu


@dataclass(frozen=True, slots=True)
class Run:
    """A race that was run: ``reached`` tells by epochs after how many seconds all peers had passed so often."""

    runners: list[Runner]
    reached: dict[int, float]


def run_swarm(home: Path, plan: Plan, parts: Sequence[Part], epochs: Sequence[int], holdout: float) -> Run:
    """Let a trainer for each of ``parts`` learn until all have passed over their rows as often as ``epochs`` says last.

    Each holds out a share of its rows; epochs are of what is left.
    """
    (home / "model.json").write_text(json.dumps(MODEL))
    (home / "race.toml").write_text(plan.definition)
    made = answer_of(
        home, "swarm", "create", "--model", str(home / "model.json"), "--loss", LOSS, "--optimiser", "adam",
        "--learning-rate", str(RATE), "--batch", str(BATCH), "--from", str(home / "race.toml"), "--json",
    )  # fmt: skip
    settings = {"TRAIN__ENGINE": "numpy", "DATA__HOLDOUT": str(holdout), **plan.settings}
    swarm = Swarm(home, Path(made["directory"]), settings={"trainer": settings})
    configs = [_join(home, swarm.directory, number, part) for number, part in enumerate(parts)]
    runners = [
        Runner(config.stem, steps_of(round((1 - holdout) * len(part.y))))
        for config, part in zip(configs, parts, strict=True)
    ]
    begun = time.monotonic()
    try:
        for config in configs:
            swarm.start(config.stem, "trainer", config)
        return _watch(swarm, runners, epochs, begun)
    finally:
        swarm.stop()


def _join(home: Path, directory: Path, number: int, part: Part) -> Path:
    data, config = home / f"rows-{number}.npz", home / f"peer-{number}.toml"
    np.savez(data, x=part.x, y=part.y)
    answer_of(
        home, "join", str(directory), "--role", "trainer", "--name", config.stem, "--data", str(data),
        "--config", str(config), "--json",
    )  # fmt: skip
    return config


def _watch(swarm: Swarm, runners: list[Runner], epochs: Sequence[int], begun: float) -> Run:
    stamps: dict[Path, int] = {}
    reached: dict[int, float] = {}
    while len(reached) < len(epochs):
        swarm.check()
        for runner in runners:
            _look(swarm, runner, stamps, begun)
        now, slowest = time.monotonic() - begun, min(runner.epochs() for runner in runners)
        reached.update({wanted: now for wanted in epochs if wanted <= slowest and wanted not in reached})
        if now > _MOST_SECONDS:
            raise TimeoutError(f"{slowest:.1f} epochs after {now:.0f} s: see the machine's load")
        time.sleep(_LOOK_SECONDS)
    for runner in runners:
        pid = swarm.processes[runner.name].pid
        runner.resident, runner.peak = (memory_bytes("status", name, pid) for name in ("VmRSS", "VmHWM"))
    return Run(runners, reached)


def _look(swarm: Swarm, runner: Runner, stamps: dict[Path, int], begun: float) -> None:
    directory = swarm.home / "peers" / runner.name
    if _has_changed(state := directory / STATE_FILE, stamps):
        seconds, cpu = time.monotonic() - begun, cpu_seconds(swarm.processes[runner.name].pid)
        saved, status = PeerState.read(state), read_status(directory / STATUS_FILE)
        put_out = max(saved.bytes_out, status.get("bytes_out", 0))  # the state is saved before its message is put out
        runner.looks.append(Look(seconds, cpu, saved.steps, put_out, saved.estimate))
        if runner.merged is None and saved.held:
            runner.merged = seconds
        peer = status.get("peer")
    else:
        peer = read_status(directory / STATUS_FILE).get("peer") if (directory / STATUS_FILE).exists() else None
    if peer and _has_changed(heads := swarm.directory / "heads" / peer, stamps):
        runner.announced += heads.stat().st_size


def _has_changed(path: Path, stamps: dict[Path, int]) -> bool:
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    has_changed, stamps[path] = stamps.get(path) != stamp, stamp
    return has_changed
