"""The sample buffer's SQLite database: its tables, its one transaction, and how another process reads it.

WAL mode with ``synchronous=FULL``: each commit is on the disk when it returns, so a power cut loses what arrived
since the last one, and the recorder commits more than once a second. With NORMAL the disk is only waited for at a
checkpoint, and a power cut could take minutes.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from agent.ingestion.chunks import Seal, unpack
from learnae.errors import ConfigurationError, StateError
from learnae.ports import Samples

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (id INTEGER PRIMARY KEY, source TEXT NOT NULL, count INTEGER NOT NULL,
                                  data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS total (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position (source TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS proof (data BLOB NOT NULL);
"""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=256",  # pages: 1 MiB beside the database
    "journal_size_limit=1048576",
    "cache_size=-256",  # KiB: everything is read once, in order
)
_BATCH = 16  # chunks deleted at once
_LOCK_TIMEOUT_SECONDS = 1.0
_PROOF = "learnae"

Row = tuple[int, str, int, bytes]  # number, source, count of readings, data


def open_database(path: Path, seal: Seal | None) -> sqlite3.Connection:
    """Open or make the database; raises OSError, sqlite3.Error, and ConfigurationError if the key does not fit."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # SQLite would let others read it
    os.close(descriptor)
    database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            database.execute(f"PRAGMA {pragma}").close()
        database.executescript(_SCHEMA)
        _check_key(database, path, seal)
    except BaseException:
        database.close()
        raise
    return database


def _check_key(database: sqlite3.Connection, path: Path, seal: Seal | None) -> None:
    """Raise ConfigurationError unless all of the database is encrypted with the key of ``seal``, or nothing is."""
    row = database.execute("SELECT data FROM proof").fetchone()
    if row is None:
        proof = seal.close(_PROOF.encode(), _PROOF) if seal else b""
        database.execute("INSERT INTO proof VALUES (?)", (proof,))
        return
    if bool(row[0]) != bool(seal):
        is_not = "" if row[0] else "not "
        raise ConfigurationError(f"{path} is {is_not}encrypted", "set buffer.key as it was, or move that file away")
    try:
        if seal:
            seal.open(row[0], _PROOF)
    except StateError as error:
        raise ConfigurationError(
            f"{path} is encrypted with another key", "put that key back, or move the file away"
        ) from error


def write_chunks(
    database: sqlite3.Connection,
    chunks: Iterable[Row],
    positions: Mapping[str, str],
    totals: Mapping[str, int],
    limits: tuple[int, int],
) -> tuple[dict[str, int], int]:
    """Add ``chunks`` in one transaction and delete the oldest beyond the ``limits`` of readings and bytes.

    Returns the new totals, and the bytes that are used. Raises sqlite3.Error, after which nothing has changed.
    """
    chunks, totals = list(chunks), dict(totals)
    most_readings, most_bytes = limits
    database.execute("BEGIN IMMEDIATE")
    try:
        database.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", chunks)
        totals["readings"] += sum(count for _, _, count, _ in chunks)
        used = used_bytes(database)
        while totals["readings"] > most_readings or used > most_bytes:
            gone = _delete_oldest(database, totals["readings"] - most_readings)
            if not gone:
                break
            totals["readings"] -= gone
            totals["dropped"] += gone
            used = used_bytes(database)
        database.executemany("INSERT OR REPLACE INTO total VALUES (?, ?)", totals.items())
        database.executemany("INSERT OR REPLACE INTO position VALUES (?, ?)", positions.items())
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return totals, used


def _delete_oldest(database: sqlite3.Connection, surplus: int) -> int:
    """Delete some chunks, no more readings than ``surplus`` and a chunk if that is what is too much."""
    gone = last = 0
    for number, count in database.execute("SELECT id, count FROM chunk ORDER BY id LIMIT ?", (_BATCH,)):
        gone, last = gone + count, number
        if 0 < surplus <= gone:
            break
    database.execute("DELETE FROM chunk WHERE id <= ?", (last,))
    return gone


def used_bytes(database: sqlite3.Connection) -> int:
    """Return the bytes of all pages that hold something."""
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def read_positions(path: Path) -> dict[str, str]:
    """Return the positions of all sources in the buffer at ``path``, {} if it cannot be read.

    For another process than the agent's, as ``read_spread``.
    """
    try:
        with closing(_read_only(path)) as database:
            return dict(database.execute("SELECT source, value FROM position"))
    except sqlite3.Error:
        return {}


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_TIMEOUT_SECONDS)


def read_spread(
    path: Path, channels: int, seal: Seal | None, places: int, readings: int
) -> Iterator[tuple[str, Samples]]:
    """Yield sources and readings of ``places`` evenly over the buffer at ``path``, at least ``readings`` at each.

    For another process than the agent's, which may be running: nothing is written or moved. What cannot
    be read is left out and logged.
    """
    try:
        with closing(_read_only(path)) as database:
            first, last = database.execute("SELECT min(id), max(id) FROM chunk").fetchone()
            following = first or 0
            for place in range(places if last else 0):
                start, left = max(following, first + (last - first) * place // places), readings
                rows = database.execute("SELECT id, source, count, data FROM chunk WHERE id >= ? ORDER BY id", (start,))
                for number, source, count, data in rows:
                    yield source, unpack(seal.open(data, source) if seal else data, channels)
                    following, left = number + 1, left - count
                    if left <= 0:
                        break
    except (sqlite3.Error, StateError) as error:
        _log.warning("%s cannot be read to its end: %s", path, error)
