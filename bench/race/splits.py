"""One split of the table over eight peers: baselines, then swarms of real trainers by several plans."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.table import Table

from bench.harness import AT_LEAST, AT_MOST, Race, in_processes, wide_console
from bench.race import baselines
from bench.race.swarm import Plan, Run, run_swarm
from bench.rigs import bare_net
from bench.rigs.race_table import Part, make_table

_FEW_BITS = '[codec]\nkeyframe = "q4"\ndelta = "ternary"\n'
HOLDOUT = 0.05  # of each peer's rows; who averages in rounds holds out none
PLANS = (
    Plan("as it comes"),
    Plan("few bits", _FEW_BITS, {"TRAIN__EPOCHS": "1.95", "TRAIN__FIRST_EPOCHS": "0"}),
    Plan("as it comes, none judged", '[merge]\nrule = "mean"\n'),
)
_COARSE = PLANS[1]
_BARS = {"iid": (0.8795, 0.877), "skewed": (0.849, 0.847)}  # the least accuracy of the worst peer; with few bits
_MOST_KB, _FEW_KB = 8.0, 1.5  # a peer and epoch
_BEYOND_ROUNDS = 0.002
_MOST_CPU, _MOST_WALL, _MOST_MB = 1.25, 15.0, 66.0
_SEED = 2024


@dataclass(frozen=True, slots=True)
class Size:
    """How large the race is: ``peers``, ``rows`` of them all and of the ``test``; accuracies ``early`` and at last.

    That is after so many epochs of the slowest peer.
    """

    peers: int = 8
    rows: int = 200_000
    test: int = 50_000
    early: int = 3
    last: int = 10

    def parts(self, split: str) -> tuple[Sequence[Part], Part]:
        """Return the rows of each peer, and those of the test."""
        table = make_table(self.peers, self.rows, self.test, _SEED)
        return (table.iid if split == "iid" else table.skewed), table.test


QUICK = Size(3, 6_000, 2_000, 1, 2)


class Course:
    """What one swarm has reached: the accuracy of each peer's estimate at each look."""

    def __init__(self, plan: Plan, swarm: Run, test: Part) -> None:
        self.plan, self.swarm = plan, swarm
        self.curves = [[baselines.accuracy(look.estimate, test) for look in each.looks] for each in swarm.runners]

    def after(self, epochs: int) -> list[float]:
        """Return each peer's accuracy when the slowest had passed so often over its rows."""
        ended = self.swarm.reached[epochs]
        pairs = zip(self.swarm.runners, self.curves, strict=True)
        return [curve[runner.looks.index(runner.at(ended))] for runner, curve in pairs]

    def bytes_out(self, epochs: int) -> list[float]:
        """Return the bytes that each peer had put out by then, for each of its own epochs."""
        looks = [(runner.at(self.swarm.reached[epochs]), runner.epoch) for runner in self.swarm.runners]
        return [look.bytes_out / (look.steps / epoch) for look, epoch in looks]


def run(race: Race, split: str) -> None:
    """Run the baselines and all plans; print a table, draw a picture, and hold the plans against their bars."""
    from bench.race.picture import draw  # noqa: PLC0415 - matplotlib, for which the processes of baselines have no use

    size = QUICK if race.quick else Size()
    parts, test = size.parts(split)
    kinds = ("pooled", "federated", "alone")
    found = in_processes(race, f"baselines, {split}", reach, [(split, kind, size) for kind in kinds])
    pooled, federated, alone = (found[split, kind, size] for kind in kinds)
    shown = Table(
        split, f"worst, mean after {size.early}", f"after {size.last}", "kB a peer and epoch", "CPU", "wall",
        title=f"accuracy after epochs of the slowest peer, {size.peers} peers",
    )  # fmt: skip
    for name, curves in (("all rows in one place", pooled), ("averaging in rounds", federated), ("alone", alone)):
        shown.add_row(name, *(_shown([curve[after - 1] for curve in curves]) for after in (size.early, size.last)))
    courses = []
    for plan in PLANS:
        with race.step(f"{len(parts)} trainers, {split}: {plan.name}"), tempfile.TemporaryDirectory() as home:
            swarm = run_swarm(Path(home), plan, parts, (size.early, size.last), HOLDOUT)
        with race.step("the same steps with nothing around them"):
            cpu = _bare_seconds(swarm, parts)
        courses.append(Course(plan, swarm, test))
        shown.add_row(*_report(race, f"{split}, {plan.name}", courses[-1], cpu, size))
    wide_console().print(shown)
    draw(split, federated[0], pooled[0], courses, Path("build/bench") / f"race-{split}.png")
    for course in courses[:2]:
        _check(race, split, course, federated[0][-1], size)


