"""What is known of a swarm's past on this machine: each peer's figures over time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from learnae.adapters.local.figures_file import Figures, read_figures
from learnae.protocol.bodies import Update
from learnae.protocol.identity import peer_name
from learnae.runtime.observer import Observer
from learnae.system.paths import FIGURES_FILE, last_status, peers_here


@dataclass(frozen=True, slots=True)
class PeerHistory:
    """The ``points`` of the peer with that key, oldest first, and how it is ``shown``.

    ``here`` is the name of its directory on this machine, empty for a peer of another one: of that, only what it has
    published since its last checkpoint is known.
    """

    peer: str
    shown: str
    here: str
    points: list[Figures]


def histories(observer: Observer) -> list[PeerHistory]:
    """Return the history of each peer that ``observer`` knows, those of this machine first. Raises StateError."""
    names = {view.peer: view.shown for view in observer.peers()}
    found = dict[str, PeerHistory]()
    for directory in peers_here():
        status = last_status(directory)
        peer = str(status.get("peer"))
        if status.get("swarm") == str(observer.swarm) and (points := read_figures(directory / FIGURES_FILE)):
            found[peer] = PeerHistory(peer, names.get(peer, directory.name), directory.name, points)
    for peer, points in _published(observer).items():
        found.setdefault(peer, PeerHistory(peer, names.get(peer, peer[:8]), "", points))
    return sorted(found.values(), key=lambda each: (not each.here, each.shown, each.peer))


def _published(observer: Observer) -> dict[str, list[Figures]]:
    """Return what the updates that are here say, by peer, oldest first."""
    found = dict[str, list[Figures]]()
    for message in observer.messages(len(observer.tangle)):
        if isinstance(message.body, Update):
            found.setdefault(peer_name(message.author), []).append(Figures(message.time, _figures(message.body)))
    return {peer: points[::-1] for peer, points in found.items()}


def _figures(update: Update) -> Mapping[str, float]:
    metrics = update.metrics
    values = {
        "steps": update.steps,
        "loss": metrics.loss if metrics else None,
        "accuracy": metrics.accuracy if metrics else None,
        "mae": metrics.mae if metrics else None,
        "r2": metrics.r2 if metrics else None,
        "holdout_rows": metrics.rows if metrics else None,
        "bytes_out": update.bytes_out,
        "bytes_in": update.bytes_in,
        "epsilon": update.privacy.epsilon if update.privacy else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}
