"""Frames of the serial line: bytes in, frozen dataclasses out, and back. docs/bridge.md has every byte.

On the line a frame is COBS (Cheshire & Baker 1999) followed by a zero; inside, its first byte is version · 16 + type,
its second a sequence number or token, its last two a CRC-16/IBM-3740, big-endian. Other numbers are little-endian. A
frame has at most 252 bytes, so that no longer check is ever needed.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any, ClassVar, Self

from cobs import cobs

from firmware_bridge.errors import ProtocolVersionError, SerialFrameError
from learnae.basics.overriding import override

VERSION = 1
MAX_BYTES = 252  # with header and CRC: COBS then never needs a second code byte
MAX_ENCODED = MAX_BYTES + 1
LAST_PART = 0x80  # in the part number of a description's last hello
HAPPENED, LABEL = _KINDS = (0, 1)
LEVELS = ("debug", "info", "warning", "error")
_HEADER, _CRC = 2, 2
_CRC_START = 0xFFFF  # from 0, two frames whose zero between them was lost would pass as one
_HELLO, _SAMPLES, _EVENT, _LOG, _ACK, _NAK, _TIME, _SET_RATE, _PING = range(1, 10)
_HELLO_HEAD = struct.Struct("<IBBBBII")
_SAMPLES_HEAD = struct.Struct("<BBII")
_TEXT_HEAD = struct.Struct("<IB")
_NUMBER = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Frame:
    """What all frames have: ``type``, the lower half of their first byte, and ``sequence``, the second."""

    type: ClassVar[int]
    sequence: int

    def payload(self) -> bytes:
        """Return what stands between the second byte and the CRC: nothing, unless a frame has its own."""
        return b""


@dataclass(frozen=True, slots=True)
class Hello(Frame):
    """A board says what it measures; ``text`` is ``part`` of its description.

    ``sequence`` is that of its oldest unconfirmed frame, ``session`` the name that a bridge gave to this run of the
    board, 0 for none yet. ``width`` bytes a value, ``rows`` in a samples frame, ``ticks`` a second, ``rate`` in mHz.
    """

    type: ClassVar[int] = _HELLO
    session: int
    generation: int
    part: int
    is_last: bool
    width: int
    rows: int
    ticks: int
    rate: int
    text: bytes

    @override
    def payload(self) -> bytes:
        part = self.part | (LAST_PART if self.is_last else 0)
        head = (self.session, self.generation, part, self.width, self.rows, self.ticks, self.rate)
        return _HELLO_HEAD.pack(*head) + self.text

    @classmethod
    def from_payload(cls, sequence: int, payload: bytes) -> Hello | Ask | Welcome:
        """Read, also the bridge's two: nothing is ``Ask``, a number is ``Welcome``. Raises SerialFrameError."""
        if not payload:
            return Ask(sequence)
        if len(payload) == _NUMBER.size:
            return Welcome(sequence, *_NUMBER.unpack(payload))
        _check(len(payload) > _HELLO_HEAD.size, "a hello", payload)
        session, generation, part, width, rows, ticks, rate = _HELLO_HEAD.unpack_from(payload)
        last, text = bool(part & LAST_PART), payload[_HELLO_HEAD.size :]
        return cls(sequence, session, generation, part & ~LAST_PART, last, width, rows, ticks, rate, text)


@dataclass(frozen=True, slots=True)
class Ask(Frame):
    """The bridge wants a hello."""

    type: ClassVar[int] = _HELLO
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Welcome(Frame):
    """The bridge names this run of the board, which from now on sends; ``sequence`` is what it expects first."""

    type: ClassVar[int] = _HELLO
    session: int

    @override
    def payload(self) -> bytes:
        return _NUMBER.pack(self.session)


@dataclass(frozen=True, slots=True)
class Samples(Frame):
    """``rows`` samples, the first with number ``index``, taken at ``ticks``; ``data`` has room for a full frame.

    Column after column, as the description of this ``generation`` says.
    """

    type: ClassVar[int] = _SAMPLES
    generation: int
    rows: int
    index: int
    ticks: int
    data: bytes

    @override
    def payload(self) -> bytes:
        return _SAMPLES_HEAD.pack(self.generation, self.rows, self.index, self.ticks) + self.data

    @classmethod
    def from_payload(cls, sequence: int, payload: bytes) -> Samples:
        """Read; raises SerialFrameError."""
        if len(payload) <= _SAMPLES_HEAD.size:
            _check(False, "samples", payload)
        generation, rows, index, ticks = _SAMPLES_HEAD.unpack_from(payload)
        return cls(sequence, generation, rows, index, ticks, payload[_SAMPLES_HEAD.size :])


@dataclass(frozen=True, slots=True)
class _Text(Frame):
    thing: ClassVar[str]
    kinds: ClassVar[int]  # how many there are

    @override
    def payload(self) -> bytes:
        _, ticks, kind, text = astuple(self)
        return _TEXT_HEAD.pack(ticks, kind) + bytes(text, "utf-8")

    @classmethod
    def from_payload(cls, sequence: int, payload: bytes) -> Self:
        _check(len(payload) >= _TEXT_HEAD.size, cls.thing, payload)
        ticks, kind = _TEXT_HEAD.unpack_from(payload)
        _check(kind < cls.kinds, cls.thing, payload)
        text = payload[_TEXT_HEAD.size :].decode("utf-8", "replace")
        fields: list[Any] = [ticks, kind, "".join(char if char.isprintable() else "�" for char in text)]
        return cls(sequence, *fields)


