"""What is done to peers and the home of this machine as a whole: moved, left, renamed, while nothing runs there."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shlex import quote

from learnae.adapters.local.lock import Lock
from learnae.errors import ConfigurationError, InUseError, LearnaeError, NotWrittenError, StateError
from learnae.ipld.cid import Cid
from learnae.peer.state import PeerState
from learnae.protocol.identity import Identity, peer_name
from learnae.system.atomic_files import writing
from learnae.system.paths import KEY_FILE, LOCK_FILE, MANIFEST_FILE, STATE_FILE, home, peer_directory, peers_here

_CACHE = "cache"  # in a home: made again when it is needed
_LEFT, _MOVING, _MOVED = ".left-", ".learnae-moving-", ".learnae-moved-"


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
            try:
                with writing(peer):
                    held.callback(Lock(peer / LOCK_FILE).release)
            except InUseError as error:
                raise InUseError(error.problem, "stop that one first") from error
            except NotWrittenError as error:
                if peer.is_dir():
                    raise
                raise StateError(f"{peer} is gone", "look what another command has done: learnae doctor") from error
        yield


def half_done(prefix: str, beside: Path) -> Path:
    """Return a hidden path beside ``beside`` for work of this process; what killed ones have left there is removed.

    Raises NotWrittenError.
    """
    with writing(beside):
        for path in beside.parent.glob(f"{prefix}*"):
            number = path.name.rpartition("-")[2]
            if number == str(os.getpid()) or (number.isdecimal() and not os.path.exists(f"/proc/{number}")):
                shutil.rmtree(path)
    return beside.with_name(f"{prefix}{beside.name}-{os.getpid()}")


def clear_left() -> None:
    """Remove what a removal that was killed has left; raises NotWrittenError."""
    for name in ("peers", "swarms"):
        half_done(_LEFT, home() / name / "x")


def remove_peer(peer: Path, swarm: Path | None = None) -> None:
    """Remove a stopped peer: its key, and all that it has learnt and measured; and the directory ``swarm``, if given.

    Raises StateError if it runs, NotWrittenError.
    """
    with stopped(peer), writing(peer):
        said = _announcement(peer)
        for directory in filter(None, (swarm, peer)):
            gone = half_done(_LEFT, directory)  # so that no half of it is ever used
            os.rename(directory, gone)
            shutil.rmtree(gone)
        if said is not None:
            said.unlink(missing_ok=True)


def rename_peer(peer: Path, name: str) -> Path:
    """Give a stopped peer another name on this machine; its key stays. Returns its new directory.

    Raises ConfigurationError if there is one of that name, StateError if it runs, NotWrittenError.
    """
    target = peer_directory(name)
    if os.path.lexists(target):
        raise ConfigurationError(f"there is a peer {name!r} already", "choose another name")
    with stopped(peer), writing(target):
        os.rename(peer, target)
    return target


def move_home(target: Path) -> Path:
    """Move this home to ``target``, and leave a link to it, so that all that names the old place goes on.

    On another file system the home is copied first, without its cache, and removed when the copy is complete. Returns
    the whole path of the new place. Raises ConfigurationError if ``target`` cannot be one, StateError if a peer runs,
    NotWrittenError.
    """
    link = home().absolute()
    old = link.resolve()
    if not old.is_dir():
        raise ConfigurationError(f"there is nothing at {link}", "set LEARNAE_HOME to the home that is to be moved")
    if os.path.ismount(old):
        remedy = "copy what is in it while its peers are stopped, and set LEARNAE_HOME"
        raise ConfigurationError(f"{old} is a whole file system, which cannot be moved", remedy)
    if os.path.lexists(target):
        raise ConfigurationError(f"{target.absolute()} exists", "name a directory that is not there yet")
    target = target.parent.resolve() / target.name
    if target.is_relative_to(old):
        raise ConfigurationError(f"{target} is in the home itself", "name a place outside of it")
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no directory {target.parent}", "make it first")
    if path := next(_links_elsewhere(old), None):
        remedy = f"make it absolute: ln -sfn {quote(os.path.realpath(path))} {quote(str(path))}"
        raise ConfigurationError(f"{path} leads to {os.readlink(path)}, which a move would break", remedy)
    with stopped(*peers_here()), writing(target):
        leads = link.with_name(f"{_MOVED}{link.name}-link")  # made first: where it cannot be, nothing is moved
        leads.unlink(missing_ok=True)
        leads.symlink_to(target, target_is_directory=True)
        gone = None
        try:
            if os.stat(old).st_dev == os.stat(target.parent).st_dev:
                os.rename(old, target)
            else:
                _copy(old, half_done(_MOVING, target), target)
                gone = old if link.is_symlink() else old.rename(half_done(_MOVED, old))
            os.replace(leads, link)
        finally:
            leads.unlink(missing_ok=True)
        if gone is not None:
            shutil.rmtree(gone)
    return target


def _copy(old: Path, partial: Path, target: Path) -> None:
    """Make ``target`` a whole copy that is on the disk, or nothing."""
    try:
        shutil.copytree(old, partial, symlinks=True, ignore=_not_kept)
        owner = old.stat()
        if os.geteuid() == 0:
            os.chown(partial, owner.st_uid, owner.st_gid)
        os.sync()
        os.rename(partial, target)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, shutil.Error):  # of all files that could not be copied
            raise OSError(errno.EIO, error.args[0][0][2]) from error
        raise


def _links_elsewhere(directory: Path) -> Iterator[Path]:
    """Yield links in ``directory`` to relative paths outside of it."""
    for place, folders, files in os.walk(directory):
        for path in (Path(place, name) for name in (*folders, *files)):
            is_relative = path.is_symlink() and not os.path.isabs(os.readlink(path))
            if is_relative and not Path(os.path.realpath(path)).is_relative_to(directory):
                yield path


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
    """Return the bytes of all files in ``directory``; those that vanish meanwhile do not count."""
    size = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            size += 0 if path.is_dir() else path.lstat().st_size
    return size


def leave_to_owner() -> None:
    """Give what root has made in another user's home to that user: its peers could not read it otherwise."""
    top = Path(os.path.realpath(home()))
    if os.geteuid() != 0 or not top.is_dir():
        return
    owner = top.stat()
    if owner.st_uid == 0:
        return
    for _, folders, files, directory in os.fwalk(top):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if found.st_uid == 0 and (found.st_nlink == 1 or stat.S_ISDIR(found.st_mode)):
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)
