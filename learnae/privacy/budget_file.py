"""The durable part of a budget: births of rows, and the number of releases, written before the step that they pay for.

::

    DIRECTORY/privacy.sqlite    rows(digest, birth), spans(...), facts(name, value); 0600

Rows are known by a digest under a random key of the file: what it says of rows is of no use elsewhere. Write-ahead log
with ``synchronous=FULL``: what is committed outlives a power cut. Nothing is given back of a release that is paid for
and not taken. A row is kept for ever: one that has left and comes again is known.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnae.errors import DamagedError, NotWrittenError, StateError
from learnae.privacy.budget import Digests, Ledger, Numbers, Price, Span
from learnae.system.atomic_files import create_once
from learnae.system.private_files import read_private

_log = logging.getLogger(__name__)

FILE = "privacy.sqlite"
_DIGEST_BYTES = 8  # two of a million rows are alike with a chance of 1e-8, and count as one then
_APPLICATION = int.from_bytes(b"Lrnp")
_VERSION = 1
_SETTINGS = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 64;  -- pages
PRAGMA cell_size_check = ON;
PRAGMA trusted_schema = OFF;
"""
_SCHEMA = f"""
CREATE TABLE rows (digest INTEGER PRIMARY KEY, birth INTEGER NOT NULL);
CREATE TABLE spans (first INTEGER PRIMARY KEY, cost REAL NOT NULL, participations INTEGER NOT NULL,
  parts INTEGER NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""
_PRIMARY_CODE = 0xFF
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDY = "free some space, or check owner and permissions"
_HOW_TO_MEND = "put a backup in its place, or move it away: rows then count as if they had taken part in all releases"
_ASK = 500  # rows in one statement


class RowBudget:
    """What rows have paid, in the file at ``path``, or in memory without one; releases cost ``price`` from now on.

    ``entropy`` returns so many unpredictable bytes. Raises StateError if the file is damaged, another user's or of
    another program; NotWrittenError.
    """

    def __init__(self, path: Path | None, price: Price, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy
        self._name = "the budget of rows" if path is None else str(path)
        if path is not None:
            create_once(path, b"", 0o600)
            with self._translating():
                read_private(path, 0)
        with self._translating():
            self._database = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._database.executescript(_SETTINGS)
            with self._writing():
                self._prepare()
            self._key = bytes(self._fact("key"))
            self._ledger = self._read()
        if self._ledger.at(price) != self._ledger:
            self._save(self._ledger.at(price))

    @property
    def ledger(self) -> Ledger:
        """Return what releases have cost so far, those that are paid for and not taken yet included."""
        return self._ledger

    def digests(self, rows: NDArray[Any], targets: NDArray[Any]) -> Digests:
        """Return the digests (n,) of rows with their targets: the same for ever, and of no use without the key."""
        found = np.zeros(len(rows), np.uint64)
        for index, (row, target) in enumerate(zip(rows, targets, strict=True)):
            digest = blake2b(np.ascontiguousarray(row).tobytes(), digest_size=_DIGEST_BYTES, key=self._key)
            digest.update(np.ascontiguousarray(target).tobytes())
            found[index] = int.from_bytes(digest.digest())
        return found

    def enter(self, digests: Digests) -> Numbers:
        """Return the births (n,) of rows; those not known are born with the next release. Durable when it returns."""
        keys = digests.view(np.int64).tolist()
        with self._translating():
            births = self._births(keys)
            missing = {key for key in keys if key not in births}
            if missing:
                oldest = self._fact("oldest")
                birth = self._ledger.releases if oldest is None else int(oldest)
                with self._writing():
                    self._database.executemany("INSERT INTO rows VALUES (?, ?)", [(key, birth) for key in missing])
                births |= dict.fromkeys(missing, birth)
        return np.array([births[key] for key in keys], np.int64)

    def pay(self, releases: int) -> int:
        """Pay for the next ``releases``; return the number of the first. Durable when it returns."""
        first = self._ledger.releases
        self._save(Ledger(self._ledger.spans, first + releases))
        return first

    def recall(self, releases: int) -> None:
        """Take in that number ``releases`` was reached: by own messages that are newer than this file.

        Rows that are not known then, or later, may have been there in releases that this file has forgotten: they are
        born as early as that can be.
        """
        before = self._ledger.releases
        if releases <= before:
            return
        _log.warning(
            "%s is older than what this peer has published: of %d releases it knows %d. Rows that it does not know "
            "count as if they had taken part in the others",
            self._name, releases, before,
        )  # fmt: skip
        self._save(self._ledger.recalled(releases), oldest=before)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._database.close()

    def _save(self, ledger: Ledger, oldest: int | None = None) -> None:
        spans = [(span.first, span.price.cost, span.price.participations, span.price.parts) for span in ledger.spans]
        with self._translating(), self._writing():
            if ledger.spans != self._ledger.spans:
                self._database.execute("DELETE FROM spans")
                self._database.executemany("INSERT INTO spans VALUES (?, ?, ?, ?)", spans)
            self._database.execute("UPDATE facts SET value = ? WHERE name = 'releases'", (ledger.releases,))
            if oldest is not None:
                self._database.execute("INSERT OR IGNORE INTO facts VALUES ('oldest', ?)", (oldest,))
        self._ledger = ledger

    def _prepare(self) -> None:
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if (application, version) == (_APPLICATION, _VERSION):
            return
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application or version or tables:
            raise StateError(f"{self._name} is no budget of this version", "use the learnae that wrote it")
        for statement in _SCHEMA.split(";"):
            self._database.execute(statement)
        facts = [("key", self._entropy(32)), ("releases", 0)]
        self._database.executemany("INSERT INTO facts VALUES (?, ?)", facts)

    def _read(self) -> Ledger:
        rows = self._database.execute("SELECT first, cost, participations, parts FROM spans ORDER BY first")
        spans = tuple(Span(first, Price(cost, count, parts)) for first, cost, count, parts in rows)
        return Ledger(spans, int(self._fact("releases")))

    def _fact(self, name: str) -> Any:
        found = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def _births(self, keys: list[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for begin in range(0, len(keys), _ASK):
            some = keys[begin : begin + _ASK]
            marks = ", ".join("?" * len(some))
            found |= dict(self._database.execute(f"SELECT digest, birth FROM rows WHERE digest IN ({marks})", some))  # noqa: S608
        return found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGE:
                raise DamagedError(f"{self._name} is damaged: {error}", _HOW_TO_MEND) from error
            raise NotWrittenError(f"cannot write {self._name}: {error}", _REMEDY) from error
        except OSError as error:
            raise NotWrittenError(f"cannot write {self._name}: {error.strerror}", _REMEDY) from error


def snapshot(path: Path) -> bytes | None:
    """Return the file at ``path`` as it is at one moment, in one piece, for a backup; None if there is none.

    A budget may be in use meanwhile. Raises StateError.
    """
    if not path.exists():
        return None
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(":memory:")) as copy,
        ):
            source.backup(copy)
            return copy.serialize()
    except sqlite3.Error as error:
        raise StateError(f"cannot read {path}: {error}", "run it as the user it belongs to") from error


def check_snapshot(path: Path) -> None:
    """Raise StateError unless the file at ``path``, which nothing uses, is a whole budget of this version."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as database:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StateError(f"{path.name} is damaged: {error}", "take another backup") from error
    if (application, version, state) != (_APPLICATION, _VERSION, "ok"):
        raise StateError(f"{path.name} is no whole budget of this version", "take another backup")
