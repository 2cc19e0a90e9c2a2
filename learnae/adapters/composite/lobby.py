"""Blocks that have come unasked: they wait in memory, booked on who sent them, and never touch the disk unread."""

import threading
from dataclasses import dataclass

from learnae.ipld.cid import Cid

_BYTES = 4 << 20  # of all; a flood of more makes room for itself
_BLOCK_BYTES = 200  # that a block takes besides its own: the smallest are bounded, too


@dataclass(frozen=True, slots=True)
class Guest:
    """A block that waits: ``by`` has sent it over the exchange ``link``."""

    data: bytes
    by: str
    link: str


class Lobby:
    """Holds at most ``most`` bytes: the oldest of who has sent most makes room. Safe to use from several threads.

    >>> lobby = Lobby(most=450)
    >>> for number, by in enumerate(["ann", "bob", "bob"]):
    ...     data = bytes([number])
    ...     lobby.put(Cid.of(0x55, data), data, by, "mqtt")
    >>> [Cid.of(0x55, bytes([number])) in lobby for number in range(3)]
    [True, False, True]
    """

    def __init__(self, most: int = _BYTES) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._guests = dict[Cid, Guest]()
        self._names = dict[str, dict[Cid, None]]()  # by who sent them, oldest first
        self._sizes = dict[str, int]()
        self._bytes = 0

    def __contains__(self, cid: Cid) -> bool:
        with self._lock:
            return cid in self._guests

    def put(self, cid: Cid, data: bytes, by: str, link: str) -> None:
        """Let a block wait; others make room, or it does not stay."""
        with self._lock:
            if cid in self._guests:
                return
            self._guests[cid] = Guest(data, by, link)
            self._names.setdefault(by, {})[cid] = None
            self._count(by, len(data) + _BLOCK_BYTES)
            while self._bytes > self._most:
                crowd = max(self._sizes, key=self._sizes.__getitem__)
                self._remove(next(iter(self._names[crowd])))

    def take(self, cid: Cid) -> Guest | None:
        """Remove and return a block; None if it does not wait here."""
        with self._lock:
            return self._remove(cid) if cid in self._guests else None

    def _remove(self, cid: Cid) -> Guest:
        guest = self._guests.pop(cid)
        del self._names[guest.by][cid]
        self._count(guest.by, -len(guest.data) - _BLOCK_BYTES)
        return guest

    def _count(self, by: str, size: int) -> None:
        self._bytes += size
        self._sizes[by] = self._sizes.get(by, 0) + size
        if not self._names[by]:
            del self._names[by], self._sizes[by]
