"""``learnae versions``: the consensus estimates that the peers of this machine have kept."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from learnae.cli.output import console, human_time, print_json, table
from learnae.cli.peer_choice import peers_with_versions
from learnae.errors import StateError
from learnae.peer.learning.versions import Version
from learnae.reports.peer_columns import score_columns
from learnae.runtime.version_store import read_version, version_names
from learnae.text import shown, significant

_NAME_CHARACTERS = 8  # of a peer's name, as in learnae peers


def versions(options: argparse.Namespace) -> int:
    """Show every version; a damaged one is an error line and exit status 1."""
    found, status = [], 0
    for directory in peers_with_versions(options.peer):
        for name in version_names(directory):
            try:
                found.append((directory, name, read_version(directory, name)))
            except StateError as error:
                print(f"learnae: {error}", file=sys.stderr)
                status = 1
    if options.json:
        print_json([_fields(*entry) for entry in found])
    else:
        measured = [version.metrics for _, _, version in found]
        scores, scored = score_columns([(of.accuracy, of.r2, of.mae) if of else (None, None, None) for of in measured])
        columns = ["peer", "version", "kept", ">steps", ">rows", ">loss", *scores, "merged from"]
        rows = [_row(*entry, of_it) for entry, of_it in zip(found, scored, strict=True)]
        console.print(table(f"versions of {options.peer or 'all peers here'}", columns, rows))
    return status


def _fields(directory: Path, name: str, version: Version) -> dict[str, Any]:
    metrics = version.metrics
    return {
        "peer": directory.name,
        "version": name,
        "swarm": str(version.swarm),
        "time": version.time,
        "steps": version.steps,
        "metrics": metrics.to_fields() if metrics else None,
        "merged": {peer: str(cid) for peer, cid in version.merged.items()},
    }


def _row(directory: Path, name: str, version: Version, scores: Sequence[str]) -> list[str]:
    metrics = version.metrics
    return [
        directory.name,
        name,
        human_time(version.time),
        f"{version.steps:,}",
        f"{metrics.rows:,}" if metrics else "-",
        significant(metrics.loss if metrics else None),
        *scores,
        shown([peer[:_NAME_CHARACTERS] for peer in version.merged]) or "-",
    ]
