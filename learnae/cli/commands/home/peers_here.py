"""``learnae leave`` and ``rename``: what becomes of a peer of this machine."""

import argparse
import os
import re
import sys
import time
import tomllib
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.adapters.local.lock import end_holder, holder
from learnae.cli.commands.swarm.join import toml_text
from learnae.cli.output import human_bytes, print_fields, print_json
from learnae.config.loading import config_files, user_config_directory
from learnae.errors import ConfigurationError, LearnaeError, NotWrittenError, StateError
from learnae.membership.gate import REMOVED
from learnae.protocol.identity import Identity
from learnae.runtime.homes import clear_left, existing_peer, remove_peer, rename_peer, size_of, swarm_of
from learnae.runtime.registrar import Registrar
from learnae.swarm.directory import open_manifest, swarms_here
from learnae.system.atomic_files import write_atomic
from learnae.system.paths import KEY_FILE, LOCK_FILE, home, last_status, peer_directory, peers_here
from learnae.text import shown

_ROLES = ("trainer", "agent")
_NAME = re.compile(r"(?m)^[ \t]*name[ \t]*=[ \t]*(\"[^\"\\\n]*\"|'[^'\n]*')")
_MAX_BYTES = 1 << 20
_GOODBYE_SECONDS = 3.0  # for a running peer to hear that it goes, and to tell others


def leave(options: argparse.Namespace) -> int:
    """Say what will be removed, ask, stop the peer and remove it."""
    clear_left()
    peer = existing_peer(options.peer) if options.peer else _only_peer()
    swarm = _swarm_alone(peer) if options.with_swarm else None
    process = holder(peer / LOCK_FILE)
    fields: dict[str, Any] = {
        "peer": peer.name,
        "running": f"process {process}, will be stopped" if process else "no",
        "removed": f"{peer}, {human_bytes(size_of(peer))}: its key, model, versions and readings",
    }
    if swarm:
        fields["also"] = f"{swarm}, {human_bytes(size_of(swarm))}"
    if stays := configurations(peer.name):
        fields["stays"] = f"{shown(list(map(str, stays)))}: with it, a start would make a new peer"
    if not options.json:
        print_fields(fields)
    if not options.yes:
        _ask()
    _say_goodbye(peer, process is not None)
    end_holder(peer / LOCK_FILE)
    remove_peer(peer, swarm)
    if options.json:
        removed = [str(peer), *([str(swarm)] if swarm else [])]
        print_json({"removed": removed, "stays": list(map(str, stays))})
    else:
        print("removed")
    return 0


def _say_goodbye(peer: Path, is_running: bool) -> None:
    """Publish that a member goes, and let it tell others while it runs; a peer that cannot is removed all the same."""
    try:
        identity = Identity.load(peer / KEY_FILE)
    except StateError:
        return
    said = False
    for directory in swarms_here():
        try:
            manifest = open_manifest(directory)
            if manifest.is_sealed:
                with closing(LocalBlockStore(directory)) as store:
                    registrar = Registrar(directory, manifest, store)
                    if registrar.leave(identity):
                        registrar.announce()
                        said = True
        except LearnaeError as error:
            print(f"learnae: {directory}: its leave is not published: {error}", file=sys.stderr)
    deadline = time.monotonic() + _GOODBYE_SECONDS
    while said and is_running and time.monotonic() < deadline and last_status(peer).get("membership") != REMOVED:
        time.sleep(0.05)


def rename(options: argparse.Namespace) -> int:
    """Rename a stopped peer, also in the configurations of this user that name it."""
    peer, name = existing_peer(options.peer), peer_directory(options.name).name
    texts = {path: _renamed(path, name) for path in configurations(peer.name)}
    moved = rename_peer(peer, name)
    changed = [str(path) for path, text in texts.items() if text is not None and _write(path, text)]
    by_hand = [str(path) for path in texts if str(path) not in changed]
    if options.json:
        print_json({"peer": moved.name, "directory": str(moved), "changed": changed, "by_hand": by_hand})
    else:
        print_fields({"peer": moved.name, "directory": str(moved), "changed": shown(changed) or "-"})
    for place in by_hand or ["the configuration that it is started with"] * (not texts):
        print(f"learnae: in {place}, set [peer] name to {name!r} yourself", file=sys.stderr)
    return int(bool(by_hand))


