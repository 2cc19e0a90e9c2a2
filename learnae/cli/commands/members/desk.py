"""What commands about members share: the swarm, its records, and which member a name or a piece of a key means."""

import argparse
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.peer_names import told_apart
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError, StateError
from learnae.protocol.identity import Identity, peer_name
from learnae.runtime.observer import PeerView
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import Swarm
from learnae.system.paths import KEY_FILE, peers_here
from learnae.text import shown

_LEAST_PIECE = 4  # characters of a key that name a peer


@dataclass(frozen=True, slots=True)
class Desk:
    """A swarm, its records, what its peers have published by key, and how each known peer is shown, by key."""

    swarm: Swarm
    registrar: Registrar
    views: Mapping[str, PeerView]
    names: Mapping[str, str]

    def find(self, text: str, among: Collection[bytes]) -> bytes:
        """Return the key of the peer that ``text`` means: its name, as it is shown, or the begin of its key.

        Raises ConfigurationError if it is none of ``among``, or several.
        """
        keys = {peer_name(author): author for author in among}
        found = [peer for peer in keys if text in (peer, self.names.get(peer))]
        if not found and len(text) >= _LEAST_PIECE:
            found = [peer for peer in keys if peer.startswith(text.lower())]
        if len(found) != 1:
            choices = [self.call(author) for author in keys.values()]
            problem = f"{text!r} means {len(found)} of them" if found else f"no such peer: {text!r}"
            raise ConfigurationError(problem, f"name one: {shown(choices)}" if choices else "there is none to name")
        return keys[found[0]]

    def call(self, author: bytes) -> str:
        """Return how a peer is called: its name and a piece of its key."""
        peer = peer_name(author)
        name = self.names.get(peer, "")
        return name if "#" in name or not name else f"{name}#{peer[:8]}"


def open_desk(options: argparse.Namespace) -> Desk:
    """Open the swarm that a command names, and read what is known of its peers; raises ConfigurationError."""
    swarm = choose_swarm(options.swarm)
    registrar = Registrar(swarm.directory, swarm.manifest, LocalBlockStore(swarm.directory))
    views = {view.peer: view for view in observe(swarm.directory).peers()}
    names = {peer: view.name for peer, view in views.items()}
    for directory in peers_here():
        with suppress(StateError):
            names.setdefault(peer_name(Identity.load(directory / KEY_FILE).author), directory.name)
    if owner := registrar.owner():
        names.setdefault(peer_name(owner.author), "owner")
    known = (*registrar.ledger.roster().members, *registrar.ledger.roster().removed)
    everyone = {**{peer_name(author): "" for author in known}, **names}
    return Desk(swarm, registrar, views, told_apart(everyone))
