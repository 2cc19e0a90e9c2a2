"""One thread handles messages and timed actions: disks may be slow, and the network thread must not wait for them."""

import heapq
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from learnae.adapters.mqtt.subscriptions import Handler, Received
from learnae.errors import LearnaeError

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2  # at most until ``close`` is noticed
_FAREWELL_SECONDS = 2.0  # for the action that is being done as the end comes


class Counts:
    """Counts events by name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> int:
        """Count ``number`` more events; return how many there were in all."""
        with self._lock:
            self._numbers[name] += number
            return self._numbers[name]

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._numbers[name]

    def describe(self) -> str:
        """Return all counts as the status shows them."""
        with self._lock:
            return ", ".join(f"{number} {name}" for name, number in sorted(self._numbers.items())) or "nothing yet"


class MqttInbox:
    """Calls handlers and timed actions in a thread of its own; errors are counted in ``counts``.

    At most ``most_messages`` of ``most_bytes`` wait; more are dropped and counted.
    """

    def __init__(self, counts: Counts, most_messages: int, most_bytes: int) -> None:
        self._counts = counts
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Handler, Received]] = queue.SimpleQueue()
        self._bytes = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt inbox", daemon=True)
        self._thread.start()

    def handler(self, handle: Handler, is_welcome: Callable[[Received], bool] = lambda _: True) -> Handler:
        """Return a handler for the network thread that lets the inbox's thread call ``handle``.

        What is not ``is_welcome``, which must be told at once, is dropped first.
        """

        def put(received: Received) -> None:
            if not is_welcome(received):
                return
            with self._lock:
                if self._queue.qsize() < self._most_messages and self._bytes <= self._most_bytes:
                    self._bytes += len(received.payload)
                    self._queue.put((handle, received))
                    return
            self._counts.add("dropped: too fast")

        return put

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after ``seconds``; for handlers and actions only, as their thread alone knows what is due."""
        self._order += 1
        heapq.heappush(self._due, (time.monotonic() + seconds, self._order, action))

    def close(self) -> None:
        """Handle nothing more. Idempotent."""
        self._closing.set()
        self._thread.join(_FAREWELL_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            left = max(0.0, self._due[0][0] - time.monotonic()) if self._due else _LOOK_SECONDS
            with suppress(queue.Empty):
                handle, received = self._queue.get(timeout=min(_LOOK_SECONDS, left))
                with self._lock:
                    self._bytes -= len(received.payload)
                self._survive(partial(handle, received), f"a message on {received.topic[:200]}")
            while self._due and self._due[0][0] <= time.monotonic():
                self._survive(heapq.heappop(self._due)[2], "an answer")

    def _survive(self, work: Callable[[], None], what: str) -> None:
        try:
            work()
        except LearnaeError as error:
            if self._counts.add("refused") == 1:
                _log.warning("MQTT: %s: %s (counted from now on)", what, error)
        except Exception:  # noqa: BLE001 - a mistake of this program in one message must not make the peer deaf
            self._counts.add("failed")
            _log.exception("MQTT: %s could not be handled", what)
