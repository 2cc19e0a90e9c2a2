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


def export_metrics(options: argparse.Namespace) -> int:
    """Write the history of all peers that are known here, or of one, as a table or for TensorBoard."""
    if options.csv:
        check_target(options.csv, _SUFFIXES)
    swarm = choose_swarm(options.swarm)
    with progress("taking in what is published"):
        observer = observe(swarm.directory)
        found = [each for each in histories(observer) if not options.peer or _is_meant(each, options.peer)]
    if not found:
        known = f"peer {options.peer!r}" if options.peer else "any peer"
        raise ConfigurationError(f"nothing is known here of {known} over time", "see learnae peers, or start one")
    with progress("writing"):
        count = write_csv(options.csv, found) if options.csv else write_tensorboard(options.tensorboard, found)
    fields = {"file": str(options.csv or options.tensorboard), "peers": len(found), "points": count}
    print_json(fields) if options.json else print_fields(fields)
    return 0


def _is_meant(history: PeerHistory, peer: str) -> bool:
    """Return True if ``peer`` is the directory's name here, or how the peer is shown, or the begin of its key."""
    return peer in (history.here, history.shown) or (len(peer) >= 8 and history.peer.startswith(peer))
