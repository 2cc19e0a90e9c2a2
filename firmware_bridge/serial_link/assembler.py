"""The assembler: from what the link delivers to records, samples numbered and timed, losses reported."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.records import MAX_NAME, MAX_TIME, MISSED, RESET, Event, Label, LinkState, Readings, Record
from firmware_bridge.serial_link import frames
from firmware_bridge.serial_link.clock import BoardClock
from firmware_bridge.serial_link.description import Description
from firmware_bridge.serial_link.link import Delivery, Measured, Started, Ticked

_log = logging.getLogger(__name__)

_WRAP = 1 << 32
_ARRIVAL_SECONDS = 0.05  # how old samples are when they arrive, as long as no answer says it better
_MAX_AHEAD_SECONDS = 10.0  # nothing is measured in the future, and clocks are known better than that
_LEVELS = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR  # as frames.LEVELS names them


class Assembler:
    """Makes the records of one board. Times are Unix seconds; ``now`` is when deliveries arrived."""

    def __init__(self) -> None:
        self.samples = self.missed = self.refused = 0
        self.clock: BoardClock | None = None
        self._description: Description | None = None
        self._session: Started | None = None
        self._convert: Callable[[frames.Samples], NDArray[np.float64]]
        self._next: int | None = None  # sequence of the next sample; None if any will do
        self._end = float("-inf")  # time of the last sample

    def take(self, delivery: Delivery, now: float, offset: float) -> Iterator[Record]:
        """Yield the records that ``delivery`` makes; ``offset`` is Unix time minus the link's clock."""
        if isinstance(delivery, Started):
            yield from self._start(delivery, now)
        elif isinstance(delivery, Ticked):
            if self.clock is not None:
                self.clock.observe(delivery.ticks, delivery.sent + offset, delivery.received + offset)
        elif isinstance(delivery, Measured):
            yield from self._take_samples(delivery, now)
        elif isinstance(delivery, frames.Log):
            _log.log(_LEVELS[delivery.level], "the board says: %s", delivery.text)
        elif delivery.kind == frames.LABEL:
            yield Label(self._time(delivery.ticks, now), delivery.text[:MAX_NAME])
        else:
            yield Event(self._time(delivery.ticks, now), delivery.text[:MAX_NAME])

    def _start(self, started: Started, now: float) -> Iterator[Record]:
        if self._session is not None:
            yield LinkState(now, RESET, "the board has started anew" if started.is_fresh else "another board is here")
        self._session, self._description, self.clock = started, None, None
        self._next = None  # what arrived before this bridge is not known to be missed
        yield from self._announce(started.description)

    def _announce(self, description: Description) -> Iterator[Record]:
        """Yield the schema of what follows, unless it is the one before."""
        assert self._session is not None
        if description is not self._description and description != self._description:
            if self.clock is None or self._description is None or self._description.ticks != description.ticks:
                self.clock = BoardClock(description.ticks)
            self._description, self._convert = description, description.converter()
            yield description.schema(f"{description.board}-{self._session.session:08x}")

    def _take_samples(self, measured: Measured, now: float) -> Iterator[Record]:
        samples, description = measured.samples, measured.description
        ahead = 0 if self._next is None else (samples.index - self._next) % _WRAP
        if ahead >= _WRAP // 2:  # the board repeats what it has sent, under a new sequence number
            self.refused += 1
            return
        yield from self._announce(description)
        taken = self._moment(samples, description, now)
        if taken > now + _MAX_AHEAD_SECONDS:  # else all that follows would be dated after it
            self.refused += 1
            return
        if ahead:
            self.missed += ahead
            yield LinkState(now, MISSED, "the board had no room for them, or they were lost with its bridge", ahead)
        sequence = samples.index if self._next is None else self._next + ahead
        step = (1 + self.clock.drift if self.clock else 1) / description.rate
        begin = max(taken, self._end + step / 2)  # a better estimate must not turn time back
        self._next = sequence + samples.rows
        self._end = begin + (samples.rows - 1) * step
        self.samples += samples.rows
        yield Readings(sequence, begin, step, self._convert(samples))

    def _moment(self, samples: frames.Samples, description: Description, now: float) -> float:
        """Return when the first of the samples was taken."""
        assert self.clock is not None
        if self._end > now + _MAX_AHEAD_SECONDS:
            self._end = float("-inf")  # the system clock was set back: better to follow it
        if not self.clock.is_set:
            age = samples.rows / description.rate
            self.clock.observe(samples.ticks, now - age - 2 * _ARRIVAL_SECONDS, now - age)
        return self.clock.time(samples.ticks)

    def _time(self, ticks: int, now: float) -> float:
        known = self.clock.time(ticks) if self.clock is not None and self.clock.is_set else now
        return known if 0 <= known <= MAX_TIME else now
