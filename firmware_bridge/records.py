"""Records: what agents receive from the bridge over its Unix socket.

A record is a 4-byte big-endian length, then that many bytes of dag-cbor: a map with ``kind``. The
listener sends first, one ``Listen``; the bridge then sends a ``Schema`` and all that follows.
Readings between two schemas are of the first one. docs/bridge.md has the tables.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import RecordError
from learnae.errors import EncodingError
from learnae.ipld import dagcbor
from learnae.ipld.fields import Fields

MAX_BYTES = 1 << 16  # of one record: a serial frame makes less than 2 KB, an agent's batch never needs more
MAX_CHANNELS = 32  # of one board: two frames of description, and a row of 32-bit values in one frame
MAX_RATE = 100_000.0  # Hz: ten times what any serial port can carry
MAX_STEP = 86_400.0  # seconds between two samples
MAX_TIME = 2.0**38  # Unix seconds: the year 10680
MAX_NAME = 64  # characters
MAX_TEXT = 400  # characters of a reason or a log line
PREFIX = struct.Struct(">I")
UP, DOWN, RESET, MISSED = STATES = ("up", "down", "reset", "missed")
_LAST_SEQUENCE = 2**53  # exact in a float64, for readers of JSON


@dataclass(frozen=True, slots=True)
class Channel:
    """One column: its ``name`` and its SenML ``unit`` (RFC 8428, section 12.1), "" for none."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What the readings that follow are, until the next schema.

    ``stream`` names one run of one board, from its start to its reset: within it, samples are numbered
    without a break. ``rate`` in Hz.
    """

    kind: ClassVar[str] = "schema"
    stream: str
    board: str
    firmware: str
    channels: tuple[Channel, ...]
    rate: float

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {
            "stream": self.stream,
            "board": self.board,
            "firmware": self.firmware,
            "names": [channel.name for channel in self.channels],
            "units": [channel.unit for channel in self.channels],
            "rate": self.rate,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Schema:
        """Read and bound a received map."""
        names, units = fields.texts("names", MAX_CHANNELS), fields.texts("units", MAX_CHANNELS)
        if not names or len(units) != len(names) or len(set(names)) != len(names):
            raise fields.error("names", names, "one for each unit, at least one, none twice")
        stream, board, firmware = map(fields.text, ("stream", "board", "firmware"))
        rate = fields.number("rate", 0, MAX_RATE)
        if rate == 0:
            raise fields.error("rate", rate, "more than 0 Hz")
        return cls(stream, board, firmware, tuple(map(Channel, names, units)), rate)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """``values`` (rows, channels) float64 in the schema's units; row i was taken at ``time`` + i · ``step``.

    A channel that has no reading then is NaN.
    ``sequence`` numbers the first row in its stream; ``time`` is in Unix seconds, ``step`` in seconds.
    """

    kind: ClassVar[str] = "readings"
    sequence: int
    time: float
    step: float
    values: NDArray[np.float64]

    @property
    def rows(self) -> int:
        """Return how many samples of each channel there are."""
        return len(self.values)

    @property
    def times(self) -> NDArray[np.float64]:
        """Return when each row was taken: (rows,) Unix seconds."""
        return np.float64(self.time) + self.step * np.arange(self.rows, dtype=np.float64)

    def after(self, skipped: int) -> Readings:
        """Return these readings without their first ``skipped`` rows."""
        return Readings(self.sequence + skipped, self.time + skipped * self.step, self.step, self.values[skipped:])

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record: values column after column, little-endian float64."""
        return {
            "sequence": self.sequence,
            "time": self.time,
            "step": self.step,
            "rows": self.rows,
            "values": self.values.T.astype("<f8").tobytes(),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Readings:
        """Read and bound a received map."""
        rows = fields.integer("rows", 1, MAX_BYTES // 8)
        data = fields.value("values")
        if not isinstance(data, bytes) or not data or len(data) % (8 * rows) or len(data) > 8 * rows * MAX_CHANNELS:
            raise fields.error("values", type(data).__name__, f"{rows} float64 a channel")
        values = np.frombuffer(data, "<f8").reshape(-1, rows).T
        if np.isinf(values).any():
            raise fields.error("values", "infinite", "finite numbers, or NaN for none")
        step = fields.number("step", 0, MAX_STEP)
        return cls(fields.integer("sequence", 0, _LAST_SEQUENCE), read_time(fields), step, values)


@dataclass(frozen=True, slots=True)
class _Plain:
    """A record that is its fields."""

    def to_fields(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Named(_Plain):
    """A record of a time and a name."""

    time: float
    name: str

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        return cls(read_time(fields), fields.text("name", MAX_NAME))


@dataclass(frozen=True, slots=True)
class Label(_Named):
    """From ``time`` (Unix seconds) on, samples belong to the class ``name``; "" for none that is known."""

    kind: ClassVar[str] = "label"


@dataclass(frozen=True, slots=True)
class Event(_Named):
    """Something happened at ``time`` (Unix seconds)."""

    kind: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class LinkState(_Plain):
    """How the link is since ``time``.

    ``up``: the board answers; ``down``: it does not, for this ``reason``; ``reset``: it has started anew,
    another schema follows; ``missed``: that many samples were lost here, on the board, on the line, or because
    this listener was too slow.
    """

    kind: ClassVar[str] = "link"
    time: float
    state: str
    reason: str = ""
    missed: int = 0

    @classmethod
    def from_fields(cls, fields: Fields) -> LinkState:
        """Read and bound a received map."""
        reason, missed = fields.text("reason", MAX_TEXT), fields.integer("missed")
        return cls(read_time(fields), fields.choice("state", STATES), reason, missed)


@dataclass(frozen=True, slots=True)
class Listen(_Plain):
    """A listener's first record: where to go on, as far as the bridge remembers.

    ``stream`` "" is for a listener that has heard nothing yet: only what is new from now on. Else ``sequence`` is the
    first sample of ``stream`` that the listener does not have.
    """

    kind: ClassVar[str] = "listen"
    stream: str = ""
    sequence: int = 0

    @classmethod
    def from_fields(cls, fields: Fields) -> Listen:
        """Read and bound a received map."""
        return cls(fields.text("stream"), fields.integer("sequence", 0, _LAST_SEQUENCE))


Record = Schema | Readings | Label | Event | LinkState
_KINDS: dict[str, Any] = {kind.kind: kind for kind in (Schema, Readings, Label, Event, LinkState, Listen)}


def to_bytes(record: Record | Listen) -> bytes:
    """Encode the record, its length before it; raises RecordError if it is too large or has no encoding."""
    try:
        data = dagcbor.encode({"kind": record.kind, **record.to_fields()})
    except EncodingError as error:
        raise RecordError(f"a {record.kind} that cannot be sent: {error}") from error
    if len(data) > MAX_BYTES:
        raise RecordError(f"a {record.kind} of {len(data)} bytes", f"at most {MAX_BYTES} are sent")
    return PREFIX.pack(len(data)) + data


def from_bytes(data: bytes) -> Record | Listen | None:
    """Read one record, without its length; None for a kind of a later version. Raises RecordError."""
    try:
        value = dagcbor.decode(data, MAX_BYTES)
    except EncodingError as error:
        raise RecordError(f"a record that cannot be read: {error}", "the socket's other end is no bridge") from error
    fields = Fields(value, "record", RecordError)
    kind = _KINDS.get(fields.text("kind"))
    return None if kind is None else kind.from_fields(fields)


class Splitter:
    """Cuts a byte stream into records; holds at most one record and a half."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Record | Listen]:
        """Return the records that ``data`` completes; raises RecordError, after which the stream is of no use."""
        self._buffer += data
        records, position = [], 0
        while len(self._buffer) - position >= PREFIX.size:
            (length,) = PREFIX.unpack_from(self._buffer, position)
            if length > MAX_BYTES:
                raise RecordError(f"a record of {length} bytes", "the socket's other end is no bridge")
            start = position + PREFIX.size
            if len(self._buffer) < start + length:
                break
            record = from_bytes(bytes(self._buffer[start : start + length]))
            position = start + length
            if record is not None:
                records.append(record)
        del self._buffer[:position]
        return records


def read_time(fields: Fields) -> float:
    """Read a time in Unix seconds."""
    return fields.number("time", 0, MAX_TIME)
