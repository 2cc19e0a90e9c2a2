"""Real processes at full rate: what they keep on disk, what looking at them costs, how soon one is back or new."""

import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness import AT_MOST, Race
from bench.rigs.processes import read_status, wait_until
from demo.people import PEOPLE
from demo.swarm import DEMO_SETTINGS, Swarm, environment_of, peer_of
from learnae.system.paths import LOG_FILE, STATUS_FILE

_FULL_RATE = {"TRAIN__STOP_WHEN": "0"}  # none settles; all else is a role's default
_DEFAULTS = {"agent": {"SOURCE__SPEED": "40", **_FULL_RATE}, "trainer": _FULL_RATE}
_LATE = "late"
_SAME_AS = 3  # a late peer has the recordings of the third person
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.02
_MEGABYTES, _FILES = 30.0, 200.0
_ASK_SECONDS, _RESTART_SECONDS, _JOIN_SECONDS = 1.0, 5.0, 10.0
_IMPORTS = "import agent.wiring, agent.learning.tflite_learner"  # by an agent, before it can do anything

Answer = tuple[int, Any]  # exit status, what was printed as JSON


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: ``moments`` at which all is asked, ``seconds`` apart; ``repeats`` of what is timed."""

    people: Sequence[int]
    settings: dict[str, dict[str, str]]
    moments: int
    seconds: float
    repeats: int


@dataclass(eq=False)
class Asked:
    """What the command line has answered: seconds, wall and CPU, of each command; what was wrong."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    count: int = 0


_FULL = Plan(PEOPLE, _DEFAULTS, 6, 300.0, 3)
_QUICK = Plan(PEOPLE[:2], {"agent": {**DEMO_SETTINGS["agent"], **_FULL_RATE}}, 1, 2.0, 1)


def run(race: Race) -> None:
    """Start six agents and two trainers, look at them now and then, restart one, add one."""
    plan = _QUICK if race.quick else _FULL
    with tempfile.TemporaryDirectory() as directory:
        (home := Path(directory) / "home").mkdir()
        swarm = replace(Swarm.create(home), settings=plan.settings)
        try:
            _measure(race, swarm, plan)
        finally:
            swarm.stop()


def _measure(race: Race, swarm: Swarm, plan: Plan) -> None:
    names, asked = [peer_of(person) for person in plan.people], Asked()
    with race.step(f"starting {len(names)} peers"):
        for person in plan.people:
            swarm.add(person)
        wait_until(lambda: all(_is_member(_status(swarm, name)) for name in names), _READY_SECONDS, "all to publish")
    used = []
    for moment in range(plan.moments):
        with race.step(f"{plan.seconds:.0f} s at full rate, then all is asked ({moment + 1} of {plan.moments})"):
            time.sleep(plan.seconds)
            swarm.check()
            used.append(disk(swarm.home))
            for _ in range(plan.repeats):
                _ask_all(swarm, names, asked)
    _report(race, names, used, asked, plan)
    with race.step("members that restart, and newcomers"):
        starts = [_imports(swarm) for _ in range(plan.repeats)]
        restarts = [_restart(swarm, name) for name in names[: plan.repeats]]
        starts += [_imports(swarm) for _ in range(plan.repeats)]
        joins = [_join(swarm, number) for number in range(plan.repeats)]
    share = f"longest of {plan.repeats}, among {len(names)} peers; {median(starts):.1f} s of it are imports"
    race.figure("imports of an agent, under the same load", median(starts), "s")
    race.check("a member that restarts trains again", max(restarts), _RESTART_SECONDS, AT_MOST, "s", share)
    race.check("a newcomer has caught up and publishes", max(joins), _JOIN_SECONDS, AT_MOST, "s", share)
    for what, found in (("a restart", restarts), ("a newcomer", joins)):
        race.figure(f"{what}: median", median(found), "s")


def disk(home: Path) -> tuple[float, float]:
    """Return megabytes and files of the swarm's directory and of all peers' own, without logs."""
    sizes = []
    for path in (path for part in ("swarms", "peers") for path in (home / part).rglob("*")):
        try:
            if path.is_file() and path.name != LOG_FILE:
                sizes.append(path.stat().st_blocks * 512)
        except FileNotFoundError:  # replaced meanwhile
            continue
    return sum(sizes) / 1e6, len(sizes)