def reach(split: str, kind: str, size: Size) -> list[list[float]]:
    """Return the accuracies after each epoch of a baseline: one list, or one for each peer alone."""
    parts, test = size.parts(split)
    if kind == "alone":
        return [baselines.alone(part, test, size.last) for part in parts]
    function = baselines.pooled if kind == "pooled" else baselines.federated
    return [function(parts, test, size.last)]


def _report(race: Race, name: str, course: Course, bare_cpu: float, size: Size) -> list[str]:
    """Add the figures of one swarm, and what any is held against; return its row."""
    swarm, runners = course.swarm, course.swarm.runners
    ended = swarm.reached[size.last]
    cpu, put_out = sum(runner.cpu(ended) for runner in runners), course.bytes_out(size.last)
    for epochs in (size.early, size.last):
        race.figure(f"{name}: accuracy after {epochs} epochs, worst", min(course.after(epochs)))
        race.figure(f"{name}: … mean", mean(course.after(epochs)))
    race.figure(f"{name}: bytes a peer and epoch, mean", mean(put_out), "B")
    race.figure(f"{name}: … the most", max(put_out), "B")
    race.figure(f"{name}: … announcements, as far as seen", mean(each.announced for each in runners) / size.last, "B")
    race.figure(f"{name}: updates a peer and epoch", mean(len(each.looks) for each in runners) / size.last)
    race.figure(f"{name}: processor time while they learn", cpu, "s")
    race.figure(f"{name}: … of the same steps with nothing around them", bare_cpu, "s")
    race.figure(f"{name}: first merge of the last peer", max(each.merged or float("inf") for each in runners), "s")
    race.figure(f"{name}: memory of a peer, peak", max(each.peak for each in runners) / 1e6, "MB")
    steps = f"{sum(each.at(ended).steps for each in runners):,} steps"
    race.check(f"{name}: processor time, to that of bare steps", cpu / bare_cpu, _MOST_CPU, AT_MOST, "times", steps)
    race.check(f"{name}: wall", ended, _MOST_WALL, AT_MOST, "s", f"from the start of {len(runners)} processes")
    race.check(f"{name}: memory of a peer", max(each.resident for each in runners) / 1e6, _MOST_MB, AT_MOST, "MB")
    row = [_shown(course.after(size.early)), _shown(course.after(size.last)), f"{max(put_out) / 1000:.2f}"]
    return [name, *row, f"{cpu / bare_cpu:.2f} times", f"{ended:.1f} s"]


def _check(race: Race, split: str, course: Course, rounds: float, size: Size) -> None:
    """Hold the accuracy of the worst peer, and the bytes of the one that puts out most, against the bars."""
    is_coarse, name = course.plan is _COARSE, f"{split}, {course.plan.name}"
    worst, put_out = min(course.after(size.last)), max(course.bytes_out(size.last)) / 1000
    race.check(f"{name}: worst peer", worst, _BARS[split][is_coarse], AT_LEAST)
    race.check(f"{name}: kB a peer and epoch", put_out, _FEW_KB if is_coarse else _MOST_KB, AT_MOST, "kB")
    if not is_coarse:
        early = min(course.after(size.early)) - rounds
        race.check(f"{name}: worst peer beyond averaging in rounds", worst - rounds, _BEYOND_ROUNDS, AT_LEAST)
        race.check(f"{name}: … after {size.early} epochs, to {size.last} rounds", early, 0.0, AT_LEAST)


def _shown(accuracies: Sequence[float]) -> str:
    return f"{min(accuracies):.4f}, {mean(accuracies):.4f}"


def _bare_seconds(swarm: Run, parts: Sequence[Part]) -> float:
    """Return the processor time of the steps that all peers have taken, in as many processes, at once as they were."""
    steps = [runner.at(max(swarm.reached.values())).steps for runner in swarm.runners]
    with ProcessPoolExecutor(len(parts), multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(bare_net.cpu_seconds, part.x, part.y, count, seed)
            for seed, (part, count) in enumerate(zip(parts, steps, strict=True))
        ]
        return sum(future.result() for future in futures)
