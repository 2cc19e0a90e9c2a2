"""One thread for what comes and for what is due: disks may be slow, and the network thread must not wait for them."""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from learnae.adapters.mqtt.connection import Handler, Received
from learnae.errors import LearnaeError

log = logging.getLogger("learnae")

_MESSAGES, _BYTES = 256, 8 << 20  # that wait; a flood beyond that is dropped, and asked for again if it was worth it
_LOOK_SECONDS = 0.2  # at most until the end is noticed
_FAREWELL_SECONDS = 2.0


class MqttInbox:
    """Hands what ``handler`` takes, and what is ``later`` due, to its thread; errors are counted in ``counts``."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Handler, Received]] = queue.SimpleQueue()
        self._bytes = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt inbox", daemon=True)
        self._thread.start()

    def handler(self, handle: Handler) -> Handler:
        """A handler for the network thread that lets this one call ``handle``."""

        def put(received: Received) -> None:
            with self._lock:
                is_full = self._queue.qsize() >= _MESSAGES or self._bytes > _BYTES
                self._bytes += 0 if is_full else len(received.payload)
            if is_full:
                self._counts["dropped: too fast"] += 1
            else:
                self._queue.put((handle, received))

        return put

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after ``seconds``; only from this thread."""
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
            self._counts["refused"] += 1
            if self._counts["refused"] == 1:
                log.warning("MQTT: %s: %s (counted from now on)", what, error)
        except Exception:  # one message that we stumble over must not make this peer deaf
            self._counts["failed"] += 1
            log.exception("MQTT: %s could not be handled", what)