def _report(race: Race, names: list[str], used: list[tuple[float, float]], asked: Asked, plan: Plan) -> None:
    note = f"{len(names)} peers, most of {plan.moments} looks in {plan.moments * plan.seconds / 60:.3g} min"
    race.check("disk of a machine", max(megabytes for megabytes, _ in used), _MEGABYTES, AT_MOST, "MB", note)
    race.check("files of a machine", max(files for _, files in used), _FILES, AT_MOST, "", note)
    race.figure("disk of a machine at the first look", used[0][0], "MB")
    note = "; ".join(asked.wrong[:3]) or f"of {asked.count}, at {plan.moments} moments"
    race.check("wrong answers of the command line", len(asked.wrong), 0, AT_MOST, "", note)
    starts = median(asked.wall[_START]), median(asked.cpu[_START])
    race.figure("learnae --version", starts[0], "s")
    race.figure("learnae --version, CPU", starts[1], "s")
    for name in (name for name in asked.wall if name != _START):
        wall, cpu = median(asked.wall[name]), median(asked.cpu[name])
        note = f"median of {len(asked.wall[name])}, in turn with --version; CPU: {cpu - starts[1]:.2f} s more"
        race.check(f"{name}, above its start", wall - starts[0], _ASK_SECONDS, AT_MOST, "s", note)


# -- the command line

_START = "learnae --version"


def _ask_all(swarm: Swarm, names: list[str], asked: Asked) -> None:
    target = swarm.home / "model.safetensors"
    target.unlink(missing_ok=True)
    commands: dict[str, tuple[Sequence[str], Callable[[Answer], bool]]] = {
        "peers": (("peers",), lambda said: sorted(view["name"] for view in said[1]) == sorted(names)),
        "log": (("log",), lambda said: 0 < len({item["author"] for item in said[1]}) <= len(names)),
        "export": (("export", str(target)), lambda _: target.stat().st_size > 1000),
        "blocks": (("blocks",), lambda said: len(said[1]) > len(names)),
        "blocks --fsck": (("blocks", "--fsck"), lambda said: said[1]["checked"] and not said[1]["damaged"]),
    }
    for name, (arguments, is_right) in commands.items():
        _ask(swarm, asked, _START, ["--version"])
        said = _ask(swarm, asked, f"learnae {name}", [*arguments, "--json"])
        asked.count += 1
        if said[0] or not is_right(said):
            asked.wrong.append(f"learnae {name}: status {said[0]}, {str(said[1])[:200]}")


def _ask(swarm: Swarm, asked: Asked, name: str, arguments: list[str]) -> Answer:
    """Run ``learnae``; note how long it takes, and how much CPU: other children are waited for later."""
    begun, cpu = time.monotonic(), _children_cpu()
    done = subprocess.run(
        [sys.executable, "-m", "learnae", *arguments],
        env=environment_of(swarm.home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    asked.wall.setdefault(name, []).append(time.monotonic() - begun)
    asked.cpu.setdefault(name, []).append(_children_cpu() - cpu)
    if done.returncode or name == _START:
        return done.returncode, done.stderr
    return 0, json.loads(done.stdout)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- to be back, to be new


def _restart(swarm: Swarm, name: str) -> float:
    """Stop a member and start it; return the seconds from the start of its process until it trains again."""
    process = swarm.processes[name]
    process.send_signal(signal.SIGTERM)
    process.wait(_READY_SECONDS)
    steps = int(_status(swarm, name)["steps"])
    return _seconds_to(swarm, name, lambda status: status["listening"] is None and status["steps"] > steps)


def _join(swarm: Swarm, number: int) -> float:
    """Add a member; return the seconds from the start of its process until it has published an update."""
    name, _, _ = swarm.join(_SAME_AS, f"{_LATE}-{number}")
    return _seconds_to(swarm, name, _is_member)


def _seconds_to(swarm: Swarm, name: str, has_come: Callable[[dict[str, Any]], bool]) -> float:
    begun, stamp = time.monotonic(), time.time() * 1000
    swarm.start(name, "agent", swarm.home / f"{name}.toml")

    def is_there() -> bool:
        swarm.check()
        status = _status(swarm, name)
        return bool(status) and status["time"] > stamp and has_come(status)

    wait_until(is_there, _READY_SECONDS, f"{name} to take part", _LOOK_SECONDS)
    return time.monotonic() - begun


def _imports(swarm: Swarm) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", _IMPORTS], env=environment_of(swarm.home), check=True)
    return time.monotonic() - begun


def _is_member(status: dict[str, Any]) -> bool:
    """Return True if a peer has caught up, and published an update after its name."""
    return bool(status) and status["listening"] is None and (status["seq"] or 0) >= 1


def _status(swarm: Swarm, name: str) -> dict[str, Any]:
    return read_status(swarm.home / "peers" / name / STATUS_FILE)
