"""The SQLite database that holds a swarm's blocks on one machine: made, opened, locked; its errors in our words.

::

    DIRECTORY/blocks.sqlite    blocks(cid, used, data), and SQLite's -wal and -shm beside it while it is open

A rowid table with 4 KiB pages: messages and frames are larger than what ``WITHOUT ROWID`` is made for. Write-ahead log
with ``synchronous=NORMAL``: what is committed outlives its process at once, and a power cut after the next checkpoint.
A cut before that loses the last transactions, never the file (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from learnae.errors import DamagedError, InUseError, NotWrittenError, StateError
from learnae.system.atomic_files import TEMPORARY, create_once, writing
from learnae.system.private_files import make_directory

_log = logging.getLogger(__name__)

FILE = "blocks.sqlite"
_APPLICATION = int.from_bytes(b"Lrnb")
_VERSION = 1
_SCHEMA = f"""
PRAGMA synchronous = OFF;  -- its bytes are copied when it is whole, and they are waited for
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;  -- only before the first table
CREATE TABLE blocks (cid BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, data BLOB NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
PRAGMA journal_mode = WAL;
"""
_SETTINGS = """
PRAGMA synchronous = NORMAL;
PRAGMA wal_autocheckpoint = 256;  -- pages: the log takes 1 MiB beside the database
PRAGMA journal_size_limit = 1048576;  -- bytes, after a checkpoint
PRAGMA cache_size = -1024;  -- KiB: the kernel caches the file, and boards have little memory
PRAGMA cell_size_check = ON;  -- the file may be damaged, or another user's
PRAGMA trusted_schema = OFF;
"""
_LARGE_LOG = """
PRAGMA wal_autocheckpoint = 4096;  -- pages, 16 MiB: each checkpoint waits for the disk twice
PRAGMA journal_size_limit = 16777216;
"""
_LOOSE_PAGES = 64  # free pages below this are left for the next blocks
_LOOSE_SHARE = 4  # and those that are less than this part of the file
_STEP = 256  # pages given back in one transaction: others write in between
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY_CODE = 0xFF  # the primary part of SQLite's result codes
_HOW_TO_MEND = "stop the peers of this machine, then: learnae blocks --fsck"
_LOOK_SECONDS = 5.0  # until a process that writes has ended its transaction
_REMEDY = "free some space, or check owner and permissions"


class BlockDatabase:
    """One connection to the database at ``path``, behind a lock that all threads of the process share.

    Opened when it is first used, and again after ``close`` or an error. Where nothing can be written, it is read; where
    a ``read_only`` one finds no file, it is empty. Other processes are waited for ``patience`` seconds.
    """

    def __init__(self, path: Path, read_only: bool, patience: float) -> None:
        self.path = path
        self._read_only = read_only
        self._patience = patience
        self._lock = threading.RLock()
        self._opened: _Opened | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for some statements; raises DamagedError, or NotWrittenError if it cannot be now."""
        with self._lock, self._translating("read"):
            yield self._open(to_write=False)

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, all or nothing; raises as ``reading`` does.

        What is ``durable`` outlives a power cut as soon as this ends, and so does all that was written before.
        """
        with self._lock, self._translating("write"):
            database = self._open(to_write=True)
            if durable:
                database.execute("PRAGMA synchronous = FULL")
            try:
                with database:
                    database.execute("BEGIN IMMEDIATE")  # one that began as a reader could not wait for another writer
                    yield database
            finally:
                if durable:
                    database.execute("PRAGMA synchronous = NORMAL")

    def enlarge_log(self) -> None:
        """Let the log grow to 16 MiB beside the database from now on: large blocks are being written."""
        with self._lock, self._translating("write"):
            self._open(to_write=True).executescript(_LARGE_LOG)

    def shrink(self) -> None:
        """Give pages back to the file system if many are free; what cannot be done now is done another time."""
        with self._lock, suppress(NotWrittenError), self._translating("write"):
            database = self._open(to_write=True)
            pages, free = (_number(database, pragma) for pragma in ("page_count", "freelist_count"))
            if free < max(_LOOSE_PAGES, pages // _LOOSE_SHARE):
                return
            for _ in range(0, free, _STEP):  # ``execute`` would free a single page: it does not step to the end
                database.executescript(f"PRAGMA incremental_vacuum({_STEP})")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            _log.debug("%s: %d of %d pages given back", self.path.name, free, pages)

    def close(self) -> None:
        """Put everything into the one file, if no other process is busy there, and let go of it. Idempotent."""
        with self._lock:
            if self._opened and self._opened.writes:
                with suppress(sqlite3.Error):  # the next one who opens it does it, or says what is wrong
                    self._opened.connection.execute("PRAGMA busy_timeout = 0")
                    self._opened.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._let_go()

    def _open(self, to_write: bool) -> sqlite3.Connection:
        if to_write and self._read_only:
            raise NotWrittenError(f"{self.path} is only read here", "run it as the user it belongs to")
        if self._opened and (self._opened.is_stale() or (to_write and not self._opened.writes)):
            self._let_go()
        if self._opened is None:
            self._opened = self._connect(to_write)
        return self._opened.connection

    def _connect(self, to_write: bool) -> _Opened:
        if not self._read_only:
            try:
                return _Opened(self.path, "mode=rw", self._patience)
            except sqlite3.OperationalError:
                if to_write:
                    raise
        if not self.path.exists():
            return _Opened(self.path, "", self._patience)
        try:
            return _Opened(self.path, "mode=ro", self._patience)
        except sqlite3.OperationalError:  # no process has it open, and this one cannot make the files beside it
            return _Opened(self.path, "mode=ro&immutable=1", self._patience)

    def _let_go(self) -> None:
        if self._opened:
            self._opened.close()
        self._opened = None

    @contextmanager
    def _translating(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
            is_damaged = code in _DAMAGE and not (self._opened and self._opened.is_stale())
            if code != sqlite3.SQLITE_BUSY:
                self._let_go()
            if is_damaged:
                raise DamagedError(f"{self.path} is damaged: {error}", _HOW_TO_MEND) from error
            if not isinstance(error, sqlite3.OperationalError) and code not in _DAMAGE:
                raise
            raise NotWrittenError(f"cannot {verb} {self.path}: {error}", _REMEDY) from error
        except OSError as error:
            raise NotWrittenError(f"cannot {verb} {self.path}: {error.strerror}", _REMEDY) from error


class _Opened:
    """Holds a connection, and a lock that says so; ``mode`` is a part of SQLite's URI, without one it is empty.

    What is read without SQLite's own locks is stale as soon as the files change.
    """

    def __init__(self, path: Path, mode: str, patience: float) -> None:
        self._path = path
        self.writes = mode == "mode=rw" and os.access(path, os.W_OK)
        self._seen = None if mode in ("mode=rw", "mode=ro") else _look(path)
        guard = share(path) if path.parent.exists() else None
        try:
            self.connection = connect(path, mode, patience) if mode else _empty()
        except BaseException:
            _end(None, guard)
            raise
        self.close = weakref.finalize(self, _end, self.connection, guard)

    def is_stale(self) -> bool:
        return self._seen is not None and self._seen != _look(self._path)


def share(path: Path, alone: bool = False) -> int:
    """Say that the database at ``path`` is in use until the descriptor is closed; raises InUseError.

    ``alone`` keeps all others out, of this process, too.
    """
    guard = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(guard, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(guard)
        if alone:
            raise InUseError(f"{path} is in use", "stop the peers of this machine, then try again") from error
        raise InUseError(f"{path} is being mended", "try again in a moment") from error
    return guard


def connect(path: Path, mode: str, patience: float) -> sqlite3.Connection:
    """Open the database; raises StateError if it is none of this version's, sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?{mode}"
    database = sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        database.executescript(_SETTINGS)
        found = _number(database, "application_id"), _number(database, "user_version")
        if found[0] != _APPLICATION:
            raise StateError(f"{path} holds no blocks of a swarm", "move it away: peers fetch again what they need")
        if found[1] != _VERSION:
            raise StateError(f"{path} is of version {found[1]}", "use the learnae that wrote it, or move it away")
    except BaseException:
        database.close()
        raise
    return database


def create(path: Path) -> None:
    """Make an empty database, whole or not at all, unless there is one; raises NotWrittenError."""
    if path.exists():
        return
    with writing(path):
        make_directory(path.parent)
    with new_database(path) as new:
        create_once(path, new.read_bytes())


@contextmanager
def new_database(path: Path) -> Iterator[Path]:
    """Make an empty database beside ``path`` that is gone afterwards unless it was renamed; raises NotWrittenError."""
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as database:
            database.executescript(_SCHEMA)
        yield temporary
    except (OSError, sqlite3.OperationalError) as error:
        raise NotWrittenError(f"cannot write {path}: {error}", _REMEDY) from error
    finally:
        for ending in ("", "-journal", "-wal", "-shm"):
            temporary.with_name(temporary.name + ending).unlink(missing_ok=True)


def is_sound(path: Path) -> bool:
    """Return False if the database is damaged; raises StateError if it is none of this version's, or cannot be read."""
    database = BlockDatabase(path, read_only=False, patience=_LOOK_SECONDS)
    try:
        with database.reading() as connection:
            return connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
    except DamagedError:
        return False
    finally:
        database.close()


def _number(database: sqlite3.Connection, pragma: str) -> int:
    ((number,),) = database.execute(f"PRAGMA {pragma}").fetchall()
    return int(number)


def _empty() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.executescript(_SCHEMA)
    return database


def _look(path: Path) -> tuple[int, int, bool]:
    """Return what differs after a process has written to the database at ``path``."""
    wal = path.with_name(f"{path.name}-wal").exists()
    try:
        status = path.stat()
    except OSError:
        return 0, 0, wal
    return status.st_mtime_ns, status.st_size, wal


def _end(connection: sqlite3.Connection | None, guard: int | None) -> None:
    if connection:
        connection.close()
    if guard is not None:
        os.close(guard)
