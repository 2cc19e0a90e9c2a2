"""Codecs: a vector of float32 values as bytes. One file each, found by name here."""

from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from learnae.errors import FrameError

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


NAMES = ("f32", "f16", "q8", "q4", "ternary", "sign", "top10")
EXACT = ("f32", "f16")  # all others leave out what tells single rows
WHOLE = (*EXACT, "q8")  # exact enough for statistics, and for a keyframe, which no later frame makes up for at once
KEYFRAMES = (*WHOLE, "q4")  # the last of them where each byte counts: a newcomer starts up to a fourteenth off
LADDER = ("q8", "q4", "ternary", "sign")  # the finest first: what an owner's limit of bytes steps down


def codec_named(name: str) -> Codec:
    """Return the codec of that name, loaded when it is first asked for; raises FrameError."""
    if name not in NAMES:
        raise FrameError(f"codec {name!r} is unknown", f"this peer reads {', '.join(NAMES)}: upgrade it")
    return cast(Codec, import_module(f"{__name__}.{name}"))
