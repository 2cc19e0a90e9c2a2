"""Sensors that are asked: every channel is a small file that the kernel fills when it is read (sysfs)."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.sources.live import LiveSource
from agent.sources.resampling import Resampler, nothing
from learnae.basics.overriding import override
from learnae.errors import TransportError
from learnae.ports import Samples
from learnae.text import counted

_MAX_BYTES = 64  # of a number in sysfs
BATCH_SECONDS = 0.1  # of readings that are put on the grid at once: five times less work at 50 Hz


@dataclass(frozen=True, slots=True)
class Probe:
    """One channel: (number in ``file`` + ``offset``) times ``scale``, each of which may be a file of its own.

    With a 1 in the file ``fault`` the kernel says that the number is not to be believed.
    """

    file: Path
    scale: float | Path = 1.0
    offset: float | Path = 0.0
    fault: Path | None = None

    def read(self) -> float:
        """Return the value now; raises OSError when the sensor has gone, TransportError when it gives no number."""
        if self.fault is not None and read_number(self.fault):
            raise TransportError(f"{self.fault} says that the sensor is at fault", "check its wires")
        scale = _now(self.scale)  # asked each time: a driver, or another program, may change its range
        if not scale:
            raise TransportError(f"{self.scale} is 0", "check the sensor's driver, and the supply that it refers to")
        return (read_number(self.file) + _now(self.offset)) * scale


def _now(number: float | Path) -> float:
    return read_number(number) if isinstance(number, Path) else number


def read_number(file: Path) -> float:
    """Return the finite number in a file of sysfs; raises OSError or TransportError."""
    # opened anew each time: an open file would go on giving the last value of some sensors that are gone
    descriptor = os.open(file, os.O_RDONLY)
    try:
        data = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    try:
        value = float(data) if len(data) < _MAX_BYTES and b"_" not in data else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):  # errors are shown to others: what was read is not in them
        raise TransportError(f"{file} does not say a number", "check the sensor and its driver")
    return value


class PolledSource(LiveSource):
    """Asks each of ``probes`` at every call, on the grid of ``rate`` Hz; ``position`` says which sensors they are.

    What was not read then is gone.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        rate: float,
        hold: float,
        clock: Callable[[], float] = time.time,
        position: str = "",
    ) -> None:
        self._position = position
        self._probes = probes
        self._resampler = Resampler(len(probes), rate, hold)
        self._clock = clock
        self._taken = float("-inf")

    @override
    def read(self) -> Samples:
        now = self._clock()
        for channel, probe in enumerate(self._probes):
            self._resampler.put(channel, now, probe.read())
        if 0 <= now - self._taken < BATCH_SECONDS:
            return nothing(len(self._probes))
        self._taken = now
        return self._resampler.take(now)

    @property
    @override
    def position(self) -> str:
        return self._position

    @override
    def state(self) -> str:
        return counted(len(self._probes), "file")

    @override
    def close(self) -> None:
        """Do nothing: no file is kept open."""


def first_line(path: Path) -> str:
    """Return the text of a small file, "" if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
