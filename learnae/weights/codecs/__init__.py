"""Codecs: how a vector of float32 values becomes bytes. One file each, found by name here."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from learnae.errors import FrameError
from learnae.weights.codecs import f16, f32, q8

Vector = NDArray[np.float32]


class Codec(Protocol):
    """A codec module. ``size`` is exact, so that a length is checked before anything is decoded."""

    def size(self, count: int) -> int:
        """Bytes that ``count`` values take."""

    def encode(self, values: Vector) -> bytes:
        """``values`` (n,) float32, finite -> bytes."""

    def decode(self, data: bytes, count: int) -> Vector:
        """``size(count)`` bytes -> (count,) float32, perhaps not finite."""


_CODECS: dict[str, Codec] = {"f32": f32, "f16": f16, "q8": q8}
NAMES = tuple(_CODECS)


def codec_named(name: str) -> Codec:
    """The codec of that name; raises FrameError."""
    try:
        return _CODECS[name]
    except KeyError:
        raise FrameError(f"codec {name!r} is unknown", f"this peer reads {', '.join(NAMES)}: upgrade it") from None
