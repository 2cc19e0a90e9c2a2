"""How long to wait for a block that may be nowhere: shortly at first, longer each time that it did not come."""

import threading

from learnae.basics.bounded_dict import BoundedDict
from learnae.ipld.cid import Cid
from learnae.system.backoff import Backoff

_REMEMBERED = 8192  # blocks; a forgotten one is waited for shortly again


class BlockBackoffs:
    """Keeps one Backoff from ``least`` to ``most`` seconds for each block. Safe to use from several threads.

    A block that another exchange has must not wait long for this one; a large block on a slow line comes at last.
    """

    def __init__(self, least: float, most: float) -> None:
        self._limits = least, most
        self._failing = BoundedDict[Cid, Backoff](_REMEMBERED)
        self._lock = threading.Lock()

    def seconds(self, cid: Cid) -> float:
        """Return how long the next attempt may take."""
        with self._lock:
            return self._failing.get(cid, Backoff(*self._limits)).seconds

    def failed(self, cid: Cid) -> None:
        """Allow the next attempt twice the time: the block did not come in time."""
        with self._lock:
            backoff = self._failing[cid] = self._failing.pop(cid, Backoff(*self._limits))
            backoff.failed()

    def succeeded(self, cid: Cid) -> None:
        """Forget the failures: the block came."""
        with self._lock:
            self._failing.pop(cid, None)
