"""Boards that print SenML (RFC 8428): a pack of JSON a line, no acknowledgement, no checksum but JSON's own form.

Each line holds one or more whole samples: all its times have the same names. Other names or units are another schema.
Text named ``label`` is a label, any other text an event. A value that is no number costs that value alone.

Lines without times are dated by their arrival. One read of the port may bring several: they are spread over the time
since the read before, at most a period apart.
"""

import logging
import math
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from firmware_bridge import records
from firmware_bridge.errors import BaudRateError, LinkError, NoHelloError, SenmlError, SilentBoardError
from firmware_bridge.records import Channel, Event, Label, Readings, Record, Schema
from firmware_bridge.senml.codec import Measurement, from_json
from learnae.errors import LearnaeError
from learnae.text import Sayings, counted

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 1 << 14  # a second of six channels at 50 Hz
_MAX_LINES = 4096  # that wait until their rate is known
_MAX_SAID = 64  # different faults of one board that are logged
_SILENCE_SECONDS = 10.0  # or three periods
_RATE_SECONDS = 1.0  # of lines without times that tell a rate: reads come 30 ms late
_STEP_BACK_SECONDS = 10.0  # a clock that goes back so far was set; less is a line that comes again
_LINE_ENDS = rb"[\r\n\0]"
_LABEL = "label"
_DEFAULT_BOARD = "senml"  # where names have no prefix

