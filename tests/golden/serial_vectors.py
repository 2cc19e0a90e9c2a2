"""Makes the golden vectors of the serial protocol: a short conversation, frame by frame.

``PYTHONPATH=.:tests python -m golden.serial_vectors > tests/golden/serial-1.json`` writes them anew. The bytes of
version 1 never change: a difference means a new version, not a new file. Both sides are held to them: Python writes
and reads every frame, and the C library, given the bridge's bytes, must answer with the board's.
"""

import dataclasses
import json
import struct
from typing import Any

from firmware_bridge.serial_link import frames

TEXT = b"host-board/2.5 ramp:m/s2:0.001 noise:Cel:0.01 steps:count:1"  # of bench/rigs/host_board.c: two parts
SESSION = 0xC0FFEE00  # with a zero in it, as CRCs and numbers may have


def hello(session: int, part: int) -> frames.Hello:
    text = TEXT[32 * part : 32 * part + 32]
    return frames.Hello(0, session, 1, part, part == 1, 2, 2, 1000, 100_000, text)


def data(first: int) -> bytes:
    """Two samples of the three channels: host_value in bench/rigs/host_board.c."""
    columns = []
    for channel in range(3):
        for index in (first, first + 1):
            mixed = (index * 2654435761 % (1 << 32)) ^ (index >> 7)
            columns.append((index - 32768, (mixed >> 16) - 32768, index // 256)[channel])
    return struct.pack("<6h", *columns)


CONVERSATION: list[tuple[str, frames.Frame]] = [
    ("board", hello(0, 0)),
    ("board", hello(0, 1)),
    ("bridge", frames.Ask(0)),
    ("board", hello(0, 0)),
    ("board", hello(0, 1)),
    ("bridge", frames.Welcome(0, SESSION)),
    ("board", frames.Samples(0, 1, 2, 0, 10, data(0))),
    ("board", frames.Samples(1, 1, 2, 2, 30, data(2))),
    ("bridge", frames.Nak(0)),
    ("board", frames.Samples(0, 1, 2, 0, 10, data(0))),
    ("bridge", frames.Ack(2)),
    ("bridge", frames.Ping(200)),
    ("board", frames.Time(200, 258)),
    ("board", frames.Event(2, 258, 1, "walking")),
    ("board", frames.Event(3, 258, 0, "")),
    ("board", frames.Log(4, 258, 2, "low battery")),
    ("bridge", frames.SetRate(0, 12_500)),
    ("bridge", frames.Time(0, 1_700_000_000)),
]


def vectors() -> list[dict[str, Any]]:
    found = []
    for side, frame in CONVERSATION:
        fields = dataclasses.asdict(frame)
        shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
        found.append({"from": side, "frame": type(frame).__name__, **shown, "bytes": frames.encode(frame).hex()})
    return found


if __name__ == "__main__":
    print("[\n" + ",\n".join(json.dumps(vector) for vector in vectors()) + "\n]")
