"""TensorBoard's event files, written by hand: three kinds of fields of one message, and a checksum. Pure.

A file is a TFRecord: of each record its length, a masked CRC32C of that, the bytes, and one of these
(tensorflow/core/lib/io/record_writer.h). A record is an ``Event`` (tensorflow/core/util/event.proto).
"""

import math
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

FILE_NAME = "events.out.tfevents.learnae"  # the same each time: a second file would be shown beside the first
_VERSION = b"brain.Event:2"
_MASK = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reversed (RFC 3720, B.4)
_MOST_STEP = (1 << 63) - 1


class Event(NamedTuple):
    """Scalars by their names, at ``time`` (Unix seconds) and ``step``, which is not negative."""

    time: float
    step: int
    scalars: Mapping[str, float]


def event_file(events: Iterable[Event]) -> bytes:
    """Return the bytes of a file of these events."""
    begin = _double(1, 0.0) + _bytes(3, _VERSION)
    return b"".join(map(_record, (begin, *map(_event, events))))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of ``data``.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as it is stored: those of data that holds checksums would be weak."""
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (_POLYNOMIAL if index & 1 else 0)
    return index


_TABLE = tuple(map(_entry, range(256)))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked(crc32c(part))) for part in (length, data)]
    return length + sums[0] + data + sums[1]


def _event(event: Event) -> bytes:
    values = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in sorted(event.scalars.items())
    )
    step = b"\x10" + _varint(min(max(event.step, 0), _MOST_STEP))
    return _double(1, event.time) + step + _bytes(5, values)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _bytes(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # beyond float32, which is all that a scalar is
        packed = struct.pack("<f", math.copysign(math.inf, value))
    return bytes([field << 3 | 5]) + packed
