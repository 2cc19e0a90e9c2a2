"""Leases: the authors whose frames this peer hears, each for a while after one of its frames was wanted."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Handler
from learnae.adapters.mqtt.topics import Topics
from learnae.basics.bounded_dict import BoundedDict
from learnae.ipld.cid import Cid
from learnae.protocol.neighbourhood.interest import Interest

_REMEMBERED = 8192  # names of blocks


@dataclass(eq=False)
class Leases:
    """Subscribes to the frames of at most ``most`` authors for ``seconds`` each. Safe to use from several threads.

    A lease and its subscription begin and end together, under the lock. A lease whose time is over ends with the next
    frame, or when another one begins. ``clock`` tells seconds.
    """

    connection: MqttConnection
    topics: Topics
    seconds: float
    most: int
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._authors = BoundedDict[Cid, str](_REMEMBERED)  # of blocks of frames
        self._ends: dict[str, float] = {}

    def note(self, author: str, blocks: Iterable[Cid]) -> None:
        """Remember that a message of ``author`` names ``blocks`` as its frame."""
        with self._lock:
            for cid in blocks:
                self._authors.renew(cid, author)

    def names(self, author: str, cid: Cid) -> bool:
        """Return True if a message of ``author`` was the last to name the block."""
        with self._lock:
            return self._authors.get(cid) == author

    def author_of(self, cid: Cid) -> str:
        """Return the author whose message was the last to name the block; empty for none."""
        with self._lock:
            return self._authors.get(cid, "")

    def has(self, author: str) -> bool:
        """Return True if the frames of ``author`` are heard."""
        with self._lock:
            return author in self._ends

    def begin(self, cid: Cid, handler: Handler) -> None:
        """Let ``handler`` have the frames of the author that has named block ``cid``: the next will be wanted, too."""
        with self._lock:
            author = self._authors.get(cid, "")
            if author in {"", self.topics.peer}:
                return
            now = self.clock()
            for silent in [peer for peer, end in self._ends.items() if end < now and peer != author]:
                self._end(silent)
            if author not in self._ends and len(self._ends) < self.most:
                self._ends[author] = now + self.seconds
                self.connection.subscribe(self.topics.of(author, "frame/#"), handler)

    def expire(self, author: str) -> None:
        """End the lease of ``author`` if its time is over."""
        with self._lock:
            if self._ends.get(author, float("inf")) < self.clock():
                self._end(author)

    def attend(self, interest: Interest) -> None:
        """End the leases of authors who are not heard any more."""
        with self._lock:
            for author in [each for each in self._ends if not interest.admits_name(each)]:
                self._end(author)

    def _end(self, author: str) -> None:
        del self._ends[author]
        self.connection.unsubscribe(self.topics.of(author, "frame/#"))
