"""``learnae peers``: the swarm's peers, once."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from learnae.adapters.local.bans import Bans
from learnae.adapters.local.clock import SystemClock
from learnae.basics.peer_names import harmless
from learnae.cli.output import console, peer_table, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.protocol.identity import peer_name
from learnae.runtime.observer import Observer, PeerView
from learnae.system.paths import last_status, peers_here
from learnae.text import counted


def peers(options: argparse.Namespace) -> int:
    """Show every peer of the swarm."""
    swarm = choose_swarm(options.swarm)
    observer = observe(swarm.directory)
    views = observer.peers()
    if options.json:
        bans, muted = _bans(swarm.directory), _muted(observer)
        print_json(
            [
                {**dataclasses.asdict(view), "ban": bans.get(view.peer), "muted": muted.get(view.peer, {})}
                for view in views
            ]
        )
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
    if notes := [*held_back, *_notes(observer, views)]:
        table.caption = Text("; ".join(map(harmless, notes)), "italic")
    return table


def _notes(observer: Observer, views: Sequence[PeerView]) -> list[str]:
    """Return a line on each peer that is left out on this machine, and why."""
    bans, muted = _bans(observer.directory), _muted(observer)
    names = {view.peer: view.shown if "#" in view.shown else f"{view.shown}#{view.peer[:8]}" for view in views}
    banned = [f"{names.get(peer, peer[:8])} is banned here: {ban['why']}" for peer, ban in bans.items()]
    return banned + [
        f"{here} does not merge {names.get(peer, peer[:8])} now: {why}"
        for peer, found in muted.items()
        for here, why in found.items()
    ]


def _bans(directory: Path) -> dict[str, dict[str, Any]]:
    return {peer_name(author): dataclasses.asdict(ban) for author, ban in Bans(directory).read().items()}


def _muted(observer: Observer) -> dict[str, dict[str, str]]:
    """Return by peer which peers of this machine do not merge it now, and why."""
    found: dict[str, dict[str, str]] = {}
    for status in map(last_status, peers_here()):
        muted = status.get("muted")
        if status.get("swarm") == str(observer.swarm) and isinstance(muted, dict):
            for peer, why in muted.items():
                found.setdefault(peer, {})[str(status.get("name"))] = str(why)
    return found
