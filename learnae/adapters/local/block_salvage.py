"""Replaces a damaged database of blocks by one of those that can be read: their names tell them from damage."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from learnae.adapters.local.block_database import connect, new_database, share
from learnae.errors import EncodingError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid

_log = logging.getLogger(__name__)

DAMAGED_SUFFIX = ".damaged"  # one damaged database is kept for an autopsy; the next one replaces it
_PATIENCE_SECONDS = 5.0
_PROBES = 1_000_000  # rows that no scan reached, looked up one by one: some seconds
_INDEX = "sqlite_autoindex_blocks_1"
_SCANS = [  # from each end to the first damaged page, in the table and in its index; bytes beyond a page are not read
    f"SELECT rowid, cid FROM blocks {source} {order}"  # noqa: S608 - constants
    for source in ("NOT INDEXED ORDER BY rowid", f"INDEXED BY {_INDEX} ORDER BY cid")
    for order in ("ASC", "DESC")
]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was found in a damaged database: ``kept`` blocks, the names of those ``lost``, as far as they are known."""

    kept: int
    lost: list[Cid]


def rebuild(path: Path) -> Salvaged:
    """Replace the damaged database at ``path``; it is kept beside it.

    Raises InUseError while any process has it open, NotWrittenError.
    """
    guard = share(path, alone=True)
    try:
        with new_database(path) as new:
            salvaged = _salvage(path, new)
            _keep_aside(path)
            os.replace(new, path)
    finally:
        os.close(guard)
    _log.warning("%s was damaged: kept %d blocks, lost %d", path, salvaged.kept, len(salvaged.lost))
    return salvaged


def _salvage(path: Path, new: Path) -> Salvaged:
    kept, lost = set[Cid](), set[Cid]()
    with closing(sqlite3.connect(new)) as target, target:
        for cid, block in _read(path):
            if block is None:
                lost.add(cid)
            else:
                kept.add(cid)
                target.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", (cid.to_bytes(), *block))
    return Salvaged(len(kept), sorted(lost - kept))


def _read(path: Path) -> Iterator[tuple[Cid, tuple[int, bytes] | None]]:
    """Yield each block that the database names, its time of use and bytes; None where they cannot be read."""
    with suppress(sqlite3.DatabaseError), closing(connect(path, "mode=rw", _PATIENCE_SECONDS)) as source:
        names = dict[int, Cid]()
        for scan in _SCANS:
            names.update(_names(source, scan))
        between = range(min(names, default=0), max(names, default=0))
        for number in islice((number for number in between if number not in names), _PROBES):
            names.update(_names(source, "SELECT rowid, cid FROM blocks NOT INDEXED WHERE rowid = ?", number))
        for number, cid in sorted(names.items()):
            yield cid, _block(source, number, cid)


def _names(source: sqlite3.Connection, select: str, *values: int) -> Iterator[tuple[int, Cid]]:
    with suppress(sqlite3.DatabaseError):
        for number, name in source.execute(select, values):
            with suppress(EncodingError, TypeError):
                yield number, Cid.from_bytes(name)


def _block(source: sqlite3.Connection, number: int, cid: Cid) -> tuple[int, bytes] | None:
    try:
        rows = source.execute("SELECT used, data FROM blocks NOT INDEXED WHERE rowid = ?", (number,)).fetchall()
    except sqlite3.DatabaseError:
        return None
    for used, data in rows:
        if isinstance(data, bytes) and len(data) <= MAX_BLOCK_BYTES and cid.names(data):
            return used if isinstance(used, int) else 0, data
    return None


def _keep_aside(path: Path) -> None:
    """Name the damaged database, and what of its log could not be put into it, differently; it stays at ``path``, too.

    A log must not be taken for that of the new one.
    """
    aside = path.with_name(path.name + DAMAGED_SUFFIX)
    for ending in ("", "-wal", "-shm"):
        aside.with_name(aside.name + ending).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.link(path.with_name(path.name + ending), aside.with_name(aside.name + ending))
            if ending:
                path.with_name(path.name + ending).unlink()
