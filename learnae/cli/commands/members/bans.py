"""``learnae ban``, ``unban`` and ``unmerge``: whom the peers of this machine leave out, and what they have taught."""

import argparse
import time
from pathlib import Path

from learnae.adapters.local.bans import MOST_BANS, Ban, Bans
from learnae.cli.output import human_time, print_fields, print_json
from learnae.cli.swarm_choice import choose_swarm, observe
from learnae.errors import ConfigurationError, EncodingError, StateError
from learnae.peer.learning.versions import holds
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity, author_of_name, peer_name
from learnae.runtime.observer import Observer
from learnae.runtime.version_store import last_version_without
from learnae.swarm.directory import Swarm
from learnae.system.paths import KEY_FILE, STATE_FILE, peers_here
from learnae.text import shown

_LEAST_PIECE = 4  # characters of a key


def ban(options: argparse.Namespace) -> int:
    """Let the peers of this machine merge nothing of a peer from now on."""
    return _ban(options, unmerge=False)


def unmerge(options: argparse.Namespace) -> int:
    """Ban a peer, and let the peers of this machine go back to the last version that holds nothing of it."""
    return _ban(options, unmerge=True)


def unban(options: argparse.Namespace) -> int:
    """Let the peers of this machine merge what a peer publishes again."""
    swarm = choose_swarm(options.swarm)
    observer, bans = observe(swarm.directory), Bans(swarm.directory)
    banned = bans.read()
    author = _find(options.peer, observer, set(banned))
    if author not in banned:
        why = "its key has signed two messages with one number, which bans it everywhere"
        problem = f"{options.peer!r} is not banned on this machine"
        if observer.tangle.is_banned(author):
            raise ConfigurationError(f"{problem}: {why}", "its owner joins with a new key")
        raise ConfigurationError(problem, "learnae peers shows who is")
    bans.lift(author)
    _answer(options, {"peer": peer_name(author), "banned": False})
    return 0


def _ban(options: argparse.Namespace, unmerge: bool) -> int:
    swarm = choose_swarm(options.swarm)
    author, bans = _find(options.peer, observe(swarm.directory), set()), Bans(swarm.directory)
    known = bans.read()
    if len(known) >= MOST_BANS and author not in known:
        raise ConfigurationError(f"{len(known)} peers are banned on this machine", "learnae unban one")
    before = known.get(author)
    since, why = int(1000 * time.time()), options.why or (before.why if before else "by hand")
    bans.put(author, Ban(before.since if before else since, why, unmerge or bool(before and before.unmerge)))
    fields = {"peer": peer_name(author), "banned": True, "why": why}
    _answer(options, {**fields, **({"unmerge": _prospects(swarm, author)} if unmerge else {})})
    return 0


def _answer(options: argparse.Namespace, fields: dict[str, object]) -> None:
    if options.json:
        print_json(fields)
        return
    prospects = fields.pop("unmerge", {})
    lines = {name: f"goes on from {found}" for name, found in prospects.items()} if isinstance(prospects, dict) else {}
    print_fields({**fields, **lines, "next": "running peers take it up at once, others when they start"})


def _prospects(swarm: Swarm, author: bytes) -> dict[str, str]:
    """Return by peer of this machine what it goes back to."""
    found = {}
    for path in peers_here():
        try:
            state, own = PeerState.read(path / STATE_FILE), Identity.load(path / KEY_FILE).author
        except (OSError, StateError):  # not run yet, or another user's
            continue
        if state.swarm == swarm.manifest.swarm and own != author:
            found[path.name] = _prospect(path, state, author)
    return found


def _prospect(path: Path, state: PeerState, author: bytes) -> str:
    if not holds(state.held, author):
        return "where it is: nothing of that peer was merged"
    found = last_version_without(path, {author}, state.swarm, state.weights.shape)
    if found is None:
        return "where it is: no version is so old; nothing more of that peer is merged"
    return f"version {found[0]} of {human_time(found[1].time)}"


def _find(text: str, observer: Observer, banned: set[bytes]) -> bytes:
    """Return the key of the peer that ``text`` means: a name as it is shown, or the begin of a key, or a whole key.

    Raises ConfigurationError if it is none that is known, or several.
    """
    views = {view.peer: view for view in observer.peers()}
    names = {peer_name(author): {peer_name(author)} for author in banned}
    names |= {peer: {peer, view.name, view.shown} for peer, view in views.items()}
    found = [peer for peer, own in names.items() if text in own]
    if not found and len(text) >= _LEAST_PIECE:
        found = [peer for peer in names if peer.startswith(text.lower())]
    if len(found) == 1:
        return author_of_name(found[0])
    try:
        return author_of_name(text)
    except EncodingError:
        problem = f"{text!r} means {len(found)} of them" if found else f"no such peer: {text!r}"
        choices = shown(sorted(f"{peer[:8]} ({views[peer].shown})" if peer in views else peer[:8] for peer in names))
        remedy = f"name one by its key: {choices}" if names else "there is none to name"
        raise ConfigurationError(problem, remedy) from None
