"""Codecs: a vector of float32 values as bytes. One file each, found by name here."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.errors import FrameError
from learnae.weights.codecs import f16, f32, q4, q8, sign, ternary, top10

Vector = NDArray[np.float32]
Data = bytes | memoryview


class Codec(Protocol):
    """A codec module. ``size`` is exact, so that a length is checked before anything is decoded."""

    def size(self, count: int) -> int:
        """Return how many bytes ``count`` values take."""

    def encode(self, values: Vector) -> bytes:
        """Encode ``values`` (n,) float32, finite."""

    def decode(self, data: Data, count: int) -> Vector:
        """Decode ``size(count)`` bytes into (count,) float32, perhaps not finite.

        Raises BrokenFrameError for bytes that no encoder writes.
        """


_CODECS: dict[str, Codec] = {
    "f32": f32, "f16": f16, "q8": q8, "q4": q4, "ternary": ternary, "sign": sign, "top10": top10
}  # fmt: skip
NAMES = tuple(_CODECS)
EXACT = ("f32", "f16")  # all others leave out what tells single rows
WHOLE = (*EXACT, "q8")  # exact enough for a keyframe, which no later frame makes up for before a newcomer has it
LADDER = ("q8", "q4", "ternary", "sign")  # the finest first: what an owner's limit of bytes steps down


def codec_named(name: str) -> Codec:
    """Return the codec of that name; raises FrameError."""
    try:
        return _CODECS[name]
    except KeyError:
        raise FrameError(f"codec {name!r} is unknown", f"this peer reads {', '.join(NAMES)}: upgrade it") from None
