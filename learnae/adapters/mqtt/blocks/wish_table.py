"""The blocks that threads of this peer wait for, each heard and asked for once however many wait."""

import threading
from dataclasses import dataclass, field

from learnae.adapters.mqtt.connection import MqttConnection
from learnae.adapters.mqtt.subscriptions import Handler
from learnae.adapters.mqtt.topics import Topics
from learnae.errors import TransportError
from learnae.ipld.cid import MAX_BLOCK_BYTES, Cid


@dataclass(slots=True)
class Wish:
    """A block that threads wait for.

    ``arriving`` is set while what came with the block is written. ``arrived`` ends the wait; ``data`` was written
    before it, and is None if the block has not come. ``most`` is how many bytes it may have.
    """

    most: int = MAX_BLOCK_BYTES
    users: int = 0
    data: bytes | None = None
    arriving: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)


class WishTable:
    """Subscribes to a block's topic while threads wait for the block. Safe to use from several threads."""

    def __init__(self, connection: MqttConnection, topics: Topics) -> None:
        self._connection = connection
        self._topics = topics
        self._lock = threading.Lock()
        self._wishes: dict[Cid, Wish] = {}
        self.closed = threading.Event()

    def check_open(self) -> None:
        """Raise TransportError after ``close``."""
        if self.closed.is_set():
            raise TransportError("the exchange over MQTT is closed")

    def enter(self, cid: Cid, handler: Handler, most: int = MAX_BLOCK_BYTES) -> Wish:
        """Wait until ``leave`` for a block whose answers ``handler`` gets; raises TransportError after ``close``."""
        with self._lock:
            self.check_open()  # close wakes only the threads that wait by then
            wish = self._wishes.setdefault(cid, Wish(most))
            wish.most = max(most, wish.most)
            wish.users += 1
            if wish.users == 1:
                self._connection.subscribe(self._topics.all(f"block/{cid}"), handler)
        return wish

    def leave(self, cid: Cid, wish: Wish) -> None:
        """Wait no more."""
        with self._lock:
            wish.users -= 1
            if not wish.users:
                del self._wishes[cid]
                self._connection.unsubscribe(self._topics.all(f"block/{cid}"))

    def find(self, cid: Cid) -> Wish | None:
        """Return the wish for a block, None if no thread waits for it."""
        with self._lock:
            return self._wishes.get(cid)

    def fulfil(self, cid: Cid, data: bytes) -> None:
        """Give a stored block to the threads that wait for it; later ones find it in the store."""
        wish = self.find(cid)
        if wish is not None:
            wish.data = data
            wish.arrived.set()

    def close(self) -> None:
        """End all waits without a block. Idempotent."""
        with self._lock:
            self.closed.set()
            for wish in self._wishes.values():
                wish.arrived.set()
