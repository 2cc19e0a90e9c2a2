"""A bounded queue on disk: its rows survive kill -9 of their process and, but for the last moment, a power cut.

SQLite in WAL mode: https://www.sqlite.org/wal.html. Beyond its bounds the oldest goes, counted.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from learnae.errors import StateError

_log = logging.getLogger(__name__)

_ROW_BYTES = 32  # what a row costs beside its payload
_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    payload BLOB NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Queued:
    """A row of the queue."""

    id: int
    channel: str
    payload: bytes


class Outbox:
    """Holds at most ``most_rows`` and ``most_bytes`` at ``path``. Safe to use in several threads. Raises StateError."""

    def __init__(self, path: Path, most_rows: int, most_bytes: int) -> None:
        self._path = path
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._database = self._open()
        rows, size = self._database.execute(
            f"SELECT COUNT(*), COALESCE(SUM(LENGTH(payload) + {_ROW_BYTES}), 0) FROM queue"  # noqa: S608 - a constant
        ).fetchone()
        self.rows: int = rows
        self._bytes: int = size
        self.dropped = 0

    def put(self, channel: str, payload: bytes) -> None:
        """Add a row; the oldest make room."""
        size = len(payload) + _ROW_BYTES
        with self._lock, _state_errors(self._path), self._database:
            self._database.execute("INSERT INTO queue (channel, payload) VALUES (?, ?)", (channel, payload))
            self.rows += 1
            self._bytes += size
            while self.rows > self._most_rows or self._bytes > self._most_bytes:
                self.dropped += self._remove(self._select(1))

    def oldest(self, count: int) -> list[Queued]:
        """Return the first ``count`` rows."""
        with self._lock, _state_errors(self._path):
            return self._select(count)

    def remove(self, queued: Iterable[Queued]) -> None:
        """Remove rows that have arrived; those that are not here any more are passed over."""
        with self._lock, _state_errors(self._path), self._database:
            self._remove(queued)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._database.close()

    def _select(self, count: int) -> list[Queued]:
        found = self._database.execute("SELECT id, channel, payload FROM queue ORDER BY id LIMIT ?", (count,))
        return [Queued(*row) for row in found]

    def _remove(self, queued: Iterable[Queued]) -> int:
        removed = 0
        for row in queued:
            if self._database.execute("DELETE FROM queue WHERE id = ?", (row.id,)).rowcount:
                removed += 1
                self._bytes -= len(row.payload) + _ROW_BYTES
        self.rows -= removed
        return removed

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, no space, no right: the file may be good
                raise StateError(
                    f"cannot open {self._path}: {error}", "check its owner, and free some space"
                ) from error
            aside = self._path.with_suffix(".damaged")
            _log.error("%s is damaged (%s): moved to %s, what waited in it is not sent", self._path, error, aside)
            self._path.replace(aside)
            for end in ("-wal", "-shm"):
                self._path.with_name(self._path.name + end).unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # no wait for the disk at each row
            database.execute("PRAGMA wal_autocheckpoint = 200")  # pages: keeps the log file below a megabyte
            database.execute(_SCHEMA)
            database.execute("SELECT id FROM queue LIMIT 1").fetchone()
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database


@contextmanager
def _state_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StateError; after one, totals may be a little wrong until the next start."""
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"cannot use {path}: {error}", "free some space, or check its owner") from error
