"""A disk that loses at a power cut what was not waited for, under the product's own stores; it dies at any write.

Files are real, in a directory of their own, so that all readers are the product's. What survives a cut:

- of a file, what was last synced; of one that was never, any part;
- of the names in a directory, those synced, and any number of the changes after, in their order;
- of an SQLite database, all that was waited for, and any part of the log after it, as ``synchronous=NORMAL``
  promises; with OFF, each page as it is or as it was when the machine started. Of the budget of rows, which waits for
  each transaction, all.
"""

from __future__ import annotations

import errno
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from learnae.adapters.local.block_database import FILE
from learnae.adapters.local.block_store import LocalBlockStore
from learnae.basics.overriding import override
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.privacy.budget_file import FILE as BUDGET_FILE
from learnae.system.atomic_files import Disk

_PAGE_BYTES = 4096
_ANY_NUMBER = 1 << 30  # pages
_LOG_HEAD = 32  # bytes: other salts in each log
_FULL = 2  # of SQLite's synchronous: each transaction is waited for


class Closing(Protocol):
    """Something with a database open."""

    def close(self) -> None:
        """Let go of it."""


class Killed(BaseException):
    """The process ends here, as by ``kill -9`` or a power cut: nothing may catch it."""


@dataclass(eq=False)
class _File:
    """``written`` by the process; ``synced`` is what the disk has for certain, None before the first time."""

    written: bytes = b""
    synced: bytes | None = None


class SimulatedDisk(Disk):
    """One machine's disk in ``root``: directories of the ``swarm`` and of the ``peer``.

    ``fuse`` operations from now the process dies; None for never.
    """

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.swarm, self.peer = root / "swarm", root / "peer"
        self.budget = self.peer / BUDGET_FILE
        self._databases = (self.swarm / FILE, self.budget)
        self.fuse: int | None = None
        self.is_full = False
        self.operations = 0
        self._rng = rng
        self._open: dict[int, _File] = {}
        self._names: dict[Path, _File] = {}
        self._durable: dict[Path, _File] = {}
        self._changes: dict[Path, list[tuple[Path, _File | None]]] = defaultdict(list)  # by directory, not synced
        self._booted_pages = b""  # of the database
        self._synchronous = 1
        self._waited = b""  # of the log of blocks
        self.swarm.mkdir(parents=True)
        self.peer.mkdir()

    def step(self) -> None:
        """Count an operation; raises Killed if the process dies before it, and ever after until ``boot``."""
        self.operations += 1
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                raise Killed

    # -- what files.Disk does

    @override
    def create(self, path: Path, mode: int) -> int:
        self.step()
        descriptor = super().create(path, mode)
        self._open[descriptor] = file = _File()
        self._name(path, file)
        return descriptor

    @override
    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            self.step()
            if self.is_full and part:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(descriptor, part)
            self._open[descriptor].written += part

    @override
    def sync(self, descriptor: int) -> None:
        self.step()
        self._open[descriptor].synced = self._open[descriptor].written

    @override
    def replace(self, source: Path, target: Path) -> None:
        self.step()
        super().replace(source, target)
        self._name(target, self._names.pop(source))
        self._changes[source.parent].append((source, None))

    @override
    def link(self, source: Path, target: Path) -> None:
        self.step()
        super().link(source, target)
        self._name(target, self._names[source])

    @override
    def unlink(self, path: Path) -> None:
        self.step()
        super().unlink(path)
        del self._names[path]
        self._changes[path.parent].append((path, None))

    @override
    def sync_directory(self, directory: Path) -> None:
        self.step()
        self._settle(self._changes.pop(directory, []))

    def _name(self, path: Path, file: _File) -> None:
        self._names[path] = file
        self._changes[path.parent].append((path, file))

    def _settle(self, changes: list[tuple[Path, _File | None]]) -> None:
        for path, file in changes:
            if file is None:
                self._durable.pop(path, None)
            else:
                self._durable[path] = file

    def wait_for_log(self) -> None:
        """Note that all that SQLite has logged of blocks is on the disk."""
        self._waited = _read(_log_of(self.swarm / FILE)) or b""

    # -- lives

    def boot(self, store: DiskBlockStore) -> None:
        """Note what ``store``, which has just been opened, finds."""
        self._booted_pages = store.path.read_bytes()
        self._synchronous = store.synchronous()

    def end(self, store: DiskBlockStore | None, others: Iterable[Closing], is_power_cut: bool) -> None:
        """Let the process end, which had ``store`` and ``others`` open if it had come so far; all is closed then."""
        self.fuse = None
        self._open.clear()
        files = [path for name in self._databases for path in (name, _log_of(name))]
        left = {path: _read(path) for path in files}
        for each in (store, *others):
            if each is not None:
                each.close()  # which would save what is to be lost
        for path, data in left.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)
        for name in self._databases:
            name.with_name(f"{name.name}-shm").unlink(missing_ok=True)
        if is_power_cut:
            self._cut()

    def _cut(self) -> None:
        for directory in sorted(self._changes):
            changes = self._changes[directory]
            self._settle(changes[: self._rng.randint(0, len(changes))])
        self._changes.clear()
        for path in sorted({*self._names, *self._durable}):
            file = self._durable.get(path)
            if file is None:
                path.unlink(missing_ok=True)
            elif path not in self._databases or file.synced is None:
                path.write_bytes(self._left_of(file))
        blocks = self.swarm / FILE
        if self._synchronous < _FULL and (logged := _read(_log_of(blocks))) is not None:
            waited = self._waited if logged.startswith(self._waited[:_LOG_HEAD]) else b""  # else it has begun anew
            _log_of(blocks).write_bytes(logged[: self._rng.randint(len(waited), len(logged))])
        if not self._synchronous and (pages := _read(blocks)) is not None:
            blocks.write_bytes(self._mixed(pages))
        for name in self._databases:
            if not name.exists():
                _log_of(name).unlink(missing_ok=True)
        self._names = dict(self._durable)

    def _left_of(self, file: _File) -> bytes:
        if file.synced is None:
            file.synced = file.written[: self._rng.randint(0, len(file.written))]
        file.written = file.synced
        return file.synced

    def _mixed(self, pages: bytes) -> bytes:
        """Return the database with pages as they are, or as they were: it was written without waiting."""
        starts = range(0, len(pages), _PAGE_BYTES)
        chosen = (self._rng.choice((pages, self._booted_pages)) for _ in starts)
        return b"".join(
            page[start : start + _PAGE_BYTES].ljust(_PAGE_BYTES, b"\0")
            for start, page in zip(starts, chosen, strict=True)
        )


