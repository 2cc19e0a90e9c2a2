"""Real peers on machines of their own while everything breaks: what is lost, and how soon all is well again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.chaos.machines import World, world
from bench.chaos.schedule import KILL, STOP, Fault, churn, plan
from bench.chaos.timeline import draw
from bench.chaos.witness import Witness
from bench.harness import AT_MOST, Race
from demo.people import Exam, accuracy, make_exam
from learnae.errors import LearnaeError
from learnae.runtime.observer import estimate_of
from learnae.swarm.directory import open_manifest
from learnae.swarm.manifest import Manifest

_SECONDS, _QUICK_SECONDS = 900.0, 30.0
_PEOPLE, _QUICK_PEOPLE = 8, 3
_EVERY = 10.0  # seconds between two kills, on average
_LOOK = 5.0  # seconds between two looks at all disks
_MEAN = 30.0  # seconds of which accuracies are the mean
_RUNS = 3
_SAME_SECONDS = 30.0  # after the last fault until all have what each has said
_PATIENCE = 120.0
_MOST_LOST, _MOST_LOST_BY_CHURN = 1.0, 1.5  # points


@dataclass(eq=False)
class Run:
    """What one run has shown: times in seconds after its start."""

    faults: list[Fault]
    times: list[float] = field(default_factory=list)
    reached: list[list[float]] = field(default_factory=list)  # accuracy of each peer's consensus estimate
    revived: list[tuple[float, str]] = field(default_factory=list)  # peers that ended by themselves
    witness: Witness = field(default_factory=Witness)
    lost: int = 0  # messages that a living disk held and a peer has not in the end
    same_after: float = float("nan")
    seconds: float = 0.0

    def mean(self, at: float) -> float:
        """Return the mean accuracy of all peers in the 30 s before ``at``, in percent."""
        return 100 * float(
            np.mean(
                [np.mean(each) for time, each in zip(self.times, self.reached, strict=True) if at - _MEAN < time <= at]
            )
        )


def run(race: Race) -> None:
    """Compare quiet runs with those in which everything breaks, and with one in which half are away."""
    seconds, people = (_QUICK_SECONDS, _QUICK_PEOPLE) if race.quick else (_SECONDS, _PEOPLE)
    seconds = race.seconds or seconds
    runs = 1 if race.quick or race.seconds else _RUNS
    quiet = [_once(race, "quiet", [], seconds, people) for _ in range(runs)]
    loud = [
        _once(race, f"faults of seed {seed}", plan(seed, seconds, people, _EVERY), seconds, people)
        for seed in range(runs)
    ]
    away = _once(race, "half away", churn(1, 2 * seconds, people), 2 * seconds, people)
    for name, found in [*((f"seed {seed}", each) for seed, each in enumerate(loud)), ("half away", away)]:
        kills = sum(fault.kind == KILL for fault in found.faults)
        note = f"{len(found.witness.said):,} messages, {kills} kills, {len(found.faults)} faults"
        race.check(f"{name}: messages lost that a living disk held", found.lost, 0, AT_MOST, "", note)
        race.check(f"{name}: numbers under which two things were said", len(found.witness.equivocations), 0, AT_MOST)
        race.check(
            f"{name}: all have what all said, after the last fault", found.same_after, _SAME_SECONDS, AT_MOST, "s"
        )
        race.figure(f"{name}: peers that ended by themselves and were started again", len(found.revived))
    calm = float(np.mean([each.mean(seconds) for each in quiet]))
    race.figure(f"accuracy, mean of all, quiet after {seconds:.0f} s", calm, "%")
    behind = calm - float(np.mean([each.mean(each.seconds) for each in loud]))
    race.check("points behind the quiet run", behind, _MOST_LOST, AT_MOST, "points")
    race.check(
        "half away: points behind the quiet run",
        calm - away.mean(away.seconds),
        _MOST_LOST_BY_CHURN,
        AT_MOST,
        "points",
        "at twice its time",
    )
    draw([("quiet", quiet[0]), ("faults", loud[0]), ("half away", away)], Path("build/bench/chaos.png"))


def _once(race: Race, name: str, faults: list[Fault], seconds: float, people: int) -> Run:
    with (
        race.step(f"{name}: {people} peers, {seconds:.0f} s") as say,
        tempfile.TemporaryDirectory() as directory,
        world(Path(directory), people) as made,
    ):
        for what in made.missing:
            if what not in race.notes:
                race.note(what)
        return watch(made, Run([fault for fault in faults if made.can(fault.kind)]), seconds, say)


def watch(made: World, found: Run, seconds: float, say: Callable[[str], None] = lambda _: None) -> Run:
    """Let a run happen: make each fault, take it back, look at disks and accuracies now and then."""
    manifest = open_manifest(made.hosts[0].swarm)
    exam = make_exam(manifest)
    begun, due = time.monotonic(), _changes(found.faults)
    looked, away = -_LOOK, [0] * len(made.hosts)
    while (now := time.monotonic() - begun) < seconds or due:
        while due and due[0][0] <= now:
            _, fault, begins = due.pop(0)
            (made.begin if begins else made.end)(fault)
            if fault.kind in (KILL, STOP):
                away[fault.target] += 1 if begins else -1
        if now - looked >= _LOOK:
            looked = now
            found.revived += [(now, name) for name in made.revive({index for index, count in enumerate(away) if count})]
            for host in made.hosts:
                found.witness.look(host.swarm)
            found.times.append(now)
            found.reached.append(_accuracies(made, manifest, exam))
            say(f"{now:.0f} s, accuracy {np.mean(found.reached[-1]):.3f}, {len(found.witness.said):,} messages")
        time.sleep(0.05)
    found.seconds = now
    found.same_after, found.lost = _settle(made, found)
    return found


def _settle(made: World, found: Run) -> tuple[float, int]:
    """Wait until each disk has all that was said under faults; return seconds, and how many are missing."""
    begun = time.monotonic()
    for host in made.hosts:
        found.witness.look(host.swarm)
    target = found.witness.newest
    while (waited := time.monotonic() - begun) < _PATIENCE:
        made.revive(set())
        behind = [
            sum(seq > there.get(author, -1) for author, seq in target.items())
            for there in (found.witness.look(host.swarm) for host in made.hosts)
        ]
        if not any(behind):
            return waited, 0
        time.sleep(0.2)
    return float("nan"), sum(behind)


def _changes(faults: Sequence[Fault]) -> list[tuple[float, Fault, bool]]:
    """Return when which fault begins (True) and ends."""
    return sorted(
        [(fault.at, fault, True) for fault in faults] + [(fault.at + fault.seconds, fault, False) for fault in faults],
        key=lambda change: change[0],
    )


def _accuracies(made: World, manifest: Manifest, exam: Exam) -> list[float]:
    reached = []
    for host in made.hosts:
        try:
            reached.append(accuracy(manifest, estimate_of(host.place, manifest).vector, exam))
        except LearnaeError:  # nothing saved yet
            continue
    return reached or [0.0]
