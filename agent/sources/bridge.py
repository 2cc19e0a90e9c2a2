"""Sensors behind a firmware bridge: a microcontroller on a serial line, heard over the bridge's Unix socket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.labels import UNKNOWN
from agent.sources.live import LiveSource
from agent.sources.resampling import Resampler, nothing
from firmware_bridge.records import Label, LinkState, Listen, Readings, Record, Schema
from firmware_bridge.socket_api.client import Client
from learnae.basics.overriding import override
from learnae.errors import DataError
from learnae.ports import Samples
from learnae.text import counted

_RATE_TOLERANCE = 0.1  # a board's rate may differ by this share from the swarm's and is taken as it is


@dataclass(eq=False)
class BridgeSource(LiveSource):
    """Readings of the bridge's client, which reconnects by itself and asks for what was missed.

    ``names`` are the board's columns, one for each channel of the swarm. A board that samples at about
    ``rate`` Hz is taken as it is, any other is resampled. Its labels hold until the next, also after a
    restart at an earlier position ``after``, as long as nothing was missed meanwhile.
    """

    path: Path
    names: Sequence[str]
    rate: float
    hold: float
    label_of: Callable[[str], int]
    after: str = ""

    def __post_init__(self) -> None:
        after, self._label = _parse(self.after)
        self._resumed = after.stream  # the run that the label is of, until the first readings or label
        self._client = Client(self.path, after)
        self._schema: Schema | None = None
        self._columns: list[int] = []
        self._resampler: Resampler | None = None
        self._overlap = 0  # samples that the next source gets again, as the last readings were resampled
        self._link = "connecting"
        self._without: list[str] = []  # channels that had no reading last
        self.missed = 0

    @override
    def read(self) -> Samples:
        """Return what has arrived; raises DataError for a board that does not measure the swarm's channels."""
        parts = [part for record in self._client.read() if (part := self._take(record)) is not None]
        return Samples.joined(parts) if parts else nothing(len(self.names))

    @property
    @override
    def position(self) -> str:
        """Return sequence, label and stream. Resampling begins anew with the last sample that it had."""
        at = self._client.position
        return f"{at.sequence - self._overlap} {self._label} {at.stream}" if at.stream else ""

    @override
    def state(self) -> str:
        problem = self._client.problem
        link = str(problem) if problem else self._link
        link += f"; no reading of {', '.join(self._without)}" if self._without else ""
        return f"{link}; {counted(self.missed, 'sample')} missed" if self.missed else link

    @override
    def close(self) -> None:
        self._client.close()

    def _take(self, record: Record) -> Samples | None:
        if isinstance(record, Schema):
            self._begin(record)
        elif isinstance(record, Label):
            self._label = self.label_of(record.name) if record.name else UNKNOWN
            self._resumed = ""
        elif isinstance(record, LinkState):
            self._doubt(record.missed > 0)
            self.missed += record.missed
            self._link = f"{record.state}: {record.reason}" if record.reason else record.state
        elif isinstance(record, Readings) and self._columns:
            return self._readings(record)
        return None

    def _begin(self, schema: Schema) -> None:
        self._doubt(schema.stream != self._resumed)
        names = [channel.name for channel in schema.channels]
        absent = [name for name in self.names if name not in names]
        if absent:
            raise DataError(f"board {schema.board} has no channel {', '.join(absent)}", f"it has {', '.join(names)}")
        if schema != self._schema:  # else it is repeated after an interruption
            self._columns = [names.index(name) for name in self.names]
            fits = abs(schema.rate / self.rate - 1) <= _RATE_TOLERANCE
            self._resampler = None if fits else Resampler(len(self.names), self.rate, self.hold)
        self._schema = schema
        self._link = f"{schema.board} at {schema.rate:g} Hz"

    def _doubt(self, has_changed: bool) -> None:
        """Forget the label from before a restart if another may have come since."""
        if self._resumed and has_changed:
            self._label, self._resumed = UNKNOWN, ""

    def _readings(self, readings: Readings) -> Samples:
        self._resumed, self._overlap = "", int(self._resampler is not None)
        times, values = readings.times, readings.values[:, self._columns].astype(np.float32)
        self._without = [name for name, value in zip(self.names, values[-1], strict=True) if np.isnan(value)]
        if self._resampler is None:
            whole = np.isfinite(values).all(axis=1)  # else a channel has no reading, and windows end
            return Samples.unmarked(times[whole], values[whole], self._label)
        self._resampler.put_rows(times, values)
        return self._resampler.take(float(times[-1]), self._label)


def _parse(position: str) -> tuple[Listen, int]:
    """Read a ``BridgeSource.position``; one that cannot be read counts as none."""
    try:
        sequence, label, stream = position.split(" ", 2)
        return Listen(stream, int(sequence)), int(label)
    except ValueError:
        return Listen(), UNKNOWN
