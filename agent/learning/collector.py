"""From readings to rows that the learner sees. Everything here stays on this machine."""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.ingestion.buffer import SampleBuffer
from learnae.errors import ManifestError
from learnae.models.dataset import Dataset
from learnae.ports import Samples, SampleSource
from learnae.samples.dp_statistics import Statistics
from learnae.samples.windows import Windower, add_to_statistics, add_windows
from learnae.swarm.features import Features
from learnae.swarm.manifest import Manifest
from learnae.tables.time_units import is_date
from learnae.text import counted

_log = logging.getLogger(__name__)

_CHUNKS = 64  # of the buffer at once
_SECONDS = 1.0  # for one call: what an earlier run has left in the buffer is taken in bit by bit
_PATIENCE = 200  # hops of windows after the start: who has no label then has none; how many windows came is private
NO_LABELS = "no label comes with what it measures"
_NEWEST = 32  # windows that wait to be judged by the swarm's model


@dataclass(frozen=True, slots=True)
class Judged:
    """Holds a new window: ``time`` of its last reading, its ``row``, as the model sees it, ``dated`` as Inference."""

    time: float
    row: NDArray[np.float32]
    dated: bool = True


class SummaryMode:
    """Says, in ``reason``, why this agent only sends summaries; empty while it trains."""

    def __init__(self) -> None:
        self.reason = ""

    def begin(self, reason: str) -> None:
        """Send only summaries from now on, because of ``reason``, which is logged once."""
        if not self.reason:
            self.reason = reason
            _log.warning("this agent does not train, it sends summaries: %s", reason)

    def note_label(self) -> None:
        """End with the first label, if it was for want of one."""
        if self.reason == NO_LABELS:
            _log.info("there are labels: this agent trains")
            self.reason = ""


@dataclass(eq=False)
class Collector:
    """Reads recordings and the buffer, cuts windows, computes features, fills the dataset as the swarm's task asks.

    Readings of live sources are always read back from the buffer, those of an earlier run first, so that
    training goes on with old data after a restart. All windows but those held out go into ``statistics``, where a
    swarm has summaries; in ``summary_mode`` none is kept. Raises ManifestError for a swarm without features.

    It reads ``chunks`` of the buffer at once, for about ``seconds`` of ``monotonic`` in one call. ``undated`` names the
    recordings whose times are no dates. Where a task needs labels and none has come, ``summary_mode`` begins at a time
    after the start that the swarm's features fix: others may see when.
    """

    recordings: Mapping[str, SampleSource]
    manifest: Manifest
    dataset: Dataset
    buffer: SampleBuffer | None = None
    summary_mode: SummaryMode | None = None
    chunks: int = _CHUNKS
    seconds: float = _SECONDS
    monotonic: Callable[[], float] = time.monotonic
    undated: Collection[str] = ()
    statistics: Statistics | None = None

    def __post_init__(self) -> None:
        self._recordings = dict(self.recordings)  # those that have not ended
        self._features = features_of(self.manifest)
        self._position = 0
        self._windowers: dict[str, Windower] = {}
        self._newest: deque[Judged] = deque(maxlen=_NEWEST)
        self._patient_until = self.monotonic() + _PATIENCE * self._features.hop / self._features.rate
        self.samples = 0
        self.labelled = self.unlabelled = 0  # windows

    @property
    def is_over(self) -> bool:
        """Return True if no reading will ever come again."""
        return not self._recordings and self.buffer is None

    def collect(self) -> None:
        """Take in the readings that are there now, for about a second at most."""
        for name, source in list(self._recordings.items()):
            samples = source.read()
            if samples is None:
                del self._recordings[name]
                self._report_end(name)
            else:
                self._add(name, samples, fresh=True)
        if self.buffer is not None:
            self._read_buffer(self.buffer, self.monotonic() + self.seconds)
        if self._lacks_labels() and self.summary_mode:
            self.summary_mode.begin(NO_LABELS)

    def _lacks_labels(self) -> bool:
        is_overdue = self.monotonic() >= self._patient_until
        return is_overdue and self.manifest.needs_labels and bool(self.samples) and not self.labelled

    def _report_end(self, name: str) -> None:
        data, features = self.dataset, self._features
        if self._keeps_none:
            return
        _log.log(
            logging.INFO if len(data.train) and not data.skipped else logging.WARNING,
            "source %s has ended; so far %s to train on, %d held out; of %s of %s at %g Hz "
            "without a gap, %d without a label, %d skipped: %s",
            name, counted(len(data.train), "row"), len(data.holdout),
            counted(self.labelled + self.unlabelled, "window"), counted(features.span, "sample"), features.rate,
            self.unlabelled, data.skipped, data.demand,
        )  # fmt: skip
        if data.only_class is not None:
            _log.warning(
                "all rows are of class %g: accuracy here tells nothing until there are others", data.only_class
            )

    def newest(self) -> list[Judged]:
        """Return the newest windows since the last call, oldest first, each once; none of an earlier run."""
        newest = list(self._newest)
        self._newest.clear()
        return newest

    def _read_buffer(self, buffer: SampleBuffer, deadline: float) -> None:
        while self.monotonic() < deadline:
            chunks = buffer.after(self._position, self.chunks)
            for chunk in chunks:
                self._position = chunk.id
                self._add(chunk.source, chunk.samples, fresh=chunk.id > buffer.newest)
            if len(chunks) < self.chunks:
                return

    def _add(self, name: str, samples: Samples, fresh: bool) -> None:
        self.samples += len(samples.time)
        if name not in self._windowers:
            self._windowers[name] = Windower(self._features)
        windows = self._windowers[name].push(samples)
        if not len(windows.time):
            return
        known = windows.label >= 0
        self.labelled += int(known.sum())
        self.unlabelled += int(len(known) - known.sum())
        if self.summary_mode and self.labelled:
            self.summary_mode.note_label()
        rows = self._features.extract(windows.values)
        if not self._keeps_none:
            add_windows(self.dataset, self.manifest, rows, windows)
        if self.statistics is not None:
            add_to_statistics(self.statistics, self.manifest, rows, windows)
        if fresh:
            times = windows.time[-_NEWEST:]
            # a clock that is not set yet tells no date either
            dated = np.full(len(times), name not in self.undated) if name in self.recordings else is_date(times)
            self._newest.extend(map(Judged, times.tolist(), rows[-_NEWEST:], dated.tolist()))

    @property
    def _keeps_none(self) -> bool:
        return self.summary_mode is not None and bool(self.summary_mode.reason)


def features_of(manifest: Manifest) -> Features:
    """Return the swarm's features; raises ManifestError for a swarm of trainers only."""
    if manifest.features is None:
        raise ManifestError(f"swarm {manifest.name!r} defines no features", "only trainers can be members of it")
    return manifest.features
