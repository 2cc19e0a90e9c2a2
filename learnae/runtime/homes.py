"""What is done to peers and the home of this machine as a whole: moved, left, renamed, while nothing runs there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from learnae.adapters.local.lock import Lock
from learnae.errors import ConfigurationError, LearnaeError, StateError
from learnae.ipld.cid import Cid
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity, peer_name
from learnae.system.atomic_files import writing
from learnae.system.paths import KEY_FILE, LOCK_FILE, MANIFEST_FILE, STATE_FILE, home, peer_directory, peers_here

_CACHE = "cache"  # in a home: made again when it is needed


def existing_peer(name: str) -> Path:
    """Return the directory of the peer ``name`` of this home; raises ConfigurationError if there is none."""
    directory = peer_directory(name)
    if not directory.is_dir():
        names = ", ".join(path.name for path in peers_here())
        raise ConfigurationError(f"no peer {name!r} in {home()}", f"there are {names}" if names else "there is none")
    return directory


def swarm_of(peer: Path) -> Cid | None:
    """Return the swarm that a peer has learnt in; None if it has not run yet, or its state cannot be read."""
    try:
        return PeerState.read(peer / STATE_FILE).swarm
    except (OSError, LearnaeError):
        return None


@contextmanager
def stopped(*peers: Path) -> Iterator[None]:
    """Keep these peers from starting; raises StateError if one runs."""
    with ExitStack() as held:
        for peer in peers:
            with writing(peer):
                held.callback(Lock(peer / LOCK_FILE).release)
        yield


def remove_peer(peer: Path, swarm: Path | None = None) -> None:
    """Remove a stopped peer: its key, and all that it has learnt and measured; and the directory ``swarm``, if given.

    Raises StateError if it runs, NotWrittenError.
    """
    with stopped(peer), writing(peer):
        said = _announcement(peer)
        for directory in filter(None, (swarm, peer)):
            gone = directory.with_name(f".left-{directory.name}-{os.getpid()}")  # so that no half of it is ever used
            os.rename(directory, gone)
            shutil.rmtree(gone)
        if said is not None:
            said.unlink(missing_ok=True)


def rename_peer(peer: Path, name: str) -> Path:
    """Give a stopped peer another name on this machine; its key stays. Returns its new directory.

    Raises ConfigurationError if there is one of that name, StateError if it runs, NotWrittenError.
    """
    target = peer_directory(name)
    if target.exists():
        raise ConfigurationError(f"there is a peer {name!r} already", "choose another name")
    with stopped(peer), writing(target):
        os.rename(peer, target)
    return target


def move_home(target: Path) -> None:
    """Move this home to ``target``, and leave a link to it, so that all that names the old place goes on.

    On another file system the home is copied first, without its cache, and removed when the copy is complete. Raises
    ConfigurationError if ``target`` cannot be one, StateError if a peer runs, NotWrittenError.
    """
    link = home().absolute()
    old, target = link.resolve(), target.absolute()
    if not old.is_dir():
        raise ConfigurationError(f"there is nothing at {link}", "set LEARNAE_HOME to the home that is to be moved")
    if os.path.lexists(target):
        raise ConfigurationError(f"{target} exists", "name a directory that is not there yet")
    if target.resolve().is_relative_to(old):
        raise ConfigurationError(f"{target} is in the home itself", "name a place outside of it")
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no directory {target.parent}", "make it first")
    with stopped(*peers_here()), writing(target):
        if os.stat(old).st_dev == os.stat(target.parent).st_dev:
            os.rename(old, target)
            _link(link, target)
            return
        partial = target.with_name(f".moving-{target.name}-{os.getpid()}")
        try:
            shutil.copytree(old, partial, symlinks=True, ignore=_not_kept)
            os.rename(partial, target)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        gone = old.with_name(f".moved-{old.name}-{os.getpid()}")
        os.rename(old, gone)
        _link(link, target)
        shutil.rmtree(gone)


def _link(link: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        link.unlink()  # it has been moved before
    link.symlink_to(target, target_is_directory=True)


def _not_kept(directory: str, names: list[str]) -> list[str]:
    """Return which of ``names`` are not copied: the cache, and sockets and the like, which other programs make."""
    skipped = [name for name in names if not os.path.isfile(path := os.path.join(directory, name))
               and not os.path.isdir(path) and not os.path.islink(path)]  # fmt: skip
    return [*skipped, _CACHE] if directory == str(home().resolve()) else skipped


def _announcement(peer: Path) -> Path | None:
    """Return where the peer announces itself to the others of this machine; None if it has not run."""
    swarm = swarm_of(peer)
    if swarm is None or not (home() / "swarms" / str(swarm) / MANIFEST_FILE).exists():
        return None
    try:
        name = peer_name(Identity.load(peer / KEY_FILE).author)
    except StateError:
        return None
    return home() / "swarms" / str(swarm) / "heads" / name


def size_of(directory: Path) -> int:
    """Return the bytes of all files in ``directory``."""
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())
