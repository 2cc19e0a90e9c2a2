"""``learnae-agent``: the peer on a board."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import learnae
from agent.config import AgentConfig
from agent.wiring import ROLE, build, build_collector
from learnae.config import load_config
from learnae.errors import ConfigurationError, LearnaeError
from learnae.home import find_swarm, open_manifest
from learnae.logs import set_up_logging
from learnae.models.dataset import Dataset
from learnae.service import EXIT_CONFIGURATION, EXIT_TRY_AGAIN, Service


def main(arguments: list[str] | None = None) -> None:
    """Entry point; the only place that exits."""
    options = _parser().parse_args(arguments)
    set_up_logging(options.verbose)
    try:
        sys.exit(_run(options) if options.verb == "run" else _check(options))
    except ConfigurationError as error:
        print(f"learnae-agent: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIGURATION)
    except LearnaeError as error:
        print(f"learnae-agent: {error}", file=sys.stderr)
        sys.exit(EXIT_TRY_AGAIN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="learnae-agent", description=__doc__)
    parser.add_argument("--version", action="version", version=learnae.__version__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("run", "collect, train and share, in the foreground"),
        ("check", "check configuration and data"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("--config", type=Path, metavar="F", help="read this file instead of the usual ones")
        command.add_argument("--verbose", action="store_true", help="log everything")
        if verb == "check":
            command.add_argument("--json", action="store_true", help="for machines")
    return parser


def _run(options: argparse.Namespace) -> int:
    config = load_config(AgentConfig, ROLE, options.config)
    member = build(config, lambda: load_config(AgentConfig, ROLE, options.config))
    return Service(member.work()).run()


def _check(options: argparse.Namespace) -> int:
    config = load_config(AgentConfig, ROLE, options.config)
    manifest = open_manifest(find_swarm(config.swarm.id))
    dataset = Dataset(manifest.model, manifest.objective)
    collector = build_collector(config, manifest, dataset)
    collector.collect()
    report = {
        "swarm": str(manifest.swarm),
        "model": f"{manifest.model.count} parameters",
        "samples_now": collector.samples,
        "training_rows_now": len(dataset.train),
        "holdout_rows_now": len(dataset.holdout),
        "skipped_rows": dataset.skipped,
        "state": str(config.peer.directory(ROLE)),
    }
    print(json.dumps(report) if options.json else "\n".join(f"{name}: {value}" for name, value in report.items()))
    return 0