class DiskBlockStore(LocalBlockStore):
    """The block store of a machine whose ``disk`` dies and fills up; what is wanted goes to ``ask``."""

    def __init__(self, disk: SimulatedDisk, now: Callable[[], int], ask: Callable[[Sequence[Cid]], None]) -> None:
        self.path = disk.swarm / FILE
        self._disk, self._ask, self._is_limited = disk, ask, False
        super().__init__(disk.swarm, now=now)
        self.names = set(self.cids())

    def shown(self, cid: Cid, data: bytes) -> None:
        """Do what follows where others may have a block from now on."""

    @override
    def keep(self, cid: Cid, data: bytes, durable: bool = False) -> None:
        self._disk.step()
        self._limit()
        super().keep(cid, data, durable)
        if durable:
            self._disk.wait_for_log()
        self.names.add(cid)
        self.shown(cid, data)
        self._disk.step()

    @override
    def remove(self, cids: Iterable[Cid], since: int) -> dict[Cid, int]:
        self._disk.step()
        self._limit()
        removed = super().remove(cids, since)
        self.names.difference_update(removed)
        self._disk.step()
        return removed

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        self._ask(cids)

    def synchronous(self) -> int:
        """Return what SQLite waits for: 0 for nothing, 1 for a checkpoint, 2 for each transaction."""
        with self._database.reading() as database:
            ((level,),) = database.execute("PRAGMA synchronous").fetchall()
        return int(level)

    def _limit(self) -> None:
        """Let SQLite itself find the disk full."""
        if self._disk.is_full or self._is_limited:
            with self._database.reading() as database:
                database.execute(f"PRAGMA max_page_count = {1 if self._disk.is_full else _ANY_NUMBER}").fetchall()
            self._is_limited = self._disk.is_full


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None
