"""What a small board sends, as frames and as records, for tests of the bridge's side."""

import numpy as np

from firmware_bridge.records import Channel, Readings, Schema
from firmware_bridge.serial_link.frames import Event, Hello, Samples, encode

SCHEMA = Schema("pump-1", "pump", "1.0", (Channel("ax", "m/s2"), Channel("temp", "Cel")), 50.0)
TEXT = b"pump/1.0 a:m/s2:0.001 b:Cel:0.5"


def hello(text: bytes = TEXT, session: int = 0, generation: int = 1, sequence: int = 0, rate: int = 50_000) -> bytes:
    """Return all parts: two channels, two rows, milliseconds."""
    parts = [text[start : start + 32] for start in range(0, len(text), 32)]
    return b"".join(
        encode(Hello(sequence, session, generation, number, number == len(parts) - 1, 2, 2, 1000, rate, part))
        for number, part in enumerate(parts)
    )


def samples(sequence: int, index: int, generation: int = 1, rows: int = 2, size: int = 8) -> bytes:
    """Return a frame of zeros."""
    return encode(Samples(sequence & 0xFF, generation, rows, index, index * 20, bytes(size)))


def event(sequence: int, text: str) -> bytes:
    """Something happened."""
    return encode(Event(sequence, 5, 0, text))


def readings(sequence: int, rows: int = 5) -> Readings:
    """Numbered samples of ``SCHEMA``."""
    values = np.arange(sequence, sequence + rows)[:, None] + np.array([0.25, -1000.5])
    return Readings(sequence, 1e9 + sequence / 50, 1 / 50, values)
