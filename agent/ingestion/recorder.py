"""The recorder: takes readings from all readers, marks labels and holdout, and writes them more than once a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.holdout import Holdout
from agent.ingestion.reader import SourceReader
from agent.labels import GivenLabel
from learnae.ports import Samples

_log = logging.getLogger(__name__)

# between two commits: with the readers' quarter and a slow card's sync, less than a second is at risk
_PERIOD_SECONDS = 0.5


class Recorder:
    """A thread of its own, as training and the network may keep the work loop longer than a reading may wait."""

    def __init__(
        self,
        readers: Sequence[SourceReader],
        buffer: SampleBuffer,
        holdout: dict[str, Holdout],
        label: GivenLabel,
        period: float = _PERIOD_SECONDS,
    ) -> None:
        self._readers = readers
        self._buffer = buffer
        self._holdout = holdout
        self._label = label
        self._period = period
        self.failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to read all sources."""
        for reader in self._readers:
            reader.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and put on the disk what has arrived."""
        for reader in self._readers:
            reader.stop()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()  # a disk that hangs would hold up the next line, too; two at once would mix the order
        self.record()
        self._buffer.close()

    @property
    def samples(self) -> int:
        """Return how many readings were taken in since the start."""
        return sum(reader.samples for reader in self._readers)

    def status(self) -> dict[str, Any]:
        """Return the state of all sources and of the buffer, for people."""
        return {
            "sources": {reader.name: reader.status() for reader in self._readers},
            "buffer": self._buffer.status(),
        }

    def record(self) -> None:
        """Move what the readers hold into the buffer."""
        label = self._label.now()
        for reader in self._readers:
            for samples, position in reader.take():
                self._buffer.append(reader.name, self._marked(reader.name, samples, label), position)
        self._buffer.commit()

    def _marked(self, name: str, samples: Samples, label: int) -> Samples:
        """Mark what is held out, and give the ``label`` that a person has set to samples whose source knows none."""
        return samples.marked(label, self._holdout[name].marks(samples.time))

    def _run(self) -> None:
        while not self._stopping.wait(self._period):
            try:
                self.record()
            except Exception:  # noqa: BLE001 - a recorder that has ended would lose everything from then on
                if not self.failures:
                    _log.exception("readings could not be recorded (counted in status from now on)")
                self.failures += 1
