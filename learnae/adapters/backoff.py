"""How long to wait for a block that may be nowhere: shortly at first, longer each time that it did not come."""

from __future__ import annotations

import threading

from learnae.ipld.cid import Cid

_REMEMBERED = 8192


class Backoff:
    """From ``least`` to ``most`` seconds, doubled each time. Safe to use from several threads.

    A block that another exchange has must not wait long for this one; a large block on a slow line comes at last.
    """

    def __init__(self, least: float, most: float) -> None:
        self._least = least
        self._most = most
        self._failures: dict[Cid, int] = {}
        self._lock = threading.Lock()

    def of(self, cid: Cid) -> float:
        """Seconds for the next attempt."""
        with self._lock:
            return float(min(self._most, self._least * 2 ** min(self._failures.get(cid, 0), 16)))

    def failed(self, cid: Cid) -> None:
        """It did not come in time."""
        with self._lock:
            self._failures[cid] = self._failures.pop(cid, 0) + 1
            while len(self._failures) > _REMEMBERED:
                self._failures.pop(next(iter(self._failures)))

    def found(self, cid: Cid) -> None:
        """It came."""
        with self._lock:
            self._failures.pop(cid, None)
