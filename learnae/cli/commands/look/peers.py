"""``learnae peers``: the swarm's peers, once."""

import argparse
import dataclasses
from collections.abc import Sequence

from rich.table import Table

from learnae.adapters.local.clock import SystemClock
from learnae.cli.output import console, peer_table, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.runtime.observer import Observer, PeerView
from learnae.text import counted


def peers(options: argparse.Namespace) -> int:
    """Show every peer of the swarm."""
    observer = observe(choose_swarm(options.swarm).directory)
    views = observer.peers()
    if options.json:
        print_json([dataclasses.asdict(view) for view in views])
    else:
        console.print(swarm_table(observer, views))
    return 0


def swarm_table(observer: Observer, views: Sequence[PeerView]) -> Table:
    """Return the table of ``views``, the peers of the swarm that ``observer`` reads."""
    title = f"{observer.manifest.name}, {counted(len(observer.tangle), 'message')}, {observer.swarm}"
    blind = "what is said is sealed, and no key on this machine opens it: learnae members" if observer.is_blind else ""
    return peer_table(title, views, SystemClock().now(), blind)
