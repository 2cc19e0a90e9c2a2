"""What has come into the block store that the processes of a machine share."""

from contextlib import suppress

from learnae.adapters.local.block_store import LocalBlockStore
from learnae.errors import EncodingError
from learnae.ipld.cid import Cid

_REMEMBERED = 64  # rows: more than are deleted between two looks without one that came before them
_MOST = 1024  # blocks at one look; the next one goes on there


class Arrivals:
    """Finds the blocks that any process has put into ``store`` since the last look, without going through all.

    Rows are numbered as they come, but the numbers of deleted newest rows are given again. So a look begins at the
    oldest of the newest rows that the last one has seen: while one of those is left, nothing has come below it.
    Raises what the store does.
    """

    def __init__(self, store: LocalBlockStore) -> None:
        self._store = store
        self._seen = store.newest_rows(_REMEMBERED)

    def look(self) -> list[Cid] | None:
        """Return the blocks that have come, oldest first, at most 1,024; None if that cannot be told."""
        first = self._seen[0][0] if self._seen else 0
        rows = self._store.rows(first, _REMEMBERED + _MOST)
        seen = set(self._seen)
        new = [row for row in rows if row not in seen]
        if self._seen and len(new) == len(rows):
            return None
        self._seen = rows[-_REMEMBERED:]
        found = []
        for _, name in new:
            with suppress(EncodingError):  # a row of another program
                found.append(Cid.from_bytes(name))
        return found
