"""``learnae report``: a page about a swarm, in one file that needs nothing else."""

import argparse
from dataclasses import replace

from learnae.cli.estimate_choice import choose_estimate
from learnae.cli.output import print_fields, print_json
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError
from learnae.reports.evaluation import evaluate
from learnae.reports.history import histories
from learnae.reports.swarm_page import swarm_page
from learnae.runtime.homes import existing_peer
from learnae.samples.columns import USUAL_COLUMNS
from learnae.system.atomic_files import write_atomic, writing
from learnae.system.paths import last_status, peers_here

_FILE = "report.html"


def report(options: argparse.Namespace) -> int:
    """Write the page of a swarm, or of one peer of this machine in it, to a directory."""
    only = existing_peer(options.peer) if options.peer else None
    swarm = choose_swarm(options.swarm or (str(last_status(only).get("swarm") or "") if only else ""))
    here = [path for path in peers_here() if last_status(path).get("swarm") == str(swarm.manifest.swarm)]
    if only and only not in here:
        raise ConfigurationError(
            f"{only.name} has not run in swarm {swarm.manifest.name!r}", "name its swarm, or start it"
        )
    with progress("taking in what is published"):
        observer = observe(swarm.directory)
        found = [each for each in histories(observer) if only is None or each.here == only.name]
    measured = None
    if options.data:
        columns = replace(USUAL_COLUMNS, label=options.label or USUAL_COLUMNS.label)
        estimate, which = choose_estimate(swarm, options.peer, None)
        with progress(f"measuring on {options.data.name}") as done:
            found_there = evaluate(swarm.manifest, estimate.vector, options.data, columns, done)
        measured = f"{options.data.name}: {which}", found_there
    written = swarm_page(observer, found, [only] if only else here, measured)
    with writing(options.output):
        options.output.mkdir(parents=True, exist_ok=True)
    write_atomic(options.output / _FILE, written.encode(), mode=0o600)  # own figures are their owner's
    fields = {"report": str(options.output / _FILE), "peers": len(found), "swarm": str(swarm.manifest.swarm)}
    print_json(fields) if options.json else print_fields(fields)
    return 0
