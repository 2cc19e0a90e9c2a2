"""``make demo``: eight processes train together; then alone, together and pooled are compared."""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from demo.people import PEOPLE, Exam, accuracy, choose_own, make_exam, train_alone, train_pooled
from demo.report import Curves, Own, Result, draw, spread, write_page
from demo.swarm import Swarm, peer_of
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.cli.live_display import live_view
from learnae.cli.output import console, peer_table, table
from learnae.errors import ConfigurationError
from learnae.runtime.observer import Observer, PeerView, estimate_of
from learnae.system.service import run_program
from learnae.system.signals import held_back

_LOOK_SECONDS = 1.0
_NOT_YET = {"TRAIN__PERSONAL": "false"}  # personal models are made once, at the end: eight processes share few cores
_WHAT = "Eight processes train together; then alone, together and pooled are compared."


def main() -> None:
    """Entry point; the only place that exits."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=_WHAT)
    parser.add_argument("--updates", type=int, default=400, help="of every peer, then the demo ends")
    parser.add_argument("--seconds", type=float, default=170.0, help="of training together, at most")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="D")
    options = parser.parse_args()
    run_program("demo", lambda: run(options.output, options.updates, options.seconds))


def run(output: Path, updates: int, seconds: float) -> int:
    """Train until all have so many updates, judge, write summary.json, curves.png and report.html to ``output``."""
    shutil.rmtree(output, ignore_errors=True)
    home = (output / "home").resolve()
    home.mkdir(parents=True)
    swarm = Swarm.create(home)
    swarm.settings = {role: {**settings, **_NOT_YET} for role, settings in swarm.settings.items()}
    observer = Observer(swarm.directory)
    exam = make_exam(observer.manifest)
    console.print("starting eight peers, each with the recordings of one person …")
    begun = time.monotonic()
    try:
        for person in PEOPLE:
            swarm.add(person)
        curves = _watch(swarm, observer, exam, updates, seconds)
    finally:
        swarm.stop()
    spent = time.monotonic() - begun
    _write(output, curves, _judge(swarm, observer, exam, spent))
    return 0


def _watch(swarm: Swarm, observer: Observer, exam: Exam, updates: int, seconds: float) -> Curves:
    curves, begun, fewest = Curves(), time.monotonic(), 0
    view = live_view(console) if console.is_interactive else nullcontext()
    with held_back() as pause, view as show:
        while (elapsed := time.monotonic() - begun) < seconds and fewest < updates:
            swarm.check()
            curves.messages.append(observer.refresh())
            curves.seconds.append(elapsed)
            curves.together.append(_reached(observer, exam))
            peers = observer.peers()
            fewest = min(view.seq for view in peers) if len(peers) == len(PEOPLE) else 0
            _show(show, curves, peers, f"{fewest} of {updates} updates")
            pause(_LOOK_SECONDS)
    return curves


def _reached(observer: Observer, exam: Exam) -> float:
    try:
        return accuracy(observer.manifest, observer.estimate().vector, exam)
    except ConfigurationError:  # no peer has published yet
        return 0.0


def _show(show: Callable[[RenderableType], None] | None, curves: Curves, peers: list[PeerView], progress: str) -> None:
    """Show a live table on a terminal, a line now and then elsewhere."""
    summary = f"{curves.seconds[-1]:.0f} s, {curves.messages[-1]:,} messages, {progress}"
    if show:
        line = Text(f"the swarm's model on everybody's held-out windows: {curves.together[-1]:.3f}", "bold cyan")
        show(Group(peer_table(summary, peers, time.time_ns() // 1_000_000), line))
    elif len(curves.seconds) % 15 == 1:
        print(f"{summary}, accuracy {curves.together[-1]:.3f}", flush=True)


def _judge(swarm: Swarm, observer: Observer, exam: Exam, seconds: float) -> Result:
    console.print("training the baselines: each alone, then all data in one place …")
    observer.refresh()
    manifest = observer.manifest
    estimates = [estimate_of(swarm.home / "peers" / peer_of(person), manifest).vector for person in PEOPLE]
    with closing(LocalBlockStore(swarm.directory, read_only=True)) as store:
        own = [Own.of(choice) for choice in choose_own(manifest, exam, estimates, store)]
    return Result(
        alone=train_alone(manifest, exam),
        together=[accuracy(manifest, estimate, exam) for estimate in estimates],
        pooled=train_pooled(manifest, exam),
        own=own,
        seconds=seconds,
        messages=len(observer.tangle),
        bytes_in=sum(view.bytes_in for view in observer.peers()),
    )


def _write(output: Path, curves: Curves, result: Result) -> None:
    names = [peer_of(person) for person in PEOPLE]
    summary = {
        "alone": result.alone, "together": result.together, "pooled": result.pooled, "seconds": result.seconds,
        "own": list(map(asdict, result.own)),
    }  # fmt: skip
    (output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    draw(curves, result, output / "curves.png")
    write_page(result, names, output / "curves.png", output / "report.html")
    rows = [
        [name, f"{alone:.3f}", f"{together:.3f}", f"{(together - alone) * 100:+.1f}"]
        for name, alone, together in zip(names, result.alone, result.together, strict=True)
    ]
    mean = [sum(values) / len(values) for values in (result.alone, result.together)]
    rows.append(["mean", f"{mean[0]:.3f}", f"{mean[1]:.3f}", f"{(mean[1] - mean[0]) * 100:+.1f}"])
    console.print(
        table("accuracy on everybody's held-out windows", ["peer", ">alone", ">together", ">points won"], rows)
    )
    console.print(f"all data in one place: {result.pooled:.3f}")
    own_rows = [
        [name, f"{each.common:.3f}", f"{each.chosen:.3f}", each.model]
        for name, each in zip(names, result.own, strict=True)
    ]
    for word, figures in zip(("worst", "best less worst"), spread(result.own), strict=True):
        own_rows.append([word, *(f"{figure:.3f}" for figure in figures), ""])
    columns = ["peer", ">common model", ">own model", "which it is"]
    console.print(table("accuracy on each person's own held-out windows", columns, own_rows))
    console.print(f"report: {output / 'report.html'}")


main()
