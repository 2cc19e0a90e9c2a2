"""``learnae evaluate``: how good a model is on the rows of a file, which stay here."""

import argparse
from dataclasses import replace

from rich.text import Text

from learnae.basics.peer_names import harmless
from learnae.cli.estimate_choice import choose_estimate
from learnae.cli.output import Cell, console, print_fields, print_json, table
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm
from learnae.errors import ConfigurationError
from learnae.reports.evaluation import evaluate
from learnae.reports.told import Told, plain, told_fields, told_tables
from learnae.samples.columns import USUAL_COLUMNS
from learnae.system.atomic_files import check_target
from learnae.system.installation import how_to_install, is_installed

_MOST_ROWS = 40  # of a table for people; --json has all
_PICTURE = ".png"


def evaluate_file(options: argparse.Namespace) -> int:
    """Measure a model on a file, and say it as a table, in JSON or as a picture."""
    if options.picture:
        check_target(options.picture, [_PICTURE])
        if not is_installed("matplotlib"):
            raise ConfigurationError("--picture needs matplotlib", how_to_install("demo"))
    swarm = choose_swarm(options.swarm)
    manifest, columns = swarm.manifest, replace(USUAL_COLUMNS, label=options.label or USUAL_COLUMNS.label)
    with progress("taking in what is published"):
        estimate, which = choose_estimate(swarm, options.peer, options.version)
    with progress(f"measuring on {options.data.name}") as done:
        found = evaluate(manifest, estimate.vector, options.data, columns, done)
    about = {
        "swarm": str(manifest.swarm),
        "name": manifest.name,
        "task": manifest.task,
        "model": which,
        "published": estimate.age(),
        "file": str(options.data),
    }
    if options.picture:
        from learnae.reports.pictures import draw_evaluation  # noqa: PLC0415 - matplotlib

        draw_evaluation(f"{manifest.name} on {options.data.name}", found, options.picture)
    if options.json:
        print_json({**about, **plain(found)})
    else:
        fields = {"model": f"{which}, published {about['published']}", **told_fields(found, manifest.loss)}
        print_fields({name: harmless(value) for name, value in fields.items()})
        for each in told_tables(found):
            _print(each)
    return 0


def _print(told: Told) -> None:
    """Print a table of at most so many rows that people read them."""
    columns = [harmless(name) for name in told.columns]
    rows: list[list[Cell]] = [[harmless(cell) for cell in row] for row in told.rows[:_MOST_ROWS]]
    shown = table(told.title, columns, rows)
    if len(told.rows) > _MOST_ROWS:
        shown.caption = Text(f"and {len(told.rows) - _MOST_ROWS:,} more: --json has all", "italic")
    console.print(shown)
