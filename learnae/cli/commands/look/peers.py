"""``learnae peers``: the swarm's peers, once."""

import argparse
import dataclasses
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from learnae.adapters.local.clock import SystemClock
from learnae.basics.peer_names import harmless
from learnae.cli.output import console, peer_table, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.runtime.observer import Observer, PeerView
from learnae.system.paths import last_status, peers_here
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
    here = [last_status(path) for path in peers_here()]
    held_back = [
        f"{status.get('name')} holds back its updates: {why}"
        for status in here
        if status.get("swarm") == str(observer.swarm) and (why := status.get("held_back"))
    ]
    table = peer_table(title, views, SystemClock().now(), blind)
    if held_back:
        table.caption = Text("; ".join(map(harmless, held_back)), "italic")
    return table