Row = list[Measurement]
Table = tuple[str, tuple[Channel, ...]]


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: whole samples by their times, all of one ``table``; what arrived with it in one read."""

    rows: list[Row]
    table: Table
    texts: list[Measurement]
    parsed: float  # Unix time that its relative times were counted from
    arrived: float  # seconds of the link's clock
    place: int  # among the lines of its read, the last is 0
    spread: float  # seconds since the read before, for each line of this one

    @property
    def is_dated(self) -> bool:
        """Return True if the board says when its samples were taken."""
        return any(each.is_dated for row in self.rows for each in row)


class SenmlLines:
    """A dialects.Dialect; ``rate`` in Hz, or 0: the first samples tell it."""

    def __init__(self, rate: float = 0.0) -> None:
        self.samples = self.refused = 0
        self._rate = rate
        self._bytes = 0
        self._rest = b""
        self._is_skipping = False
        self._heard = float("-inf")
        self._read = float("-inf")  # when lines last came
        self._waiting: list[_Line] = []  # whose rate is not known yet
        self._schema: Schema | None = None
        self._last = float("-inf")  # time of the newest sample
        self._problem: LearnaeError | None = None  # the newest reason why something was refused
        self._said = Sayings(_MAX_SAID)

    def hear(self, data: bytes, now: float, offset: float) -> Iterator[Record]:
        """Yield the records that bytes from the port make; lines that are no SenML are counted."""
        self._bytes += len(data)
        lines = list(self._lines(data))
        spread = (now - self._read) / len(lines) if lines else 0.0
        for number, line in enumerate(lines, 1):
            faults: list[LearnaeError] = []
            try:
                pack = from_json(line, now + offset, faults)
                self._heard = now
                found = _line(pack, now + offset, now, len(lines) - number, spread)
            except SenmlError as error:
                if line.lstrip()[:1] in (b"[", b"{") and not isinstance(error.__cause__, ValueError):
                    self._heard = now  # JSON: neither another speed nor another protocol
                self._refuse(error)
                continue
            if faults and not pack:
                self._refuse(faults[0])
            for fault in faults if pack else ():
                self._say(str(fault), "a value or record is passed over: %s (said once)", fault)
            yield from self._take(found, offset)
        if lines:
            self._read = now
        yield from self._release(offset)

    def answer(self, now: float) -> bytes:  # noqa: ARG002 - the dialect's
        """Return nothing: such a board does not listen."""
        return b""

    def reconnect(self) -> None:
        """Forget what is half received, as the port was opened anew."""
        self._rest, self._is_skipping = b"", True  # the first line may be the end of one: then it has no [
        self._heard = self._read = float("-inf")
        self.refused += len(self._waiting)
        self._waiting = []

    def is_alive(self, now: float) -> bool:
        """Return True if a line of SenML came within ten seconds or three periods."""
        period = 1 / self._schema.rate if self._schema else 0
        return now - self._heard < max(_SILENCE_SECONDS, 3 * period)

    def is_waiting(self) -> bool:
        """Return False: no time of arrival is used."""
        return False

    def wish_for(self, rate: float) -> None:
        """Take samples to be of this ``rate`` in Hz; 0: the first of them tell it."""
        self._rate = rate

    def diagnose(self, name: str, baud: int) -> LinkError | None:
        """Return why the board at the port ``name`` makes no readings; None if it has made some."""
        if self._heard > float("-inf"):
            if self._schema is not None or self._problem is None:
                return None
            return NoHelloError(
                f"{name} prints SenML and no whole sample: {self._problem.problem}", self._problem.remedy
            )
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
        return f"{board}: {counted(self.samples, 'sample')}, {self.refused} refused"

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = re.split(_LINE_ENDS, self._rest + data)
        for line in lines:
            is_rest, self._is_skipping = self._is_skipping and not line.startswith(b"["), False
            if line.strip() and not is_rest:
                yield line
        if len(self._rest) > _MAX_LINE_BYTES:
            self.refused += not self._is_skipping
            self._rest, self._is_skipping = b"", True

    def _take(self, line: _Line, offset: float) -> Iterator[Record]:
        """Note a line; release those before it if they are of another table."""
        if line.rows and self._table() not in (None, line.table):
            yield from self._release(offset)
            lost, self._waiting = self._waiting, []
            for each in lost:
                yield from _texts(each, each.arrived + offset - each.parsed)
            if lost:
                error = SenmlError("samples of other names than the next", "print all values of a sample in one line")
                self._refuse(error, sum(len(each.rows) for each in lost))
            self._schema = None
        if line.rows or self._waiting:
            self._waiting.append(line)
        else:
            yield from _texts(line, line.arrived + offset - line.parsed)

    def _table(self) -> Table | None:
        """Return the table of the lines before, if there were any."""
        if self._schema is not None:
            return self._schema.board, self._schema.channels
        return next((each.table for each in self._waiting if each.rows), None)

    def _release(self, offset: float) -> Iterator[Record]:
        """Yield what waits, if its rate is known."""
        if not self._waiting:
            return
        if self._schema is None:
            rate = self._rate or _measured_rate(self._waiting)
            if not rate:
                if len(self._waiting) > _MAX_LINES:
                    error = SenmlError("samples whose rate cannot be told", "set board.rate")
                    self._refuse(error, len(self._waiting) - _MAX_LINES)
                    del self._waiting[:-_MAX_LINES]
                return
            table = self._table()
            assert table is not None
            yield self._begin(*table, rate)
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            yield from self._date(line, offset)

    def _begin(self, board: str, channels: tuple[Channel, ...], rate: float) -> Schema:
        """Begin another stream."""
        self.samples = 0
        self._schema = Schema(f"{board[:40]}-{secrets.token_hex(4)}", board, "", channels, rate)
        return self._schema

    def _date(self, line: _Line, offset: float) -> Iterator[Record]:
        """Yield the records of a line."""
        assert self._schema is not None
        period = 1 / self._schema.rate
        arrived = line.arrived - line.place * min(line.spread, period * max(1, len(line.rows))) + offset
        times = [row[0].time for row in line.rows]
        shift = 0.0
        if not line.is_dated:  # nothing is measured in the future: later times are of a clock of the board's own
            shift = arrived - max([line.parsed, *times])
        yield from _texts(line, arrived - line.parsed)
        for row, taken in zip(line.rows, times, strict=True):
            time = taken + shift
            if time <= self._last - _STEP_BACK_SECONDS:  # the clock was set: better to follow it
                self._last = float("-inf")
                yield self._begin(self._schema.board, self._schema.channels, self._schema.rate)
            if time <= self._last and not line.is_dated:
                time = self._last + min(period, _STEP_BACK_SECONDS) / 2
            if time <= self._last:
                self._refuse(SenmlError("a sample that is not later than the one before", "print times, or no times"))
                continue
            self._last = time
            yield self._readings(row, time, period)

    def _readings(self, row: Row, time: float, period: float) -> Readings:
        numbers = [each.number for each in row]
        values = np.array([[math.nan if number is None else number for number in numbers]], np.float64)
        for each in row:
            if each.number is None or math.isnan(each.number):
                self._say(each.name, "%s has no number: it has no reading until it has one (said once)", each.name)
        self.samples += 1
        return Readings(self.samples - 1, time, period, values)

    def _refuse(self, error: LearnaeError, count: int = 1) -> None:
        self.refused += count
        if self._heard > float("-inf"):
            self._problem = error
        self._say(error.problem, "refused: %s (counted from now on)", error)

    def _say(self, key: str, text: str, *values: object) -> None:
        """Log a warning, once a key."""
        if self._said.is_new(key):
            _log.warning(text, *values)


def _line(pack: Sequence[Measurement], parsed: float, arrived: float, place: int, spread: float) -> _Line:
    """Sort the measurements of one line. Raises SenmlError."""
    rows: dict[float, Row] = {}
    texts = []
    for each in pack:
        if each.number is not None:
            rows.setdefault(each.time, []).append(each)
        elif isinstance(each.value, str):
            texts.append(each)
    ordered = [rows[moment] for moment in sorted(rows)]
    tables = [_table(row) for row in ordered]
    if any(table != tables[0] for table in tables):
        raise SenmlError("a line whose times have different names", "print whole samples")
    return _Line(ordered, tables[0] if tables else ("", ()), texts, parsed, arrived, place, spread)


def _texts(line: _Line, shift: float) -> Iterator[Record]:
    for each in line.texts:
        assert isinstance(each.value, str)
        kind = Label if each.name.rpartition(":")[2] == _LABEL else Event
        time = each.time if each.is_dated else each.time + shift
        yield kind(time, each.value[: records.MAX_NAME])


def _measured_rate(lines: Sequence[_Line]) -> float:
    """Return the rate that these lines tell, by their times or by when they came; 0 if they do not yet."""
    whole = [line for line in lines if line.rows]
    if not whole:
        return 0.0
    times = [row[0].time for line in whole for row in line.rows]
    step = 0.0
    if len(whole[0].rows) > 1 or whole[0].is_dated:
        step = next((later - earlier for earlier, later in pairwise(times) if later > earlier), 0.0)
    elif (elapsed := whole[-1].arrived - whole[0].arrived) >= _RATE_SECONDS:
        step = elapsed / sum(line.arrived > whole[0].arrived for line in whole)
    return min(max(1 / step, 1 / records.MAX_STEP), records.MAX_RATE) if step > 0 else 0.0


def _table(row: Row) -> Table:
    """Return board and channels: names up to their last common colon, and the rest. Raises SenmlError."""
    names = [each.name for each in row]
    prefixes = {name.rpartition(":")[0] for name in names}
    board = prefixes.pop() if len(prefixes) == 1 else ""
    short = [name.removeprefix(f"{board}:") if board else name for name in names]
    longest, most = max(map(len, [board, *short])), records.MAX_CHANNELS
    if len(set(names)) != len(names) or len(names) > most or longest > records.MAX_NAME:
        raise SenmlError(f"a sample of {len(names)} values", f"at most {most}, each name once and short")
    return board or _DEFAULT_BOARD, tuple(
        Channel(name, each.number_unit) for name, each in zip(short, row, strict=True)
    )
