"""A board's description of its samples: names, units, scales, rate; and what makes readings of integers by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SerialFrameError
from firmware_bridge.records import MAX_CHANNELS, MAX_RATE, Channel, Schema
from firmware_bridge.serial_link.frames import Hello, Samples

MAX_PARTS = 64  # of 32 bytes: room for 32 channels with long names
_MAX_TICKS = 100_000_000  # a second: above any counter that a board would send
_MAX_DIGITS = 9  # of a scale: times a 16-bit value still exact in a float64
_EXPONENTS = range(-18, 10)
_NAME = re.compile(r"[!-.0-9;-~]{1,32}")  # printable ASCII but space, slash and colon
_UNIT = re.compile(r"[!-9;-~]{0,16}")  # a slash may be in it
_SCALE = re.compile(r"-?\d{1,12}(\.\d{1,20})?([eE][+-]?\d{1,2})?")


@dataclass(frozen=True, slots=True)
class Scale:
    """value = integer · ``mantissa`` · 10^``exponent``: decimal, as data sheets and people write it."""

    mantissa: int
    exponent: int

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``0.01`` or ``5.9855e-4``; raises SerialFrameError."""
        number = Decimal(text).normalize() if _SCALE.fullmatch(text) else Decimal(0)
        sign, digits, exponent = number.as_tuple()
        if not number or len(digits) > _MAX_DIGITS or exponent not in _EXPONENTS or not isinstance(exponent, int):
            raise SerialFrameError(
                f"a scale {text[:40]!r} in a board's description",
                f"use a decimal of at most {_MAX_DIGITS} digits, not 0",
            )
        magnitude = int("".join(map(str, digits)))
        return cls(-magnitude if sign else magnitude, exponent)


@dataclass(frozen=True, slots=True)
class Description:
    """One generation of a board's description. ``width`` bytes a value, ``rows`` a frame, ``ticks`` a second, Hz."""

    board: str
    firmware: str
    channels: tuple[Channel, ...]
    scales: tuple[Scale, ...]
    width: int
    rows: int
    ticks: int
    rate: float

    @classmethod
    def from_hello(cls, hello: Hello, text: bytes) -> Description:
        """Read ``text``, all parts together: ``board/version name:unit:scale ...``. Raises SerialFrameError."""
        try:
            title, *words = text.decode("ascii").split(" ")
        except UnicodeDecodeError as error:
            raise SerialFrameError("a board's description that is not ASCII", "mend its text") from error
        board, _, firmware = title.partition("/")
        channels, scales = zip(*map(_read_channel, words), strict=True) if words else ((), ())
        names = {channel.name for channel in channels}
        is_valid = (
            _NAME.fullmatch(board)
            and _NAME.fullmatch(firmware)
            and 0 < len(channels) <= MAX_CHANNELS
            and len(names) == len(channels)
            and hello.width in (2, 4)
            and hello.rows > 0
            and 0 < hello.ticks <= _MAX_TICKS
            and 0 < hello.rate <= MAX_RATE * 1000
        )
        if not is_valid:
            raise SerialFrameError(
                f"a board's description {text[:80]!r}", 'write "board/version name:unit:scale ...", each name once'
            )
        rate = hello.rate / 1000
        return cls(board, firmware, channels, scales, hello.width, hello.rows, hello.ticks, rate)

    def schema(self, stream: str) -> Schema:
        """Return the schema that listeners get, for samples of ``stream``."""
        return Schema(stream, self.board, self.firmware, self.channels, self.rate)

    def fits(self, frame: Samples) -> bool:
        """Return True if a samples frame has exactly the size that was announced."""
        return 0 < frame.rows <= self.rows and len(frame.data) == self.width * self.rows * len(self.channels)

    def converter(self) -> Callable[[Samples], NDArray[np.float64]]:
        """Return a function that makes readings (rows, channels), in the channels' units, of a frame that fits."""
        shape, kind = (len(self.channels), self.rows), np.dtype(f"<i{self.width}")
        factors = np.array([scale.mantissa * 10.0 ** max(scale.exponent, 0) for scale in self.scales])
        divisors = np.array([10.0 ** max(-scale.exponent, 0) for scale in self.scales])

        def convert(frame: Samples) -> NDArray[np.float64]:
            whole = np.frombuffer(frame.data, kind).reshape(shape)
            values: NDArray[np.float64] = whole[:, : frame.rows].T * factors
            values /= divisors  # exact where multiplying by 0.01 is not
            return values

        return convert


def _read_channel(word: str) -> tuple[Channel, Scale]:
    name, _, rest = word.partition(":")
    unit, _, scale = rest.partition(":")
    if not _NAME.fullmatch(name) or not _UNIT.fullmatch(unit):
        raise SerialFrameError(f"a channel {word[:60]!r} in a board's description", "write name:unit:scale")
    return Channel(name, unit), Scale.parse(scale or "1")
