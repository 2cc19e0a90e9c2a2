"""Backups: keys, states, budgets, versions and blocks in a tar file, which a home takes back piece by piece, checked.

::

    peers/<name>/key.pem  peers/<name>/state  peers/<name>/summaries  peers/<name>/privacy.sqlite
    peers/<name>/versions/<version>
    swarms/<id>/manifest.cbor  swarms/<id>/owner.key  swarms/<id>/bans/<peer>  swarms/<id>/blocks/<cid>

Nothing else of a home is in it: no readings, no results, no log. What is restored is looked at as if a stranger had
sent it.
"""

import io
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import IO, cast

from learnae.adapters.local.bans import BAN_BYTES, Ban, Bans
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import BlockMissingError, ConfigurationError, EncodingError, LearnaeError, PeerError, StateError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.peer.state import PeerState
from learnae.ports import check_named
from learnae.privacy.budget_file import FILE as BUDGET
from learnae.privacy.budget_file import check_snapshot, snapshot
from learnae.protocol.identity import Identity, author_of_name, peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import open_message
from learnae.runtime.homes import half_done
from learnae.runtime.version_store import read_version, version_names
from learnae.swarm.directory import create_swarm, open_manifest
from learnae.swarm.manifest import MAX_BYTES as MANIFEST_BYTES
from learnae.swarm.manifest import Manifest
from learnae.system.atomic_files import TEMPORARY, open_regular, writing
from learnae.system.paths import (
    BANS,
    KEY_FILE,
    MANIFEST_FILE,
    OWNER_FILE,
    STATE_FILE,
    SUMMARIES_FILE,
    VERSIONS,
    home,
    peer_directory,
    peers_here,
)
from learnae.system.private_files import make_directory
from learnae.text import shown

_KEY_BYTES = 4096
_WEIGHTS_BYTES = 1 << 34  # of a state or a version: far more than any model here
_PIECE_BYTES = 1 << 20  # read at once, also of what tells about an entry
_PEER = re.compile(
    rf"peers/([^/]+)/({re.escape(KEY_FILE)}|{STATE_FILE}|{SUMMARIES_FILE}|{re.escape(BUDGET)}|{VERSIONS}/(?:best|v[0-9]{{1,12}}))"
)
_OWNER = re.compile(rf"swarms/([a-z0-9]+)/{re.escape(OWNER_FILE)}")
_BAN = re.compile(rf"swarms/([a-z0-9]+)/{BANS}/([a-z0-9]+)")
_BLOCK = re.compile(rf"swarms/([a-z0-9]+)/(?:{re.escape(MANIFEST_FILE)}|blocks/([a-z0-9]+))")
Done = Callable[[float], None]  # told which share is done
_ANOTHER = "take another backup"
_NOT_ONE = "give a file that learnae backup has written"


