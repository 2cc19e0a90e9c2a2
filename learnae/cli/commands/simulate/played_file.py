"""``learnae simulate SCENARIO.toml``: a swarm as a file says, its curves as a table, as JSON or as a page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from learnae.cli.arguments import place
from learnae.cli.output import console, print_json, table
from learnae.cli.progress import progress

if TYPE_CHECKING:
    from learnae.simulation.played import Course
    from learnae.simulation.scenario_file import ScenarioFile
    from learnae.simulation.shards import Shard

_ROWS = 10  # of the table: the page has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a scenario is told by."""
    scenario = "a TOML file that says how many peers, what weather, and who lies (docs/simulation.md)"
    parser.add_argument("file", nargs="?", type=place, metavar="SCENARIO.toml", help=scenario)
    parser.add_argument("--page", type=place, metavar="F", help="write the curves of SCENARIO.toml as an HTML page")


def run(options: argparse.Namespace) -> int:
    """Play the scenario, and tell what became of it."""
    from learnae.simulation.scenario_file import read_scenario  # noqa: PLC0415 - what other commands have no use for
    from learnae.simulation.shards import play_in_shards  # noqa: PLC0415
    from learnae.system.atomic_files import write_atomic  # noqa: PLC0415

    scenario = read_scenario(options.file)
    course = play_in_shards(scenario.time.processes, _played, scenario)
    if options.page is not None:
        write_atomic(options.page, page_of(scenario, course).encode(), durable=False)
    if options.json:
        print_json(course.to_fields())
    else:
        _tell(scenario, course)
    return 0


def _played(shard: Shard, scenario: ScenarioFile) -> Course:
    from learnae.simulation.played import Play  # noqa: PLC0415 - a whole peer

    if shard.index:
        return Play(scenario, shard).run()
    with progress(f"{scenario.swarm.peers} peers, {scenario.time.minutes:g} minutes") as say:
        return Play(scenario, shard).run(say)


def _tell(scenario: ScenarioFile, course: Course) -> None:
    begin = course.points[0].time
    columns = [">minute", ">accuracy", ">worst", ">away", ">messages", ">MB in"]
    chosen = course.points[:: -max(1, len(course.points) // _ROWS)][::-1]
    rows = [
        [
            f"{(point.time - begin) / 60_000 + scenario.time.minutes / len(course.points):.1f}",
            f"{point.accuracy:.1%}", f"{point.worst:.1%}", str(point.away), f"{point.updates:.0f}",
            f"{point.bytes_in / 1e6:.1f}",
        ]
        for point in chosen
    ]  # fmt: skip
    title = f"{scenario.swarm.peers} peers, of whom {scenario.liars.peers} lie; seed {scenario.time.seed}"
    console.print(table(title, columns, rows))
    print(f"trace {course.trace[:16]}")


def page_of(scenario: ScenarioFile, course: Course) -> str:
    """Return the curves as a page."""
    from learnae.reports.chart import Line, chart  # noqa: PLC0415
    from learnae.reports.page import fields, page  # noqa: PLC0415

    def line(name: str, key: str) -> Line:
        return Line(name, [(point.time, getattr(point, key)) for point in course.points])

    swarm, liars = scenario.swarm, scenario.liars
    about = [
        ("peers", f"{swarm.peers:,}"), ("liars", f"{liars.peers:,} {liars.kind}" if liars.peers else "none"),
        ("minutes", f"{scenario.time.minutes:g}"), ("seed", scenario.time.seed), ("trace", course.trace),
    ]  # fmt: skip
    charts = [
        chart(
            "accuracy of honest peers on rows that none trains on", [line("mean", "accuracy"), line("worst", "worst")]
        ),
        chart("machines away", [line("away", "away")]),
        chart("messages of a peer", [line("messages", "updates")]),
        chart("bytes that a peer has taken in", [line("bytes", "bytes_in")]),
    ]
    return page("A simulated swarm", [fields(about), *charts])
