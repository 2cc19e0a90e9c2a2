"""The source reader: one live source and the thread that reads it. An error of one source never stops the others."""

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.sources.live import LiveSource, Open
from learnae.errors import LearnaeError
from learnae.ports import Samples
from learnae.system.backoff import Backoff
from learnae.text import counted

_log = logging.getLogger(__name__)

_MIN_PERIOD_SECONDS = 0.002  # a sensor is not asked more often: its thread would do nothing else
_MAX_ERROR_CHARACTERS = 400  # of an error's text in the status
_MOST_SAID = 16  # different reasons in that time
_WORKING, _OPENING, _STOPPED = "working", "opening", "stopped"
FAILING = "failing"


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """How long a reader waits, in seconds, and how many readings it holds."""

    first_pause: float = 0.5  # before a source that failed is opened again, doubled each time
    longest_pause: float = 60.0
    period: float = 0.25  # between two reads at most: what has arrived must soon be on the disk
    join_timeout: float = 2.0  # at the end: so long a busy board may keep a thread waiting that has readings to give
    say_again: float = 3600.0  # before a reason is logged that was logged already: a loose wire is one line
    queue: int = 60_000  # readings between two visits of the recorder, which come more than once a second
    enough: int = 15_000  # a source that can resume is not read while more wait: a read gives 41,000 at most


@dataclass(eq=False)
class SourceReader:
    """Opens the source ``name``, reads it again and again, and opens it again after an error.

    A ``polled`` source is read at ``rate`` Hz, any other four times a second. Readings that arrive faster
    than twice the rate are dropped and counted: such a source is broken, and must not push out what the
    others have measured. A source is opened at the ``position`` up to which its readings are kept.
    """

    name: str
    open_source: Open
    rate: float
    polled: bool
    position: str = ""
    limits: ReaderLimits = ReaderLimits()

    def __post_init__(self) -> None:
        longest = self.limits.period
        self.period = min(longest, max(_MIN_PERIOD_SECONDS, 1 / self.rate)) if self.polled else longest
        self._lock = threading.Lock()
        self._waiting: list[tuple[Samples, str]] = []
        self._count = 0
        self._source: LiveSource | None = None
        self._last_bin = -1.0
        self._state, self._error = _OPENING, ""
        self.samples = self.dropped = self.failures = 0
        self._backoff = Backoff(self.limits.first_pause, self.limits.longest_pause)
        self._said: dict[str, tuple[float, int]] = {}  # when each reason was logged, and how often it came since
        self._is_said = False  # why it fails, since it last worked
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading; a source that hangs is left behind."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self.limits.join_timeout)

    def take(self) -> list[tuple[Samples, str]]:
        """Return the readings since the last call, each part with the source's position after it."""
        with self._lock:
            waiting, self._waiting, self._count = self._waiting, [], 0
        return waiting

    def status(self) -> dict[str, Any]:
        """Return the source's state, for people."""
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
                self._source = self.open_source(self.position)
                try:
                    self._read(self._source)
                finally:
                    source, self._source = self._source, None
                    source.close()
            except Exception as error:  # noqa: BLE001 - whatever one source meets, the others go on
                self._failed(error)
                self._stopping.wait(self._backoff.failed())
        self._state = _STOPPED

    def _read(self, source: LiveSource) -> None:
        while not self._stopping.is_set():
            if source.position and self._count > self.limits.enough:
                self._stopping.wait(self.period)
                continue
            samples = source.read()
            if samples is None:
                self._stopping.set()
                return
            if self._is_said:
                _log.info("source %s is back", self.name)
            self._state, self._is_said = _WORKING, False
            if len(samples.time):
                self._backoff.succeeded()
                self._put(self._thin(samples), source.position)
            # in step with the grid of resampling, or a reading would now come twice and now be left out
            self._stopping.wait(self.period - time.time() % self.period)

    def _put(self, samples: Samples, position: str) -> None:
        count = len(samples.time)
        with self._lock:
            if self._count + count > self.limits.queue:
                self.dropped += count
                return
            self._waiting.append((samples, position))
            self.position = position
            self._count += count
        self.samples += count

    def _thin(self, samples: Samples) -> Samples:
        """Return at most one reading in half a period, and none without a time."""
        bins = np.floor(samples.time * (2 * self.rate))
        keep = np.isfinite(bins) & (np.diff(bins, prepend=self._last_bin) != 0)
        self.dropped += int(len(keep) - keep.sum())
        if keep.any():
            self._last_bin = float(bins[keep][-1])
        return samples if keep.all() else samples.part(keep)

    def _failed(self, error: Exception) -> None:
        text = str(error) or type(error).__name__
        self._say(text, error)
        self.failures += 1
        self._state, self._error = FAILING, text[:_MAX_ERROR_CHARACTERS]

    def _say(self, text: str, error: Exception) -> None:
        """Log a reason, and the same one again only after a while, with how often it came."""
        now = time.monotonic()
        said, count = self._said.get(text, (-math.inf, 0))
        if now - said < self.limits.say_again:
            self._said[text] = said, count + 1
            return
        self._said = {key: value for key, value in self._said.items() if now - value[0] < self.limits.say_again}
        if len(self._said) >= _MOST_SAID:
            return
        self._said[text], self._is_said = (now, 0), True
        again = f" ({counted(count, 'time')} more since this was said)" if count else ""
        if isinstance(error, (LearnaeError, OSError)):
            _log.warning("source %s: %s; trying again%s", self.name, text, again)
        else:
            _log.exception("source %s: a defect; trying again%s", self.name, again)
