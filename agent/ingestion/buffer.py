"""The sample buffer: what sources delivered, on the own disk, bounded, through power cuts. Private.

Order is the order of arrival (``id``), never time: a clock that jumps back changes nothing here.
"""

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.ingestion.chunks import MAX_READINGS, Seal, pack, unpack
from agent.ingestion.database import Row, open_database, used_bytes, write_chunks
from agent.sources.resampling import nothing
from learnae.errors import StateError
from learnae.ports import Samples

_log = logging.getLogger(__name__)

FILE = "samples.db"
_DAMAGED_SUFFIX = ".damaged"  # one damaged database is kept for an autopsy; the next one replaces it
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY_CODE = 0xFF  # the primary part of SQLite's result codes
_MAX_PENDING = 60_000  # readings in memory while the disk takes none: 20 minutes at 50 Hz, 2 MB with six channels


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive readings of one source, as the buffer gives them back; ``id`` grows in the order of arrival."""

    id: int
    source: str
    samples: Samples


class SampleBuffer:
    """At most ``readings`` readings and ``size`` bytes of database; beyond either the oldest go. Thread-safe.

    Never raises once it is made: what the disk does not take waits in memory, at most ``pending`` readings, and
    what finds no room there is counted; a damaged database is moved aside. Raises ConfigurationError at the start
    if the key does not fit.
    """

    def __init__(
        self, path: Path, channels: int, readings: int, size: int, seal: Seal | None = None, pending: int = _MAX_PENDING
    ) -> None:
        self.path = path
        self._channels = channels
        self._limits = readings, size
        self._seal = seal
        self._max_pending = pending
        self._lock = threading.RLock()
        self._pending: deque[Row] = deque()
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
            for start in range(0, len(samples.time), MAX_READINGS):
                piece = samples.part(slice(start, start + MAX_READINGS))
                data = pack(piece)
                sealed = self._seal.close(data, source) if self._seal else data
                self._pending.append((self._next, source, len(piece.time), sealed))
                self._next += 1

    def commit(self) -> None:
        """Put what is in memory on the disk, and let the oldest go."""
        with self._lock:
            if not self._pending:
                return
            with self._surviving():
                database = self._database or self._open()
                self._totals, self._used = write_chunks(
                    database, self._pending, self._positions, self._totals, self._limits
                )
                self._pending.clear()
                if self.trouble:
                    _log.info("%s takes samples again", self.path)
                self.trouble = ""
            waiting = self._waiting
            while waiting > self._max_pending:
                _, _, count, _ = self._pending.popleft()
                waiting -= count
                self.lost += count

    # -- out

    def after(self, number: int, limit: int) -> list[Chunk]:
        """Return up to ``limit`` chunks that came after the chunk ``number``, oldest first; also those in memory."""
        with self._lock:
            rows: list[tuple[int, str, bytes]] = []
            with self._surviving():
                if self._database is not None:
                    rows = self._database.execute(
                        "SELECT id, source, data FROM chunk WHERE id > ? ORDER BY id LIMIT ?", (number, limit)
                    ).fetchall()
            if len(rows) < limit:
                rows += [(row[0], row[1], row[3]) for row in self._pending if row[0] > number][: limit - len(rows)]
        return [Chunk(*row[:2], self._read(row[1], row[2])) for row in rows]

    def position(self, source: str) -> str:
        """Return where ``source`` has to go on after what is here; "" if it never gave a position."""
        with self._lock:
            return self._positions.get(source, "")

    def _read(self, source: str, data: bytes) -> Samples:
        try:
            return unpack(self._seal.open(data, source) if self._seal else data, self._channels)
        except StateError as error:
            if not self.damaged:
                _log.warning("%s: %s (counted in status from now on)", self.path, error)
            self.damaged += 1
            return nothing(self._channels)

    @property
    def _waiting(self) -> int:
        return sum(count for _, _, count, _ in self._pending)

    def status(self) -> dict[str, int | str]:
        """Return what is stored, what was dropped and what is wrong, for people."""
        with self._lock:
            return {
                **self._totals,
                "bytes": self._used,
                "waiting": self._waiting,
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
        database = open_database(self.path, self._seal)
        try:
            self._totals.update(dict(database.execute("SELECT name, value FROM total").fetchall()))
            stored = dict(database.execute("SELECT source, value FROM position").fetchall())
            self._positions = stored | self._positions
            self._used = used_bytes(database)
            newest = database.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()[0]
        except BaseException:
            database.close()
            raise
        self._database = database
        # go on after the newest chunk, also with what had to wait before the database could be opened
        ahead = max(0, newest + 1 - (self._pending[0][0] if self._pending else self._next))
        self._pending = deque((number + ahead, *rest) for number, *rest in self._pending)
        self._next += ahead
        return database

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Go on whatever the disk does: log it once, count it, try again next time."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGE:
                self._move_aside(error)
            else:
                self._note(f"{self.path} takes no samples: {error}")
        except OSError as error:
            self._note(f"{self.path} takes no samples: {error.strerror}")

    def _note(self, trouble: str) -> None:
        self.failures += 1
        if not self.trouble:
            _log.warning("%s; they stay in memory until it does, at most %d", trouble, self._max_pending)
        self.trouble = trouble

    def _move_aside(self, error: sqlite3.Error) -> None:
        self.damaged += 1
        if self._database is not None:
            self._database.close()
            self._database = None
        aside = self.path.with_name(self.path.name + _DAMAGED_SUFFIX)
        _log.error("%s is damaged (%s): moved to %s, beginning anew", self.path, error, aside)
        try:
            os.replace(self.path, aside)
            for suffix in ("-wal", "-shm"):  # what belongs to the damaged file must not be applied to the new one
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            self._totals = {"readings": 0, "dropped": self._totals["dropped"]}
            self._open()
        except (sqlite3.Error, OSError) as second:
            self._note(f"{self.path} takes no samples: {second}")
