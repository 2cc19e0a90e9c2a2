"""The recorder: takes from all feeds, marks labels and holdout, and puts it on the disk more than once a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.holdout import Holdout
from agent.ingestion.reader import SourceReader
from agent.labels import GivenLabel
from agent.samples import UNKNOWN
from learnae.ports import Samples

log = logging.getLogger("learnae")

_SECONDS = 0.5  # between two commits: with the feeds' quarter and a slow card's sync, less than a second is at risk


class Recorder:
    """A thread of its own, as training and the network may keep the work loop longer than a reading may wait."""

    def __init__(
        self, feeds: Sequence[SourceReader], buffer: SampleBuffer, holdout: dict[str, Holdout], label: GivenLabel
    ) -> None:
        self._feeds = feeds
        self._buffer = buffer
        self._holdout = holdout
        self._label = label
        self.failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to read all sources."""
        for feed in self._feeds:
            feed.start()
        self._thread.start()

    def stop(self) -> None:
        """Read no more, and put on the disk what has come."""
        for feed in self._feeds:
            feed.stop()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()  # a disk that hangs would hold up the next line, too; two at once would mix the order
        self.record()
        self._buffer.close()

    @property
    def samples(self) -> int:
        """Readings taken in since the start."""
        return sum(feed.samples for feed in self._feeds)

    def status(self) -> dict[str, Any]:
        """For people."""
        return {
            "sources": {feed.name: feed.status() for feed in self._feeds},
            "buffer": self._buffer.status(),
        }

    def record(self) -> None:
        """Move what the feeds have into the buffer."""
        label = self._label.now()
        for feed in self._feeds:
            for samples, position in feed.take():
                self._buffer.append(feed.name, self._marked(feed.name, samples, label), position)
        self._buffer.commit()

    def _marked(self, name: str, samples: Samples, given: int) -> Samples:
        """A label that the source knows wins over the one that a person has given for all."""
        label = np.where(samples.label == UNKNOWN, given, samples.label)
        return Samples(samples.time, samples.values, label, self._holdout[name].marks(samples.time))

    def _run(self) -> None:
        while not self._stopping.wait(_SECONDS):
            try:
                self.record()
            except Exception:  # a recorder that has ended would lose everything from then on
                if not self.failures:
                    log.exception("readings could not be recorded (counted in status from now on)")
                self.failures += 1
