"""What this peer says to all that ask: its announcement and what it lacks, signed anew when that changes."""

import threading
import time

from learnae.adapters.http.vector import MAX_WANTS, Vector, tag_of
from learnae.ipld.cid import Cid
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import Identity


class OwnVector:
    """Holds the newest of it; threads wait for a change. Safe to use from several threads."""

    def __init__(self, identity: Identity, swarm: Cid) -> None:
        self.by = identity.author
        self._identity, self._swarm = identity, swarm
        self._changed = threading.Condition()
        self._content = Announcement()
        self._wants: dict[Cid, int] = {}  # how many threads wait for it
        self._time = 0
        self._signed: tuple[bytes, str] | None = None  # bytes and tag of what is to be said now
        self._is_closed = False

    def say(self, content: Announcement) -> None:
        """Announce this from now on; raises LimitError for more than an announcement holds."""
        content.check()
        with self._changed:
            if content != self._content:
                self._content = content
                self._renew()

    def want(self, cid: Cid) -> None:
        """Say that the block is lacked, until ``forget`` was called as often."""
        with self._changed:
            self._wants[cid] = self._wants.get(cid, 0) + 1
            self._renew()

    def forget(self, cid: Cid) -> None:
        """Say that the block is lacked no more."""
        with self._changed:
            left = self._wants.pop(cid) - 1
            if left:
                self._wants[cid] = left
            else:
                self._signed = None  # no news that others are woken for

    def wants(self, cid: Cid) -> bool:
        """Return True if the block is lacked."""
        with self._changed:
            return cid in self._wants

    def current(self) -> tuple[bytes, str]:
        """Return the signed bytes, and their entity tag."""
        with self._changed:
            return self._current()

    def changed_from(self, tag: str, seconds: float) -> tuple[bytes, str] | None:
        """Return what is another than that with ``tag``, as soon as there is; None after so many ``seconds``."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._is_closed:
                if self._current()[1] != tag:
                    return self._current()
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def close(self) -> None:
        """Let nothing wait any more. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _renew(self) -> None:
        self._signed = None
        self._changed.notify_all()

    def _current(self) -> tuple[bytes, str]:
        if self._signed is None:
            self._time = max(self._time + 1, time.time_ns() // 1_000_000)
            vector = Vector(self.by, self._time, self._content, tuple(self._wants)[:MAX_WANTS])
            data = vector.to_bytes(self._swarm, self._identity)
            self._signed = data, tag_of(data)
        return self._signed
