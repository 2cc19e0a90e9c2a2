"""``learnae export-metrics``: the figures of a swarm over time, for other programs."""

import argparse

from learnae.cli.output import print_fields, print_json
from learnae.cli.progress import progress
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError
from learnae.reports.figure_files import write_csv, write_tensorboard
from learnae.reports.history import PeerHistory, histories
from learnae.system.atomic_files import check_target

_SUFFIXES = (".csv",)
_LEAST_KEY = 8  # letters of a key that stand for a peer


def export_metrics(options: argparse.Namespace) -> int:
    """Write the history of all peers that are known here, or of one, as a table or for TensorBoard."""
    if options.csv:
        check_target(options.csv, _SUFFIXES)
    swarm = choose_swarm(options.swarm)
    with progress("taking in what is published"):
        observer = observe(swarm.directory)
        found = _chosen(histories(observer), options.peer)
    if not found:
        known = f"peer {options.peer!r}" if options.peer else "any peer"
        raise ConfigurationError(f"nothing is known here of {known} over time", "see learnae peers, or start one")
    with progress("writing"):
        count = write_csv(options.csv, found) if options.csv else write_tensorboard(options.tensorboard, found)
    fields = {"file": str(options.csv or options.tensorboard), "peers": len(found), "points": count}
    print_json(fields) if options.json else print_fields(fields)
    return 0


def _chosen(known: list[PeerHistory], peer: str | None) -> list[PeerHistory]:
    """Return all, or those that ``peer`` names: its directory here, or else how it is shown or the begin of its key."""
    if not peer:
        return known
    here = [each for each in known if each.here == peer]
    return here or [
        each for each in known if each.shown == peer or (len(peer) >= _LEAST_KEY and each.peer.startswith(peer))
    ]