@dataclass(frozen=True, slots=True)
class Event(_Text):
    """Something happened at ``ticks``; of kind ``LABEL`` it begins a class of samples, "" ends it."""

    type, thing, kinds = _EVENT, "an event", len(_KINDS)
    ticks: int
    kind: int
    text: str


@dataclass(frozen=True, slots=True)
class Log(_Text):
    """A line of the board's log; ``level`` counts ``LEVELS``."""

    type, thing, kinds = _LOG, "a log line", len(LEVELS)
    ticks: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class _Numbers(Frame):
    """Nothing but what ``layout`` says."""

    thing: ClassVar[str]
    layout: ClassVar[struct.Struct] = struct.Struct("")

    @override
    def payload(self) -> bytes:
        return self.layout.pack(*astuple(self)[1:])

    @classmethod
    def from_payload(cls, sequence: int, payload: bytes) -> Self:
        _check(len(payload) == cls.layout.size, cls.thing, payload)
        return cls(sequence, *cls.layout.unpack(payload))


@dataclass(frozen=True, slots=True)
class Ack(_Numbers):
    """All before ``sequence`` has arrived."""

    type, thing = _ACK, "an ack"


@dataclass(frozen=True, slots=True)
class Nak(_Numbers):
    """The frame ``sequence`` is missing, later ones have arrived."""

    type, thing = _NAK, "a nak"


@dataclass(frozen=True, slots=True)
class Ping(_Numbers):
    """The bridge asks for the board's ticks; ``sequence`` returns with them."""

    type, thing = _PING, "a ping"


@dataclass(frozen=True, slots=True)
class Time(_Numbers):
    """From the board: its ticks when it answered the ping ``sequence``. From the bridge: Unix seconds."""

    type, thing, layout = _TIME, "a time", _NUMBER
    value: int


@dataclass(frozen=True, slots=True)
class SetRate(_Numbers):
    """The bridge asks for this ``rate``, in mHz; a board that can follows, and says hello again."""

    type, thing, layout = _SET_RATE, "a rate", _NUMBER
    rate: int


_TYPES: dict[int, Callable[[int, bytes], Frame]] = {
    kind.type: kind.from_payload for kind in (Hello, Samples, Event, Log, Ack, Nak, Time, SetRate, Ping)
}


def encode(frame: Frame) -> bytes:
    """Encode the frame as it goes over the line, with the zero that ends it."""
    data = bytes((VERSION << 4 | frame.type, frame.sequence)) + frame.payload()
    if len(data) + _CRC > MAX_BYTES:
        raise SerialFrameError(f"a frame of {len(data) + _CRC} bytes", f"at most {MAX_BYTES} are sent")
    return cobs.encode(data + binascii.crc_hqx(data, _CRC_START).to_bytes(2, "big")) + b"\0"


def decode(encoded: bytes) -> Frame | None:
    """Decode what stood between two zeros; None for a type of a later version.

    Raises SerialFrameError, or ProtocolVersionError if all is well but for the version.
    """
    try:
        data = cobs.decode(encoded)
    except cobs.DecodeError as error:
        raise SerialFrameError(f"{len(encoded)} bytes that are not COBS") from error
    if not _HEADER + _CRC <= len(data) <= MAX_BYTES:
        raise SerialFrameError(f"{len(data)} bytes between two zeros")
    if binascii.crc_hqx(data, _CRC_START) != 0:  # over a frame with its CRC it is 0
        raise SerialFrameError("a frame with a wrong CRC")
    first = data[0]
    if first >> 4 != VERSION:
        raise ProtocolVersionError(
            f"the board speaks version {first >> 4} of the serial protocol, this bridge {VERSION}",
            "build its firmware with the library of this release, or install the bridge that fits it",
        )
    read = _TYPES.get(first & 15)
    return None if read is None else read(data[1], data[_HEADER:-_CRC])


class FrameSplitter:
    """Cuts what the line brings at its zeros; remembers at most one frame, whatever arrives."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_skipping = False  # what has arrived since the last zero is too long for a frame
        self.skipped = 0  # pieces that were too long

    def feed(self, data: bytes) -> list[bytes]:
        """Return the encoded frames that ``data`` completes, none empty."""
        *pieces, rest = (self._rest + data).split(b"\0")
        if self._is_skipping and pieces:
            self._is_skipping = False
            del pieces[0]
        if self._is_skipping or len(rest) > MAX_ENCODED:
            self.skipped += not self._is_skipping
            self._is_skipping, rest = True, b""
        self._rest = rest
        return [piece for piece in pieces if piece]


def _check(holds: bool, thing: str, payload: bytes) -> None:
    if not holds:
        raise SerialFrameError(f"{thing} with a payload of {len(payload)} bytes: {payload[:16].hex()}")
