"""``learnae rollback``: let a stopped peer go on from a version that it has kept."""

import argparse

from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.peer_choice import choose_peer
from learnae.runtime.version_store import roll_back


def rollback(options: argparse.Namespace) -> int:
    """Replace the saved weights of a peer by those of one of its versions."""
    directory = choose_peer(options.peer)
    version = roll_back(directory, options.version)
    fields = {"peer": directory.name, "version": options.version, "steps": version.steps}
    if options.json:
        print_json({**fields, "time": version.time})
    else:
        print_fields({**fields, "kept": human_time(version.time), "next": "start it: its next update is a checkpoint"})
    return 0
