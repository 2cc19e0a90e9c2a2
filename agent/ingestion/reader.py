"""A feed: one live source and the thread that reads it. What it meets stays with it: the others go on."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numpy as np

from agent.sources.live import LiveSource, Open
from learnae.errors import LearnaeError
from learnae.ports import Samples

log = logging.getLogger("learnae")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds before a source that failed is opened again
_SLOWEST = 0.25  # seconds between two reads at most: what has come must soon be on the disk
_FAREWELL = 2.0  # seconds at the end: so long a busy board may keep a thread waiting that has something to give
_FASTEST = 0.002  # a sensor is not asked more often: its thread would do nothing else
_WAITING = 60_000  # readings between two visits of the recorder, which come more than once a second
_ENOUGH = 15_000  # a source that can be asked later is not read while more wait: a read gives it 41,000 at most
_WORKING, _OPENING, _STOPPED = "working", "opening", "stopped"
FAILING = "failing"


class SourceReader:
    """Opens the source ``name``, reads it again and again, and opens it again after an error.

    A ``polled`` source is read at ``rate`` Hz, any other four times a second. Readings that come faster
    than twice the rate are dropped and counted: such a source is broken, and must not push out what the
    others have measured. A source is opened at the ``position`` up to which its readings are kept.
    """

    def __init__(self, name: str, open_source: Open, rate: float, polled: bool, position: str = "") -> None:
        self.name = name
        self._open = open_source
        self._rate = rate
        self._period = min(_SLOWEST, max(_FASTEST, 1 / rate)) if polled else _SLOWEST
        self._lock = threading.Lock()
        self._waiting: list[tuple[Samples, str]] = []
        self._position = position
        self._count = 0
        self._source: LiveSource | None = None
        self._last_bin = -1.0
        self._state, self._error = _OPENING, ""
        self.samples = self.dropped = self.failures = 0
        self._pause = _FIRST_PAUSE
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; a source that hangs is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_FAREWELL)

    def take(self) -> list[tuple[Samples, str]]:
        """What has come since the last call, each with the source's position after it."""
        with self._lock:
            waiting, self._waiting, self._count = self._waiting, [], 0
        return waiting

    def status(self) -> dict[str, Any]:
        """For people."""
        source = self._source
        return {
            "state": self._state,
            "detail": source.state() if source is not None and self._state == _WORKING else "",
            "samples": self.samples,
            "dropped": self.dropped,
            "failures": self.failures,
            "error": self._error,
        }

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._source = self._open(self._position)
                try:
                    self._read(self._source)
                finally:
                    source, self._source = self._source, None
                    source.close()
            except Exception as error:  # noqa: BLE001 - whatever one source meets, the others go on
                self._failed(error)
                self._stopping.wait(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._state = _STOPPED

    def _read(self, source: LiveSource) -> None:
        while not self._stopping.is_set():
            if source.position and self._count > _ENOUGH:
                self._stopping.wait(self._period)
                continue
            samples = source.read()
            if samples is None:
                self._stopping.set()
                return
            if self._error and self._state != _WORKING:
                log.info("source %s is back", self.name)
            self._state = _WORKING
            if len(samples.time):
                self._pause = _FIRST_PAUSE
                self._put(self._thin(samples), source.position)
            # in step with the grid of resampling, or a reading would now come twice and now be left out
            self._stopping.wait(self._period - time.time() % self._period)

    def _put(self, samples: Samples, position: str) -> None:
        count = len(samples.time)
        with self._lock:
            if self._count + count > _WAITING:
                self.dropped += count
                return
            self._waiting.append((samples, position))
            self._position = position
            self._count += count
        self.samples += count

    def _thin(self, samples: Samples) -> Samples:
        """At most one reading in half a period, and none without a time."""
        bins = np.floor(samples.time * (2 * self._rate))
        keep = np.isfinite(bins) & (np.diff(bins, prepend=self._last_bin) != 0)
        if not keep.any():
            self.dropped += len(keep)
            return Samples(*(getattr(samples, name)[:0] for name in Samples.__slots__))
        self._last_bin = float(bins[keep][-1])
        self.dropped += int(len(keep) - keep.sum())
        return samples if keep.all() else Samples(*(getattr(samples, name)[keep] for name in Samples.__slots__))

    def _failed(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        if self._state == _WORKING or said != self._error:
            if isinstance(error, (LearnaeError, OSError)):
                log.warning("source %s: %s; trying again", self.name, said)
            else:
                log.exception("source %s: a defect; trying again", self.name)
        self.failures += 1
        self._state, self._error = FAILING, said[:400]