def back_up(peers: list[Path], swarms: list[Path], file: Path, done: Done = lambda _: None) -> int:
    """Write a backup of these directories; peers may run meanwhile. Return its bytes; raises NotWrittenError.

    The file holds private keys: only its owner may read it.
    """
    temporary = file.with_name(f"{TEMPORARY}{os.getpid()}-{file.name}")
    with writing(file):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with (
                os.fdopen(descriptor, "wb") as raw,
                tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                for peer in peers:  # first: what a state stands on may be more than it knows, never less
                    for name in (
                        KEY_FILE,
                        STATE_FILE,
                        SUMMARIES_FILE,
                        *(f"{VERSIONS}/{name}" for name in version_names(peer)),
                    ):
                        _add_file(tar, peer / name, f"peers/{peer.name}/{name}")
                    if (budget := snapshot(peer / BUDGET)) is not None:  # after the state: it has paid for all of it
                        _add(tar, f"peers/{peer.name}/{BUDGET}", len(budget), io.BytesIO(budget))
                for number, swarm in enumerate(swarms):
                    _add_swarm(tar, swarm, partial(_tell_part, done, number, len(swarms)))
                tar.close()
                raw.flush()
                os.fsync(descriptor)
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    return file.stat().st_size


def _tell_part(done: Done, number: int, count: int, share: float) -> None:
    done((number + share) / count)


def _add_file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        file = open_regular(path)
    except FileNotFoundError:  # it has not run yet, or a version has just been replaced
        return
    with file:
        _add(tar, name, os.fstat(file.fileno()).st_size, file)


def _add_swarm(tar: tarfile.TarFile, swarm: Path, done: Done) -> None:
    manifest = open_manifest(swarm)
    data, name = manifest.to_bytes(), f"swarms/{manifest.swarm}"
    _add(tar, f"{name}/{MANIFEST_FILE}", len(data), io.BytesIO(data))
    _add_file(tar, swarm / OWNER_FILE, f"{name}/{OWNER_FILE}")
    for author, ban in Bans(swarm).read().items():
        content = ban.to_bytes()
        _add(tar, f"{name}/{BANS}/{peer_name(author)}", len(content), io.BytesIO(content))
    with closing(LocalBlockStore(swarm, read_only=True)) as store:
        for number, cid in enumerate(cids := list(store.cids())):
            done(number / len(cids))
            try:
                block = store.get(cid)
            except (BlockMissingError, PeerError):  # deleted since, or damaged
                continue
            _add(tar, f"{name}/blocks/{cid}", len(block), io.BytesIO(block))


def _add(tar: tarfile.TarFile, name: str, size: int, file: IO[bytes]) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    tar.addfile(entry, file)


def restore(file: Path, done: Done = lambda _: None) -> tuple[list[Path], dict[str, str]]:
    """Take the peers and swarms of a backup into this home; return their directories, and who is here already.

    Those stay as they are, whatever their names here: no key may be used twice. Each peer appears whole or not at all.
    Raises ConfigurationError if the file is no backup, if all are here already, or if another peer has a name that is
    needed; StateError if a part of it is damaged, NotWrittenError.
    """
    peers = home() / "peers"  # perhaps a link to another file system: what is renamed is made where it goes
    staged = half_done(".restoring-", peers / "backup")
    with writing(staged):
        make_directory(peers)
        make_directory(staged, 0o700)
    try:
        with _opened(file) as tar:
            names = _take_all(tar, staged, file, done)
        if not names:
            raise ConfigurationError(f"there is no peer in {file}", _NOT_ONE)
        authors = {name: _check_peer(staged / name, file) for name in names}
        here = _keys_here()
        known = {name: here[author] for name, author in authors.items() if author in here}
        new = [name for name in names if name not in known]
        if not new:
            first = next(iter(known.values()))
            remedy = f"to go back to the backup, first: learnae leave {quote(first)}"
            raise ConfigurationError(
                f"{shown(names)} of {file} {'is' if len(names) == 1 else 'are'} here already", remedy
            )
        for name in new:
            if os.path.lexists(peer_directory(name)):
                remedy = f"rename it first: learnae rename {quote(name)} NAME"
                raise ConfigurationError(f"there is another peer {name!r} here", remedy)
        return [_adopt(staged / name, peer_directory(name)) for name in new], known
    finally:
        shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with open_regular(file) as raw, tarfile.open(fileobj=cast(IO[bytes], _Pieces(raw)), mode="r:") as tar:
            yield tar
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror or error}", "check the path") from error
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is no backup: {error}", _NOT_ONE) from error


class _Pieces:
    """A file that is read in pieces only: what a header says may be more than the memory has."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; raises tarfile.ReadError if they are too many."""
        if size > _PIECE_BYTES + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"{size} bytes about one entry")
        return self._file.read(size)


def _take_all(tar: tarfile.TarFile, staged: Path, file: Path, done: Done) -> list[str]:
    """Put the peers of a backup below ``staged``, and its swarms and their blocks where they belong."""
    names: list[str] = []
    size = max(file.stat().st_size, 1)
    for entry in tar:
        done(min(1.0, entry.offset / size))
        peer, block, owner, ban = (form.fullmatch(entry.name) for form in (_PEER, _BLOCK, _OWNER, _BAN))
        content = tar.extractfile(entry) if entry.isreg() and not entry.issparse() else None
        if content is None or not (peer or block or owner or ban):
            raise ConfigurationError(f"{file} holds {entry.name[:80]!r}, which no backup has", _NOT_ONE)
        if peer:
            name = peer_directory(peer[1]).name
            names += [name] if name not in names else []
            path = staged / name / peer[2]
            if path.exists():
                raise ConfigurationError(f"{file} holds {entry.name!r} twice", _NOT_ONE)
            _take_file(content, entry, path)
        elif block:
            _take_block(content, entry, block[1], block[2])
        elif owner:
            _take_owner(content, entry, owner[1], staged / OWNER_FILE)
        elif ban:
            _take_ban(content, entry, ban[1], ban[2])
    return names