def configurations(name: str) -> list[Path]:
    """Return the configurations of this user and of this machine that are of the peer ``name``."""
    usual = {path: role for role in _ROLES for path in config_files(role)}
    found = sorted({*usual, *user_config_directory().glob("*.toml"), *Path("/etc/learnae").glob("*.toml")})
    return [path for path in found if _peer_in(path, usual.get(path, "")) == name]


def _peer_in(path: Path, role: str) -> str | None:
    """Return the name that a configuration gives its peer, or else the ``role``; None if its state is elsewhere."""
    section = _read(path).get("peer", {}) if path.is_file() else None
    if not isinstance(section, dict) or section.get("state"):
        return None
    return str(section.get("name") or role) or None


def _write(path: Path, text: str) -> bool:
    """Write a configuration, where it is a link there; return False if that cannot be done."""
    try:
        found = path.stat()
        write_atomic(real := path.resolve(), text.encode(), mode=found.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(real, found.st_uid, found.st_gid)
    except (OSError, NotWrittenError) as error:
        print(f"learnae: {error}", file=sys.stderr)
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):  # a program that reads it will say so
        return tomllib.loads(path.read_bytes()[:_MAX_BYTES].decode("utf-8-sig"))
    return {}


def _renamed(path: Path, name: str) -> str | None:
    """Return the text of a configuration with another peer.name; None if it is written in an unusual way."""
    wanted = _read(path)
    text = path.read_bytes().decode("utf-8-sig")  # lines end as they did
    literal = toml_text("peer", {"name": name}).splitlines()[1]
    head, section, rest = text.partition("[peer]")
    wanted["peer"] = {**wanted.get("peer", {}), "name": name}
    ways = (
        f"{head}{section}{_NAME.sub(lambda _: literal, rest, count=1)}",
        f"{head}{section}\n{literal}{rest}",
        f"[peer]\n{literal}\n\n{text}",
    )
    for changed in ways:
        with suppress(ValueError):
            if tomllib.loads(changed) == wanted:
                return changed
    return None


def _only_peer() -> Path:
    found = peers_here()
    if len(found) != 1:
        names = f"name one: {shown([path.name for path in found])}" if found else "join a swarm first: learnae join"
        raise ConfigurationError(
            f"there are {len(found)} peers in {home()}" if found else "there is no peer here", names
        )
    return found[0]


def _swarm_alone(peer: Path) -> Path | None:
    """Return the directory of a peer's swarm; raises ConfigurationError if another peer here is, or may be, in it."""
    swarm, remedy = swarm_of(peer), "leave out --with-swarm"
    if swarm is None:
        raise ConfigurationError(f"{peer.name} has not run, so its swarm is not known", remedy)
    others = {path.name: swarm_of(path) for path in peers_here() if path != peer}
    if there := [name for name, other in others.items() if other == swarm]:
        raise ConfigurationError(f"{shown(there)} {'is' if len(there) == 1 else 'are'} in that swarm, too", remedy)
    if perhaps := [name for name, other in others.items() if other is None]:
        raise ConfigurationError(
            f"{shown(perhaps)} may be in that swarm, too: no state says", f"{remedy}, or leave {perhaps[0]} first"
        )
    directory = home() / "swarms" / str(swarm)
    if not directory.is_dir():
        raise ConfigurationError(f"the swarm of {peer.name} is not in this home", f"{remedy}, and remove it yourself")
    return directory


def _ask() -> None:
    """Raise ConfigurationError unless the user says yes; off a terminal there is no one to ask."""
    unanswered = ConfigurationError("nothing was removed", "to do it, add --yes")
    if sys.stdin is None or not sys.stdin.isatty():  # None where it is closed
        raise unanswered
    print("remove it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise unanswered
