"""``firmware-bridge monitor``: a running bridge's records, live: a table on a terminal, else one line a record."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from firmware_bridge.records import DOWN, Event, Label, LinkState, Readings, Record, Schema
from firmware_bridge.senml import codec as senml
from firmware_bridge.socket_api.client import Client
from learnae.basics import strict_json
from learnae.cli.live_display import live_view
from learnae.system.signals import Pause, held_back
from learnae.text import counted

_log = logging.getLogger(__name__)

_BARS = "▁▂▃▄▅▆▇█"
_FIXED_WIDTH = 72  # columns of the screen that the table takes without its bars
_MIN_BARS, _MAX_BARS = 4, 60
_RECENT_SECONDS = 10.0  # that mean and extremes are of
_REFRESH_SECONDS = 0.2  # between two drawings: faster than people read

TABLE, JSON, SENML, SENML_CBOR = FORMATS = ("table", "json", "senml", "senml-cbor")


def monitor(path: Path, shape: str, count: int) -> None:
    """Show the records of the bridge at ``path`` until ``count`` records were shown (0: until Ctrl-C).

    Raises BridgeMissingError if there is no bridge; afterwards waits for it to come back.
    """
    client = Client(path)
    with suppress(KeyboardInterrupt), held_back() as pause:
        _show(_hear(client, count, pause), shape)


def _show(records: Iterator[Record | None], shape: str) -> None:
    if shape == TABLE:
        _draw(records)
        return
    write: Callable[[Record], bytes] = _json_line if shape == JSON else _SenmlWriter(shape)
    for record in records:
        if record is not None and (data := write(record)):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _hear(client: Client, count: int, pause: Pause) -> Iterator[Record | None]:
    """Yield records; None when there was nothing for a while."""
    shown, is_first = 0, True
    while count == 0 or shown < count:
        for record in client.read():
            shown += 1
            yield record
        if is_first and client.problem is not None:
            raise client.problem
        is_first = False
        pause(_REFRESH_SECONDS, *([client] if client.is_connected else []))
        yield None


# -- lines


def _json_line(record: Record) -> bytes:
    fields: dict[str, Any] = {"kind": record.kind, **record.to_fields()}
    if isinstance(record, Readings):
        fields["values"] = record.values.tolist()
    return strict_json.dumps(fields).encode() + b"\n"


class _SenmlWriter:
    """Readings as one SenML pack each: JSON lines, or a CBOR sequence (RFC 8742). Nothing else has a SenML form."""

    def __init__(self, shape: str) -> None:
        self._is_cbor = shape == SENML_CBOR
        self._schema: Schema | None = None
        self._is_dated = True

    def __call__(self, record: Record) -> bytes:
        if isinstance(record, Schema):
            self._schema = record
        if not isinstance(record, Readings) or self._schema is None:
            return b""
        is_dated = record.time >= senml.MIN_ABSOLUTE_TIME
        if self._is_dated and not is_dated:
            _log.warning(
                "this computer's clock is not set yet: readings are passed over until it is (SenML has no such dates)"
            )
        self._is_dated = is_dated
        measurements = senml.measurements_of(self._schema, record) if is_dated else []
        if not measurements:
            return b""
        return senml.to_cbor(measurements) if self._is_cbor else senml.to_json(measurements) + b"\n"


# -- a table


class Board:
    """What is known of the board now."""

    def __init__(self) -> None:
        self.schema: Schema | None = None
        self.state = "waiting"
        self.label = ""
        self.samples = self.missed = 0
        self._recent: deque[Readings] = deque()

    def take(self, record: Record) -> None:
        """Take in one record."""
        if isinstance(record, Schema):
            self.schema = record
            self._recent.clear()
        elif isinstance(record, Readings):
            self.state = "live"
            self.samples += record.rows
            self._recent.append(record)
            while abs(record.time - self._recent[0].time) > _RECENT_SECONDS:  # or the clock was set back
                self._recent.popleft()
        elif isinstance(record, Label):
            self.label = record.name
        elif isinstance(record, Event):
            self.state = f"event: {record.name}"
        elif isinstance(record, LinkState):
            self.missed += record.missed
            self.state = f"{record.state}: {record.reason}" if record.reason else record.state
            if record.state == DOWN:
                self._recent.clear()

    def table(self, width: int) -> Table:
        """Draw every channel with its value now and in the last seconds, on a screen of ``width`` columns."""
        schema = self.schema
        title = "no board yet" if schema is None else f"{schema.board} {schema.firmware}, {schema.rate:g} Hz"
        label = f", label {self.label!r}" if self.label else ""
        caption = f"{self.state}; {counted(self.samples, 'sample')}, {self.missed} missed{label}"
        result = Table(title=Text(title, "bold"), title_justify="left", caption=Text(caption))
        result.caption_justify = "left"
        for column in ("channel", "now", "unit", "mean", "min", "max"):
            result.add_column(column, justify="left" if column in ("channel", "unit") else "right", no_wrap=True)
        result.add_column(f"last {_RECENT_SECONDS:.0f} s", no_wrap=True)
        if schema is not None and self._recent:
            values = np.concatenate([readings.values for readings in self._recent])
            for channel, column in zip(schema.channels, values.T, strict=True):
                known = column[~np.isnan(column)]
                if not len(known):
                    result.add_row(*map(Text, [channel.name, "none", channel.unit]))
                    continue
                now = "none" if np.isnan(column[-1]) else f"{column[-1]:.6g}"
                numbers = [now, *(f"{value:.6g}" for value in (known.mean(), known.min(), known.max()))]
                shown = bars(known, min(max(width - _FIXED_WIDTH, _MIN_BARS), _MAX_BARS))
                row = [channel.name, numbers[0], channel.unit, *numbers[1:], shown]
                result.add_row(*map(Text, row))  # names come from outside and are no markup
        return result


def bars(values: NDArray[np.float64], limit: int) -> str:
    """Draw the values as a line of at most ``limit`` bars between their least and greatest."""
    groups = np.array_split(values, min(limit, len(values)))
    means = np.array([group.mean() for group in groups])
    span = means.max() - means.min()
    steps = np.zeros(len(means)) if span == 0 else (means - means.min()) / span * (len(_BARS) - 1)
    return "".join(_BARS[round(step)] for step in steps.tolist())


def _draw(records: Iterator[Record | None]) -> None:
    board, drawn = Board(), 0.0
    console = Console()
    with live_view(console) as show:
        for record in records:
            if record is not None:
                board.take(record)
            if time.monotonic() - drawn >= _REFRESH_SECONDS:
                drawn = time.monotonic()
                show(board.table(console.width))
        show(board.table(console.width))