def _take_file(content: IO[bytes], entry: tarfile.TarInfo, path: Path) -> None:
    limit = _KEY_BYTES if path.name in (KEY_FILE, OWNER_FILE) else _WEIGHTS_BYTES
    _check_size(entry, limit)
    with writing(path):
        make_directory(path.parent, 0o700)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            while piece := content.read(_PIECE_BYTES):
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())


def _take_owner(content: IO[bytes], entry: tarfile.TarInfo, swarm: str, staged: Path) -> None:
    """Keep the key of who made a swarm, by way of the private file ``staged``; one that is here already stays."""
    directory = _swarm_of(entry, swarm)
    _take_file(content, entry, staged)
    try:
        owner = Identity.load(staged)
    except StateError as error:
        raise StateError(f"{entry.name} is damaged", _ANOTHER) from error
    finally:
        staged.unlink()
    policy = open_manifest(directory).membership
    if policy is None or owner.author not in [founder.key for founder in policy.founders]:
        raise StateError(f"{entry.name} is not the key of who made that swarm", _ANOTHER)
    owner.save(directory / OWNER_FILE)


def _take_ban(content: IO[bytes], entry: tarfile.TarInfo, swarm: str, peer: str) -> None:
    """Keep a ban; one of the same peer that is here already stays."""
    _check_size(entry, BAN_BYTES)
    bans = Bans(_swarm_of(entry, swarm))
    try:
        author, ban = author_of_name(peer), Ban.from_bytes(content.read())
    except LearnaeError as error:
        raise StateError(f"{entry.name[:80]} is damaged: {error.problem}", _ANOTHER) from error
    if author not in bans.read():
        bans.put(author, ban)


def _swarm_of(entry: tarfile.TarInfo, swarm: str) -> Path:
    directory = home() / "swarms" / swarm
    if not (directory / MANIFEST_FILE).exists():
        raise ConfigurationError(f"{entry.name[:80]} comes before the definition of its swarm", _NOT_ONE)
    return directory


def _take_block(content: IO[bytes], entry: tarfile.TarInfo, swarm: str, name: str | None) -> None:
    _check_size(entry, MAX_BLOCK_BYTES if name else MANIFEST_BYTES)
    data = content.read()
    try:
        if name is None:
            manifest = Manifest.from_bytes(data)
            if str(manifest.swarm) != swarm:
                raise EncodingError(f"the swarm of this definition is {manifest.swarm}")
            create_swarm(manifest)
            return
        cid = Cid.parse(name)
        check_named(cid, data)
    except LearnaeError as error:
        raise StateError(f"{entry.name} is damaged: {error.problem}", _ANOTHER) from error
    with closing(LocalBlockStore(_swarm_of(entry, swarm))) as store:
        store.keep(cid, data)


def _check_size(entry: tarfile.TarInfo, limit: int) -> None:
    if entry.size > limit:
        raise ConfigurationError(f"{entry.name[:80]} has {entry.size} bytes, and at most {limit} are read", _NOT_ONE)


def _keys_here() -> dict[bytes, str]:
    """Return the names of the peers of this home, by author."""
    found = {}
    for peer in peers_here():
        with suppress(StateError):  # it has none, or a damaged one
            found[Identity.load(peer / KEY_FILE).author] = peer.name
    return found


def _check_peer(directory: Path, file: Path) -> bytes:
    """Return the author of a peer from ``file``; raises StateError if a part of it cannot be used."""
    if not (directory / KEY_FILE).exists():
        raise StateError(f"{file} has no key of {directory.name}", _ANOTHER)
    try:
        identity = Identity.load(directory / KEY_FILE)
    except StateError as error:
        raise StateError(f"{file}: the key of {directory.name} is damaged", _ANOTHER) from error
    if (directory / STATE_FILE).exists():
        state = PeerState.read(directory / STATE_FILE)
        try:
            author = open_message(state.message, state.swarm, Limits()).author
        except PeerError as error:
            raise StateError(f"{directory.name}: its last message is damaged: {error.problem}", _ANOTHER) from error
        if author != identity.author:
            raise StateError(f"{directory.name}: its key is not the one that its state was saved with", _ANOTHER)
    if (directory / BUDGET).exists():
        check_snapshot(directory / BUDGET)
    for name in version_names(directory):
        read_version(directory, name)
    return identity.author


def _adopt(staged: Path, directory: Path) -> Path:
    with writing(directory):
        os.rename(staged, directory)  # fails if another process has made that peer meanwhile
    return directory
