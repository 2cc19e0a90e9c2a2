"""Blocks in a directory shared by the peers of one machine. No daemon, no locks.

::

    DIRECTORY/blocks/<last two characters>/<cid>    one file a block

Files appear by rename, so a reader sees a whole block or none; a killed process leaves at most a
temporary file behind, which the next one removes. A block's time of writing is when it was last put or
looked for, to some minutes.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from learnae.bounded_dict import BoundedDict
from learnae.errors import BlockMissingError, EncodingError, PeerError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.overriding import override
from learnae.ports import BlockStore, check_named, name_block
from learnae.system.atomic_files import open_regular, tidy, write_atomic, writing

_log = logging.getLogger(__name__)

_FRESH_SECONDS = 600.0  # a use is noted so seldom: flash memory wears out
_ASIDE = ".aside-"  # prefix of a block that is looked at once more before it is removed
_DAMAGED = 8192  # names remembered; a forgotten one is found damaged again


class LocalBlockStore(BlockStore):
    """Keeps blocks in a directory. Safe to use from several threads and processes.

    A damaged file stays where it is and counts as missing until a good copy replaces it. It is not removed at once,
    as that could remove the good copy that another process has just put.
    """

    def __init__(self, directory: Path) -> None:
        self._damaged = BoundedDict[Cid, _Stamp](_DAMAGED)  # files found damaged; a newer one of that name is another
        self._directory = directory / "blocks"
        self._directory.mkdir(parents=True, exist_ok=True)
        for shelf in self._directory.iterdir():
            tidy(shelf)
            _put_back(shelf)

    @override
    def put(self, codec: int, data: bytes) -> Cid:
        """Write the block unless it is here already."""
        cid = name_block(codec, data)
        self.keep(cid, data)
        return cid

    def keep(self, cid: Cid, data: bytes) -> None:
        """Put a block whose bytes have been compared with its name."""
        path = self._path(cid)
        stamp = _stamp(path)
        if stamp and stamp.size == len(data) and self._damaged.get(cid) != stamp and self._note_use(path, stamp):
            return
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
        _log.debug("kept block %s, %d bytes", cid, len(data))

    @override
    def get(self, cid: Cid) -> bytes:
        """Read the block; a file that is not what its name says is an EncodingError once, and missing from then on."""
        path = self._path(cid)
        try:
            with open_regular(path) as file:
                stamp = _Stamp.of(os.fstat(file.fileno()))  # of what is read, whatever takes its place meanwhile
                data = file.read(MAX_BLOCK_BYTES + 1)
        except FileNotFoundError:
            raise _missing(cid) from None
        except OSError as error:
            raise BlockMissingError(f"block {cid} cannot be read: {error}", f"check {path}") from error
        try:
            check_named(cid, data)
        except PeerError as error:
            if self._damaged.get(cid) == stamp:
                raise _missing(cid) from error
            self._damaged[cid] = stamp
            raise
        return data

    @override
    def has(self, cid: Cid) -> bool:
        """Return True if the block is here, and note its use: the caller may rely on it."""
        path = self._path(cid)
        stamp = _stamp(path)
        return stamp is not None and self._damaged.get(cid) != stamp and self._note_use(path, stamp)

    @override
    def want(self, cids: Sequence[Cid]) -> None:
        """Do nothing: nothing is far away."""

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        for cid in cids:
            if unused_for:
                self.remove_unused(cid, since=time.time() - unused_for / 1000)
            else:
                with writing(path := self._path(cid)):
                    path.unlink(missing_ok=True)

    def remove_damaged(self, cid: Cid) -> None:
        """Remove the file that ``get`` has found damaged; a good copy that has replaced it stays."""
        damaged = self._damaged.get(cid)
        self._remove(cid, lambda stamp: stamp == damaged)

    def remove_unused(self, cid: Cid, since: float) -> int | None:
        """Remove a block unless it was put or looked for ``since`` (Unix seconds); its size, None if it stays."""
        return self._remove(cid, lambda stamp: stamp.time < since * 1e9)

    def _remove(self, cid: Cid, is_meant: Callable[[_Stamp], bool]) -> int | None:
        """Take the file aside, where no process replaces or uses it, and look again: another one is put back."""
        path = self._path(cid)
        aside = path.with_name(f"{_ASIDE}{secrets.token_hex(4)}-{cid}")
        stamp = _stamp(path)
        if stamp is None or not is_meant(stamp):
            return None
        with (
            writing(path),
            suppress(FileNotFoundError),
        ):  # another has removed it, or has put back what is aside (``_put_back``)
            os.rename(path, aside)
            stamp = _Stamp.of(aside.stat())
            if is_meant(stamp):
                aside.unlink()
                return stamp.size
            _link_back(aside, path)
        return None

    def stat(self, cid: Cid) -> tuple[int, float]:
        """Return size and time of writing (Unix seconds) of a block that is here; 0 and 0 if it is not."""
        stamp = _stamp(self._path(cid))
        return (stamp.size, stamp.time / 1e9) if stamp else (0, 0.0)

    @override
    def held(self) -> Iterator[Cid]:
        """List the names of all blocks that are here, in no order, without reading them."""
        for shelf in self._directory.iterdir():
            for name in os.listdir(shelf) if shelf.is_dir() else ():
                with suppress(EncodingError):  # a temporary file, or one of another program
                    yield Cid.parse(name)

    def _path(self, cid: Cid) -> Path:
        name = str(cid)
        return self._directory / name[-2:] / name

    def _note_use(self, path: Path, stamp: _Stamp) -> bool:
        """Mark the file, which was ``stamp``, as used now; return False if it has just been removed."""
        if abs(time.time() - stamp.time / 1e9) < _FRESH_SECONDS:
            return True
        try:
            os.utime(path)
            path.stat()  # a process that has taken it aside since may not have seen the new time
        except FileNotFoundError:
            return False
        except OSError:  # another user's file, or a disk that takes nothing: it is here
            pass
        return True


class _Stamp(NamedTuple):
    """Tells a file from another that takes its place: ``time`` of writing in Unix ns, inode, size in bytes."""

    time: int
    inode: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_mtime_ns, status.st_ino, status.st_size)


def _stamp(path: Path) -> _Stamp | None:
    """Return None where there is no file."""
    try:
        return _Stamp.of(path.stat())
    except OSError:
        return None


def _link_back(aside: Path, path: Path) -> None:
    with suppress(FileExistsError):  # a copy that has come meanwhile is as good
        os.link(aside, path)
    aside.unlink()


def _put_back(shelf: Path) -> None:
    """Restore blocks that a killed process had renamed aside."""
    for aside in shelf.glob(f"{_ASIDE}*"):
        with suppress(OSError):  # a living process is about to do it, or this user may not write here
            _link_back(aside, shelf / aside.name.rpartition("-")[2])


def _missing(cid: Cid) -> BlockMissingError:
    return BlockMissingError(f"block {cid} is not here", "it may arrive later")
