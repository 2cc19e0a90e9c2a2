"""The recorder: takes readings from all readers, marks labels and holdout, and writes them more than once a second."""

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.ingestion.buffer import SampleBuffer
from agent.ingestion.reader import SourceReader
from agent.labels import GivenLabel
from learnae.swarm.features import Features

_log = logging.getLogger(__name__)

# between two commits: with the readers' quarter and a slow card's sync, less than a second is at risk
_PERIOD_SECONDS = 0.5
_WINDOWS_PER_SLICE = 10  # so that few are lost at a slice's edges
_MIN_SLICE_SECONDS = 30.0


class Holdout:
    """Every slice of time belongs as a whole to training or is held out, ``share`` of them, evenly spread.

    Live data has no end of which the last share could be held out, and a random share of windows would leak: windows
    overlap, and neighbours are alike. So the reading's time decides, without any state, and the mark is stored with the
    reading: a clock that jumps changes which slices come next, never what was decided. The first slice may be held out:
    training then begins up to half a minute later. No window spans two slices of different kind (Windower), so that no
    held-out window shares a reading with one that is trained on, but readings on both sides of an edge are neighbours.
    """

    def __init__(self, share: float, features: Features) -> None:
        self.share = share
        self.seconds = max(_MIN_SLICE_SECONDS, _WINDOWS_PER_SLICE * features.window / features.rate)

    def marks(self, time: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (n,) whether the reading at each ``time`` (n,), in seconds, is held out."""
        return self._held_out(np.floor(time / self.seconds))

    def next_begin(self, time: float) -> float:
        """Return when the held-out slice begins that is next at ``time``, or is now; infinity if there is none."""
        if not self.share:
            return math.inf
        first = math.floor(time / self.seconds)
        number = math.ceil((math.floor(first * self.share) + 1) / self.share) - 1
        near = np.arange(max(first, number - 1), number + 2, dtype=np.float64)  # rounding may miss it by one
        return float(near[self._held_out(near)][0]) * self.seconds

    def _held_out(self, slices: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(np.floor((slices + 1) * self.share) > np.floor(slices * self.share))


@dataclass(eq=False)
class Recorder:
    """A thread of its own, as training and the network may keep the work loop longer than a reading may wait."""

    readers: Sequence[SourceReader]
    buffer: SampleBuffer
    holdout: dict[str, Holdout]
    label: GivenLabel
    period: float = _PERIOD_SECONDS

    def __post_init__(self) -> None:
        self.failures = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begin to read all sources."""
        for reader in self.readers:
            reader.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, and put on the disk what has arrived."""
        for reader in self.readers:
            reader.stop()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()  # a disk that hangs would hold up the next line, too; two at once would mix the order
        self.record()
        self.buffer.close()

    @property
    def samples(self) -> int:
        """Return how many readings were taken in since the start."""
        return sum(reader.samples for reader in self.readers)

    def status(self) -> dict[str, Any]:
        """Return the state of all sources and of the buffer, for people."""
        return {"sources": {reader.name: reader.status() for reader in self.readers}, "buffer": self.buffer.status()}

    def record(self) -> None:
        """Move what the readers hold into the buffer."""
        label = self.label.now()
        for reader in self.readers:
            for samples, position in reader.take():
                held_out = self.holdout[reader.name].marks(samples.time)
                # the label that a person has set is for samples whose source knows none
                self.buffer.append(reader.name, samples.marked(label, held_out), position)
        self.buffer.commit()

    def _run(self) -> None:
        while not self._stopping.wait(self.period):
            try:
                self.record()
            except Exception:  # noqa: BLE001 - a recorder that has ended would lose everything from then on
                if not self.failures:
                    _log.exception("readings could not be recorded (counted in status from now on)")
                self.failures += 1
