"""What a test does to the rows of a block database behind the store's back: age, spoil, look."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from learnae.adapters.local.block_database import FILE
from learnae.ipld.cid import Cid


def run(directory: Path, statement: str, *values: object) -> list[tuple]:
    """Run one statement in the database of ``directory``; returns its rows."""
    with closing(sqlite3.connect(directory / FILE, timeout=60)) as database, database:
        return database.execute(statement, values).fetchall()


def spoil(directory: Path, cid: Cid, data: object) -> None:
    """Put ``data`` in the place of a block's bytes, here or not: a bad disk."""
    run(directory, "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", cid.to_bytes(), int(time.time() * 1000), data)


def age(directory: Path, *cids: Cid, hours: float = 2) -> None:
    """Let blocks, without any all of them, be unused for so long."""
    used, names = int((time.time() - 3600 * hours) * 1000), [cid.to_bytes() for cid in cids]
    where = f"WHERE cid IN ({','.join('?' * len(names))})" if names else ""
    run(directory, f"UPDATE blocks SET used = ? {where}", used, *names)


def row_of(directory: Path, cid: Cid) -> tuple | None:
    """Return rowid, time of use and bytes of a block; None if there is none."""
    rows = run(directory, "SELECT rowid, used, data FROM blocks WHERE cid = ?", cid.to_bytes())
    return rows[0] if rows else None
