"""A trainer as it is by default, alone on one core: how much of the time it trains."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import AT_LEAST, Race
from bench.rigs.processes import cpu_seconds, read_status, wait_until
from demo.people import PEOPLE
from demo.swarm import Swarm, peer_of
from learnae.system.paths import STATUS_FILE

_READY_SECONDS = 120.0
_WARM_SECONDS = 25.0  # JAX compiles a program for each size of a call meanwhile, and that is no training
_SHARE = 80.0
_QUICK = {"trainer": {"TRAIN__ENGINE": "numpy"}}


def run(race: Race) -> None:
    """Watch one trainer: its own count of the seconds that steps took, and its CPU time beside the wall's."""
    warm, seconds, settings = (0.0, 1.5, _QUICK) if race.quick else (_WARM_SECONDS, 30.0, {})
    with tempfile.TemporaryDirectory() as directory:
        (home := Path(directory) / "home").mkdir()
        swarm = Swarm.create(home)
        swarm.trainers, swarm.settings = PEOPLE, settings
        try:
            with race.step("a trainer alone on one core"):
                swarm.add(PEOPLE[0])
                found = _watch(swarm, peer_of(PEOPLE[0]), warm, seconds)
        finally:
            swarm.stop()
    race.figure("a trainer's CPU time, of one core", 100 * found["cpu"], "%")
    race.figure("a trainer's steps", found["steps"], "a second")
    race.figure("a trainer's steps, a CPU second", found["steps"] / found["cpu"])
    note = f"seconds in steps by its status, over {seconds:.3g} s; engine {found['engine']}, settings as by default"
    race.check("a trainer alone on a core trains", 100 * found["share"], _SHARE, AT_LEAST, "% of the time", note)


def _watch(swarm: Swarm, name: str, warm: float, seconds: float) -> dict[str, Any]:
    process, path = swarm.processes[name], swarm.home / "peers" / name / STATUS_FILE
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {min(os.sched_getaffinity(0))})
    wait_until(lambda: (read_status(path).get("seq") or 0) >= 2, _READY_SECONDS, "it to train")
    time.sleep(warm)
    for thread in Path(f"/proc/{process.pid}/task").iterdir():  # those that began meanwhile
        os.sched_setaffinity(int(thread.name), {min(os.sched_getaffinity(0))})
    first, cpu, begun = read_status(path), cpu_seconds(process.pid), time.monotonic()
    time.sleep(seconds)
    last, cpu_share = read_status(path), (cpu_seconds(process.pid) - cpu) / (time.monotonic() - begun)
    passed = (last["time"] - first["time"]) / 1000
    return {
        "share": (last["training_seconds"] - first["training_seconds"]) / passed,
        "steps": (last["steps"] - first["steps"]) / passed,
        "cpu": cpu_share,
        "engine": last["engine"],
    }
