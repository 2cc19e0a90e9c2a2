"""``learnae peers``: the swarm's peers, once."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from learnae.adapters.local.bans import Bans
from learnae.adapters.local.clock import SystemClock
from learnae.basics.headline import headline
from learnae.basics.peer_names import harmless
from learnae.cli.output import console, peer_table, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.protocol.identity import peer_name
from learnae.reports.peer_columns import OwnModel
from learnae.runtime.observer import Observer, PeerView
from learnae.system.paths import last_status, peers_here
from learnae.text import counted, decimal

_LATELY_MS = 60_000  # the oldest status of a peer that runs
_MOST_SENTENCES = 4


def peers(options: argparse.Namespace) -> int:
    """Show every peer of the swarm."""
    swarm = choose_swarm(options.swarm)
    observer = observe(swarm.directory)
    views = observer.peers()
    if options.json:
        bans, muted = _bans(swarm.directory), _muted(observer)
        print_json(
            [
                {**fields, "ban": bans.get(fields["peer"]), "muted": muted.get(fields["peer"], {})}
                for fields in peer_fields(observer, views)
            ]
        )
    else:
        console.print(swarm_table(observer, views))
    return 0


def peer_fields(observer: Observer, views: Sequence[PeerView]) -> list[dict[str, Any]]:
    """Return the fields of ``views`` (PeerView), and what those on this machine say of their own models."""
    said = _personal(observer)
    return [{**dataclasses.asdict(view), "personal": said.get(view.peer)} for view in views]


def swarm_table(observer: Observer, views: Sequence[PeerView]) -> Table:
    """Return the table of ``views``, the peers of the swarm that ``observer`` reads."""
    title = f"{observer.manifest.name}, {counted(len(observer.tangle), 'message')}, {observer.swarm}"
    blind = "what is said is sealed, and no key on this machine opens it: learnae members" if observer.is_blind else ""
    held_back = [
        f"{status.get('name')} holds back its updates: {why}"
        for status in _statuses(observer)
        if (why := status.get("held_back"))
    ]
    own = {
        peer: OwnModel(said["score"], harmless(str(said.get("model"))))
        for peer, said in _personal(observer).items()
        if isinstance(said.get("score"), float)
    }
    table = peer_table(title, views, SystemClock().now(), blind, own)
    if notes := [*_sentences(observer), *_worst_here(own, views), *held_back, *_notes(observer, views)]:
        table.caption = Text("; ".join(map(harmless, notes)), "italic")
    return table


def _worst_here(own: Mapping[str, OwnModel], views: Sequence[PeerView]) -> list[str]:
    """Return a line on how good the models are that serve one peer each of this machine, where there are several."""
    scores = sorted((own[view.peer].score, view.shown) for view in views if view.peer in own)
    if len(scores) < 2:
        return []
    (worst, name), (best, _) = scores[0], scores[-1]
    return [f"own models here: worst {decimal(worst)} ({name}), best less worst {decimal(best - worst)}"]


def _sentences(observer: Observer) -> list[str]:
    """Return how those of this machine are that have said so lately."""
    now, found = SystemClock().now(), list[str]()
    for status in _statuses(observer):
        time = status.get("time")
        if isinstance(time, int) and now - time < _LATELY_MS and len(found) < _MOST_SENTENCES:
            said = headline(status)
            found.append(f"{status.get('name')}: {said.text}" + (f" ({said.remedy})" if said.remedy else ""))
    return found


def _statuses(observer: Observer) -> list[dict[str, Any]]:
    """Return the last status of each peer of this machine that is in the swarm."""
    return [said for said in map(last_status, peers_here()) if said.get("swarm") == str(observer.swarm)]


def _personal(observer: Observer) -> dict[str, dict[str, Any]]:
    """Return by peer what those of this machine say of the model that serves them alone (Personal.status)."""
    return {
        str(status.get("peer")): said
        for status in _statuses(observer)
        if isinstance(said := status.get("personal"), dict)
    }


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
    for status in _statuses(observer):
        muted = status.get("muted")
        if isinstance(muted, dict):
            for peer, why in muted.items():
                found.setdefault(peer, {})[str(status.get("name"))] = str(why)
    return found
