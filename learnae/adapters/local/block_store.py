"""Blocks in one database that the peers of a machine share. No daemon.

A killed process loses no block that ``put`` has returned for, and leaves no damage and no lock. A block's time of use
is when it was last put or looked for, to some minutes.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from learnae.adapters.local.block_database import FILE, BlockDatabase, create
from learnae.basics.overriding import override
from learnae.errors import BlockMissingError, EncodingError, NotWrittenError, PeerError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid
from learnae.ports import BlockStore, check_named, name_block
from learnae.system.atomic_files import tidy

_log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0  # transactions take milliseconds, a checkpoint on a slow card some hundred
_FRESH = 600_000  # ms: a use is noted so seldom, as flash memory wears out
_LARGE = 1 << 16  # bytes: of a frame that has several blocks
_BATCH = 256  # blocks removed, or named, in one transaction: others wait for it
_FOR_EVER = 1 << 62  # Unix ms of the last use of a block that stays
_WHOLE = f"CASE WHEN typeof(data) = 'blob' AND length(data) <= {MAX_BLOCK_BYTES} THEN data END"


class LocalBlockStore(BlockStore):
    """Keeps blocks in ``DIRECTORY/blocks.sqlite``. Safe to use from several threads and processes, not across a fork.

    Raises DamagedError, StateError if the file is of another version, NotWrittenError if it cannot be used now. Bytes
    that are not what their name says are removed when they are found, and missing from then on. ``read_only`` changes
    and makes nothing: it notes no use, and deletes nothing when it is asked to. ``now`` tells the
    time (Unix ms) of a use.
    """

    def __init__(
        self,
        directory: Path,
        read_only: bool = False,
        patience: float = _PATIENCE_SECONDS,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._read_only = read_only
        self._now = now
        self._database = BlockDatabase(directory / FILE, read_only, patience)
        if not read_only:
            create(self._database.path)
            tidy(directory)
        with self._database.reading():
            pass  # what cannot be used is an error now

    @override
    def put(self, codec: int, data: bytes, durable: bool = False) -> Cid:
        """Write the block unless it is here already; a ``durable`` one then outlives a power cut."""
        cid = name_block(codec, data)
        self.keep(cid, data, durable)
        return cid

    def keep(self, cid: Cid, data: bytes, durable: bool = False) -> None:
        """Put a block whose bytes have been compared with its name."""
        name = cid.to_bytes()
        with self._database.reading() as database:
            used = _one(database, "SELECT used FROM blocks WHERE cid = ? AND data = ?", name, data)
        if used is not None and not durable and self._note_use(name, used):
            return
        if len(data) > _LARGE:
            self._database.enlarge_log()
        with self._database.writing(durable) as database:
            insert = "INSERT INTO blocks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used = max(used, excluded.used)"
            database.execute(f"{insert}, data = excluded.data", (name, self._now(), data))
        _log.debug("kept block %s, %d bytes", cid, len(data))

    def keep_for_ever(self, cid: Cid) -> None:
        """Count the block as used from now on, so that nothing removes it as unused."""
        with self._database.writing() as database:
            database.execute("UPDATE blocks SET used = ? WHERE cid = ?", (_FOR_EVER, cid.to_bytes()))

    @override
    def get(self, cid: Cid) -> bytes:
        """Read the block; one that is not what its name says is an EncodingError once, and missing from then on."""
        try:
            with self._database.reading() as database:
                row = _find(database, cid)
        except NotWrittenError as error:
            raise BlockMissingError(f"block {cid}: {error.problem}", error.remedy) from error
        if row is None:
            raise BlockMissingError(f"block {cid} is not here", "it may arrive later")
        try:
            return _checked(cid, row)
        except PeerError:
            self._remove_damaged(cid)
            raise

    @override
    def has(self, cid: Cid) -> bool:
        """Return True if the block is here, and note its use: the caller may rely on it."""
        name = cid.to_bytes()
        try:
            with self._database.reading() as database:
                used = _one(database, "SELECT used FROM blocks WHERE cid = ?", name)
        except NotWrittenError:
            return False
        return used is not None and self._note_use(name, used)

    @override
    def want(self, cids: Sequence[Cid], most: int = MAX_BLOCK_BYTES, origin: str = "") -> None:
        """Do nothing: nothing is far away."""

    @override
    def delete(self, cids: Iterable[Cid], unused_for: int = 0) -> None:
        if not self._read_only:
            self.remove(cids, self._now() - unused_for if unused_for else _FOR_EVER)

    def remove(self, cids: Iterable[Cid], since: int) -> dict[Cid, int]:
        """Remove blocks that were not put or looked for ``since`` (Unix ms); return names and bytes of those removed.

        The file shrinks if that frees much of it.
        """
        removed: dict[Cid, int] = {}
        for batch in _batches(cids):
            with self._database.writing() as database:
                for cid in batch:
                    unused = cid.to_bytes(), since
                    size = _one(database, "SELECT length(data) FROM blocks WHERE cid = ? AND used < ?", *unused)
                    if size is not None:
                        database.execute("DELETE FROM blocks WHERE cid = ? AND used < ?", unused)
                        removed[cid] = size
        if removed:
            self._database.shrink()
        return removed

    def held(self, cids: Iterable[Cid]) -> set[Cid]:
        """Return those of the blocks that are here; notes no use."""
        with self._database.reading() as database:
            return {cid for cid in cids if _one(database, "SELECT 1 FROM blocks WHERE cid = ?", cid.to_bytes())}

    def sizes(self) -> dict[Cid, int]:
        """Return the names of all blocks that are here, in no order, and their bytes."""
        with self._database.reading() as database:
            rows = database.execute("SELECT cid, length(data) FROM blocks").fetchall()
        sizes = dict[bytes, int](rows)
        return {cid: sizes[cid.to_bytes()] for cid in _names(sizes)}

    @override
    def cids(self) -> Iterator[Cid]:
        """List the names of all blocks that are here, in no order, without reading them."""
        last, names = b"", [b""]
        while names:
            with self._database.reading() as database:  # nothing is held while the caller works
                rows = database.execute("SELECT cid FROM blocks WHERE cid > ? ORDER BY cid LIMIT ?", (last, _BATCH))
                names = [name for (name,) in rows]
            last = names[-1] if names else last
            yield from _names(names)

    def rows(self, first: int, most: int) -> list[tuple[int, bytes]]:
        """Return numbers and names of the rows from number ``first`` on, in order; a new row has a higher number."""
        select = "SELECT rowid, cid FROM blocks WHERE rowid >= ? ORDER BY rowid LIMIT ?"
        with self._database.reading() as database:
            return database.execute(select, (first, most)).fetchall()

    def newest_rows(self, most: int) -> list[tuple[int, bytes]]:
        """Return the last ones of all ``rows``, in the same order."""
        with self._database.reading() as database:
            found = database.execute("SELECT rowid, cid FROM blocks ORDER BY rowid DESC LIMIT ?", (most,)).fetchall()
        return found[::-1]

    def close(self) -> None:
        """Let go of the file; it is opened again when it is used again. Idempotent."""
        self._database.close()

    def _note_use(self, name: bytes, used: int) -> bool:
        """Mark the block, last used then (Unix ms), as used now; return False if it has just been removed."""
        if self._read_only or used == _FOR_EVER or abs(self._now() - used) < _FRESH:
            return True
        try:
            with self._database.writing() as database:
                return bool(database.execute("UPDATE blocks SET used = ? WHERE cid = ?", (self._now(), name)).rowcount)
        except NotWrittenError:  # another user's file, or a disk that takes nothing: it is here
            return True

    def _remove_damaged(self, cid: Cid) -> None:
        """Look again where no other process writes, which may have put a good copy meanwhile."""
        if self._read_only:
            return
        with suppress(NotWrittenError), self._database.writing() as database:
            row = _find(database, cid)
            try:
                _checked(cid, row or (None,))
            except PeerError:
                database.execute("DELETE FROM blocks WHERE cid = ?", (cid.to_bytes(),))


def _find(database: sqlite3.Connection, cid: Cid) -> tuple[bytes | None] | None:
    """Return the row of a block: its bytes, None in place of what is no block; None if it is not here."""
    rows = database.execute(f"SELECT {_WHOLE} FROM blocks WHERE cid = ?", (cid.to_bytes(),)).fetchall()  # noqa: S608
    return rows[0] if rows else None


def _checked(cid: Cid, row: tuple[bytes | None]) -> bytes:
    (data,) = row
    if data is None:
        raise EncodingError(f"what is stored as block {cid} is none: more than {MAX_BLOCK_BYTES} bytes, or no bytes")
    check_named(cid, data)
    return data


def _one(database: sqlite3.Connection, select: str, *values: bytes | int) -> int | None:
    """Return the number in the only row that is selected; None if there is none."""
    rows = database.execute(select, values).fetchall()
    return rows[0][0] if rows else None


def _names(found: Iterable[bytes]) -> Iterator[Cid]:
    for name in found:
        with suppress(EncodingError):  # a row of another program
            yield Cid.from_bytes(name)


def _batches(cids: Iterable[Cid]) -> Iterator[list[Cid]]:
    left = iter(cids)
    while batch := list(islice(left, _BATCH)):
        yield batch
