"""Boards that print SenML (RFC 8428): a pack of JSON a line, no acknowledgement, no checksum but JSON's own form.

Each line holds one or more whole samples: all its times have the same names. Other names or units are another schema.
Text named ``label`` is a label, any other text an event.
"""

import secrets
from collections.abc import Iterator, Sequence

import numpy as np

from firmware_bridge import records
from firmware_bridge.errors import BaudRateError, LinkError, NoHelloError, SenmlError, SilentBoardError
from firmware_bridge.records import Channel, Event, Label, Readings, Record, Schema
from firmware_bridge.senml.codec import Measurement, from_json
from learnae.text import counted

_MAX_LINE_BYTES = 1 << 14  # a second of six channels at 50 Hz
_SILENCE_SECONDS = 10.0  # or three periods
_LABEL = "label"
_DEFAULT_BOARD = "senml"  # where names have no prefix
_MIN_TIMES = 2  # that a rate needs

Row = list[Measurement]


class SenmlLines:
    """A dialects.Dialect; ``rate`` in Hz, or 0: the distance of the first two samples tells it."""

    def __init__(self, rate: float = 0.0) -> None:
        self.samples = self.refused = 0
        self._rate = rate
        self._bytes = 0
        self._rest = b""
        self._is_skipping = False
        self._heard = float("-inf")
        self._waiting: list[Row] = []  # samples whose rate is not known yet
        self._schema: Schema | None = None
        self._run = secrets.token_hex(4)
        self._last = float("-inf")

    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        """Yield the records that bytes from the port make; lines that are no SenML are counted."""
        self._bytes += len(data)
        for line in self._lines(data):
            try:
                found = list(self._take(from_json(line, now + offset)))
            except SenmlError:
                self.refused += 1
                continue
            self._heard = now
            yield from found

    def answer(self, now: float) -> bytes:  # noqa: ARG002 - the dialect's
        """Return nothing: such a board does not listen."""
        return b""

    def reconnect(self) -> None:
        """Forget what is half received, as the port was opened anew."""
        self._rest, self._is_skipping = b"", True  # the first line may be the end of one
        self._heard = float("-inf")

    def is_alive(self, now: float) -> bool:
        """Return True if a line of SenML came within ten seconds or three periods."""
        period = 1 / self._schema.rate if self._schema else 0
        return now - self._heard < max(_SILENCE_SECONDS, 3 * period)

    def is_waiting(self) -> bool:
        """Return False: no time of arrival is used."""
        return False

    def wish_for(self, rate: float) -> None:
        """Take samples to be of this ``rate`` in Hz; 0: the first two tell it."""
        self._rate = rate

    def diagnose(self, name: str, baud: int) -> LinkError | None:
        """Return why the board at the port ``name`` makes no readings; None if it has made some."""
        if self._heard > float("-inf"):
            return None
        if not self._bytes:
            return SilentBoardError(f"nothing comes from {name}", "check power and cable, and that its firmware runs")
        if not self.refused:
            return BaudRateError(f"no line ends in what {name} sends at {baud} baud", "set port.baud to the firmware's")
        return NoHelloError(
            f"{counted(self.refused, 'line')} of {name}: no SenML", "check port.baud, or set port.protocol to learnae"
        )

    def summary(self) -> str:
        """Return one line for people."""
        board = self._schema.board if self._schema else "board"
        return f"{board}: {counted(self.samples, 'sample')}, {counted(self.refused, 'line')} refused"

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._is_skipping:
                self._is_skipping = False
            elif line.strip():
                yield line
        if len(self._rest) > _MAX_LINE_BYTES:
            self.refused += not self._is_skipping
            self._rest, self._is_skipping = b"", True

    def _take(self, pack: Sequence[Measurement]) -> Iterator[Record]:
        rows: dict[float, Row] = {}
        for each in pack:
            if isinstance(each.value, float):
                rows.setdefault(each.time, []).append(each)
            elif isinstance(each.value, str):
                kind = Label if each.name.rpartition(":")[2] == _LABEL else Event
                yield kind(each.time, each.value[: records.MAX_NAME])
        ordered = [rows[moment] for moment in sorted(rows)]
        if any(_table(row) != _table(ordered[0]) for row in ordered):
            raise SenmlError("a line whose times have different names", "print whole samples")
        for row in ordered:
            yield from self._take_row(row)

    def _take_row(self, row: Row) -> Iterator[Record]:
        board, channels = _table(row)
        if self._schema is not None and (self._schema.board, self._schema.channels) != (board, channels):
            self._schema, self._waiting = None, []
        elif self._waiting and _table(self._waiting[0]) != (board, channels):
            self._waiting = []
        if row[0].time <= self._last:
            raise SenmlError("a sample that is not later than the one before", "print times, or samples at once")
        self._last = row[0].time
        self._waiting.append(row)
        if self._schema is None:
            rate = self._rate or self._measured_rate()
            if not rate:
                return
            self.samples, self._run = 0, secrets.token_hex(4)
            self._schema = Schema(f"{board[:40]}-{self._run}", board, "", channels, rate)
            yield self._schema
        for each in self._waiting:
            values = np.array([[measurement.value for measurement in each]], np.float64)
            yield Readings(self.samples, each[0].time, 1 / self._schema.rate, values)
            self.samples += 1
        self._waiting = []

    def _measured_rate(self) -> float:
        if len(self._waiting) < _MIN_TIMES:
            return 0.0
        first, second = self._waiting[0][0].time, self._waiting[1][0].time
        return min(max(1 / (second - first), 1 / records.MAX_STEP), records.MAX_RATE)


def _table(row: Row) -> tuple[str, tuple[Channel, ...]]:
    """Return board and channels: names up to their last common colon, and the rest. Raises SenmlError."""
    names = [each.name for each in row]
    prefixes = {name.rpartition(":")[0] for name in names}
    board = prefixes.pop() if len(prefixes) == 1 else ""
    short = [name.removeprefix(f"{board}:") if board else name for name in names]
    longest, most = max(map(len, [board, *short])), records.MAX_CHANNELS
    if len(set(names)) != len(names) or len(names) > most or longest > records.MAX_NAME:
        raise SenmlError(f"a sample of {len(names)} values", f"at most {most}, each name once and short")
    return board or _DEFAULT_BOARD, tuple(Channel(name, each.unit) for name, each in zip(short, row, strict=True))
