"""The sample buffer: what sources delivered, on the own disk, bounded, through power cuts. Private.

SQLite in WAL mode with ``synchronous=FULL``: each commit is on the disk when it returns, so a power
cut loses what came since the last one, and the recorder commits more than once a second. With NORMAL
the disk is only waited for at a checkpoint, and a power cut could take minutes.

Order is the order of arrival (``id``), never time: a clock that jumps back changes nothing here.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.ingestion.chunks import MOST, Seal, pack, unpack
from agent.samples import nothing
from learnae.errors import ConfigurationError, StateError
from learnae.ports import Samples

log = logging.getLogger("learnae")

FILE = "samples.db"
_DAMAGED = ".damaged"  # one damaged database is kept for whoever wants to look; the next one replaces it
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
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF  # the primary part of SQLite's result codes
_BATCH = 16  # chunks deleted at once
_PENDING = 60_000  # readings kept in memory while the disk takes none: 20 minutes at 50 Hz, 2 MB with six channels
_PROOF = "learnae"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive readings of one source, as the buffer gives them back; ``id`` grows in the order of arrival."""

    id: int
    source: str
    samples: Samples


class SampleBuffer:
    """At most ``readings`` readings and ``size`` bytes of database; beyond either the oldest go. Thread-safe.

    Never raises once it is made: what the disk does not take waits in memory, bounded and counted; a
    damaged database is moved aside. Raises ConfigurationError at the start if the key does not fit.
    """

    def __init__(self, path: Path, channels: int, readings: int, size: int, seal: Seal | None = None) -> None:
        self.path = path
        self._channels = channels
        self._most_readings, self._most_bytes = readings, size
        self._seal = seal
        self._lock = threading.RLock()
        self._pending: deque[tuple[int, str, int, bytes]] = deque()
        self._database: sqlite3.Connection | None = None
        self._totals = {"readings": 0, "dropped": 0}
        self._positions: dict[str, str] = {}  # of sources, after what has been appended
        self._used = 0
        self._next = 1
        self.lost = 0  # readings that found no room in memory while the disk took none
        self.damaged = 0  # databases moved aside, and chunks passed over
        self.failures = 0  # commits that the disk did not take
        self.trouble = ""
        with self._surviving():
            self._open()
        self.newest = self._next - 1  # of an earlier run

    # -- in

    def append(self, source: str, samples: Samples, position: str = "") -> None:
        """Take in readings; they, and the source's ``position`` after them, are in memory only until ``commit``."""
        with self._lock:
            if position:
                self._positions[source] = position
            for start in range(0, len(samples.time), MOST):
                part = slice(start, start + MOST)
                piece = Samples(samples.time[part], samples.values[part], samples.label[part], samples.holdout[part])
                data = pack(piece)
                self._pending.append(
                    (self._next, source, len(piece.time), self._seal.close(data, source) if self._seal else data)
                )
                self._next += 1

    def commit(self) -> None:
        """Put what is in memory on the disk, and let the oldest go."""
        with self._lock:
            if not self._pending:
                return
            with self._surviving():
                database = self._database or self._open()
                self._write(database)
                self._pending.clear()
                if self.trouble:
                    log.info("%s takes samples again", self.path)
                self.trouble = ""
            self._bound_memory()

    def _write(self, database: sqlite3.Connection) -> None:
        totals = dict(self._totals)
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", self._pending)
            totals["readings"] += sum(count for _, _, count, _ in self._pending)
            used = self._used_bytes(database)
            while totals["readings"] > self._most_readings or used > self._most_bytes:
                gone = self._delete_oldest(database, totals["readings"] - self._most_readings)
                if not gone:
                    break
                totals["readings"] -= gone
                totals["dropped"] += gone
                used = self._used_bytes(database)
            database.executemany("INSERT OR REPLACE INTO total VALUES (?, ?)", totals.items())
            database.executemany("INSERT OR REPLACE INTO position VALUES (?, ?)", self._positions.items())
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._totals, self._used = totals, used

    @staticmethod
    def _delete_oldest(database: sqlite3.Connection, surplus: int) -> int:
        """Delete some chunks, no more readings than ``surplus`` and a chunk if that is what is too much."""
        gone = last = 0
        for number, count in database.execute("SELECT id, count FROM chunk ORDER BY id LIMIT ?", (_BATCH,)):
            gone, last = gone + count, number
            if 0 < surplus <= gone:
                break
        database.execute("DELETE FROM chunk WHERE id <= ?", (last,))
        return gone

    @staticmethod
    def _used_bytes(database: sqlite3.Connection) -> int:
        pages, free, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _bound_memory(self) -> None:
        waiting = sum(count for _, _, count, _ in self._pending)
        while waiting > _PENDING:
            _, _, count, _ = self._pending.popleft()
            waiting -= count
            self.lost += count

    # -- out

    def after(self, number: int, most: int) -> list[Chunk]:
        """Up to ``most`` chunks that came after the chunk ``number``, oldest first; also those in memory."""
        with self._lock:
            rows: list[tuple[int, str, bytes]] = []
            with self._surviving():
                if self._database is not None:
                    rows = self._database.execute(
                        "SELECT id, source, data FROM chunk WHERE id > ? ORDER BY id LIMIT ?", (number, most)
                    ).fetchall()
            if len(rows) < most:
                rows += [(row[0], row[1], row[3]) for row in self._pending if row[0] > number][: most - len(rows)]
        return [Chunk(*row[:2], self._read(row[1], row[2])) for row in rows]

    def position(self, source: str) -> str:
        """Where ``source`` has to go on after what is here; "" if it never said that."""
        with self._lock:
            return self._positions.get(source, "")

    def _read(self, source: str, data: bytes) -> Samples:
        try:
            return unpack(self._seal.open(data, source) if self._seal else data, self._channels)
        except StateError as error:
            if not self.damaged:
                log.warning("%s: %s (counted in status from now on)", self.path, error)
            self.damaged += 1
            return nothing(self._channels)

    def status(self) -> dict[str, int | str]:
        """For people: what is there, what went, what is wrong."""
        with self._lock:
            return {
                **self._totals,
                "bytes": self._used,
                "waiting": sum(count for _, _, count, _ in self._pending),
                "lost": self.lost,
                "failures": self.failures,
                "damaged": self.damaged,
                "trouble": self.trouble,
            }

    def close(self) -> None:
        """Commit, and let go of the file. Idempotent."""
        with self._lock:
            self.commit()
            if self._database is not None:
                self._database.close()
            self._database = None

    # -- the file

    def _open(self) -> sqlite3.Connection:
        """Open or make the database; raises sqlite3.Error, and ConfigurationError if the key does not fit."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)  # SQLite would let others read it
        os.close(descriptor)
        database = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                database.execute(f"PRAGMA {pragma}").close()
            database.executescript(_SCHEMA)
            self._check_key(database)
            self._totals.update(dict(database.execute("SELECT name, value FROM total").fetchall()))
            stored = dict(database.execute("SELECT source, value FROM position").fetchall())
            self._positions = stored | self._positions
            self._used = self._used_bytes(database)
            self._renumber(database.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()[0])
        except BaseException:
            database.close()
            raise
        self._database = database
        return database

    def _check_key(self, database: sqlite3.Connection) -> None:
        """A database is encrypted as a whole, with one key, or not at all."""
        row = database.execute("SELECT data FROM proof").fetchone()
        if row is None:
            proof = self._seal.close(_PROOF.encode(), _PROOF) if self._seal else b""
            database.execute("INSERT INTO proof VALUES (?)", (proof,))
            return
        if bool(row[0]) != bool(self._seal):
            is_not = "" if row[0] else "not "
            raise ConfigurationError(
                f"{self.path} is {is_not}encrypted", "set buffer.key as it was, or move that file away"
            )
        try:
            if self._seal:
                self._seal.open(row[0], _PROOF)
        except StateError as error:
            raise ConfigurationError(
                f"{self.path} is encrypted with another key", "put that key back, or move the file away"
            ) from error

    def _renumber(self, newest: int) -> None:
        """Go on after the chunk ``newest``, also with what had to wait before the database could be opened."""
        ahead = max(0, newest + 1 - (self._pending[0][0] if self._pending else self._next))
        self._pending = deque((number + ahead, *rest) for number, *rest in self._pending)  # type: ignore[misc]
        self._next += ahead

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Go on whatever the disk does: say it once, count it, try again next time."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _DAMAGE:
                self._move_aside(error)
            else:
                self._note(f"{self.path} takes no samples: {error}")
        except OSError as error:
            self._note(f"{self.path} takes no samples: {error.strerror}")

    def _note(self, trouble: str) -> None:
        self.failures += 1
        if not self.trouble:
            log.warning("%s; they stay in memory until it does, at most %d", trouble, _PENDING)
        self.trouble = trouble

    def _move_aside(self, error: sqlite3.Error) -> None:
        self.damaged += 1
        if self._database is not None:
            self._database.close()
            self._database = None
        aside = self.path.with_name(self.path.name + _DAMAGED)
        log.error("%s is damaged (%s): moved to %s, beginning anew", self.path, error, aside)
        try:
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):  # what belongs to the damaged file must not be applied to the new one
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._totals = {"readings": 0, "dropped": self._totals["dropped"]}
            self._open()
        except (sqlite3.Error, OSError) as second:
            self._note(f"{self.path} takes no samples: {second}")


def read_spread(
    path: Path, channels: int, seal: Seal | None, places: int, readings: int
) -> Iterator[tuple[str, Samples]]:
    """Sources and readings from ``places`` evenly over the buffer at ``path``, at least so many ``readings`` at each.

    For another process than the agent's, which may be running: nothing is written or moved. What cannot
    be read is left out and said.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
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
        log.warning("%s cannot be read to its end: %s", path, error)
