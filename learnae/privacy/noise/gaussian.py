"""Normal variables from a ChaCha20 stream whose key is drawn anew each time, and never kept."""

import os
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from numpy.typing import NDArray

KEY_BYTES = 32
_WORD = 8  # bytes of the stream that each variable takes, whatever its value
_NONCE = bytes(16)  # a key serves once

Normals = Callable[[int], NDArray[np.float64]]


def fresh_normals(count: int) -> NDArray[np.float64]:
    """Return ``count`` standard normal variables that no process can draw again."""
    return normals_of(os.urandom(KEY_BYTES), count)


def normals_of(key: bytes, count: int) -> NDArray[np.float64]:
    """Return the ``count`` standard normal variables of a ``key`` of 32 bytes (Box and Muller 1958).

    How many bytes are drawn, and what is computed, follows from ``count`` alone. Those beyond 9.4 deviations are
    missing: a chance of 1e-20 each, far below any delta. Of an angle's half the tangent is taken, which gives sine and
    cosine of the angle to 1e-15: one function in place of two.

    >>> normals_of(bytes(32), 3).round(3).tolist()
    [0.846, 0.33, 0.658]
    """
    pairs = -(-count // 2)
    stream = Cipher(ChaCha20(key, _NONCE), mode=None).encryptor().update(bytes(2 * pairs * _WORD))
    words = np.frombuffer(stream, "<u8").reshape(2, pairs)
    radius = np.sqrt(-2 * np.log((words[0].astype(np.float64) + 0.5) * 2.0**-64))
    tangent = np.tan(words[1].astype(np.float64) * (np.pi * 2.0**-64))
    along = 2 * radius / (1 + tangent * tangent)  # radius (1 + cosine)
    return np.concatenate([along - radius, along * tangent])[:count]
