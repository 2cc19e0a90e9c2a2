"""Chunks: readings of one source as bytes, column by column, for the sample buffer; sealed if there is a key."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib

import numpy as np
from cryptography.exceptions import InvalidTag

from learnae.errors import ConfigurationError, StateError
from learnae.ports import Samples

_VERSION = 1
_HEADER = struct.Struct("<BxHI")  # version, channels, readings
_CHECK = struct.Struct("<I")  # crc32 of all before: SQLite does not check what it stores
_COLUMNS = ("<f8", "<i4", "?", "<f4")  # time, label, holdout, values row by row
_NONCE = 12
_LEAST_KEY, _MOST_KEY = 32, 4096  # bytes of a key file
_PERSON = b"learnae/buffer/1"
_LARGEST_LABEL = (1 << 31) - 1


MOST = 4096  # readings of one chunk: what is decoded at once


def pack(samples: Samples) -> bytes:
    """At most MOST readings as bytes: 13 for each, and 4 for each of its values."""
    count, channels = samples.values.shape
    label = np.where(samples.label <= _LARGEST_LABEL, samples.label, -1)
    columns = (samples.time, label, samples.holdout, samples.values)
    body = b"".join(
        np.ascontiguousarray(column, kind).tobytes() for column, kind in zip(columns, _COLUMNS, strict=True)
    )
    data = _HEADER.pack(_VERSION, channels, count) + body
    return data + _CHECK.pack(zlib.crc32(data))


def unpack(data: bytes, channels: int) -> Samples:
    """What ``pack`` was given; raises StateError for anything else and for another number of ``channels``."""
    body = len(data) - _HEADER.size - _CHECK.size
    if body < 0 or _CHECK.pack(zlib.crc32(data[: -_CHECK.size])) != data[-_CHECK.size :]:
        raise StateError("a chunk of samples is damaged")
    version, found, count = _HEADER.unpack_from(data)
    if (version, found) != (_VERSION, channels) or count > MOST or body != count * (13 + 4 * channels):
        raise StateError(f"a chunk of samples of version {version} with {found} channels", "another swarm wrote it")
    columns, offset = [], _HEADER.size
    for kind, each in zip(_COLUMNS, (1, 1, 1, channels), strict=True):
        column = np.frombuffer(data, kind, count * each, offset)
        columns.append(column)
        offset += column.nbytes
    time, label, holdout, values = columns
    return Samples(time, values.reshape(count, channels), label.astype(np.int64), holdout)


class Seal:
    """ChaCha20-Poly1305 (RFC 8439) with a random nonce for each chunk; its source is authenticated with it."""

    def __init__(self, secret: bytes) -> None:
        """``secret`` has at least 32 bytes that nobody can guess, such as 32 of /dev/urandom."""
        if not _LEAST_KEY <= len(secret) <= _MOST_KEY:
            raise ConfigurationError(
                f"the buffer's key file has {len(secret)} bytes",
                f"make one of {_LEAST_KEY} random bytes: head -c {_LEAST_KEY} /dev/urandom",
            )
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - memory that few have a use for

        key = hashlib.blake2b(secret, digest_size=32, person=_PERSON).digest()
        self._cipher = aead.ChaCha20Poly1305(key)

    def close(self, data: bytes, source: str) -> bytes:
        """Encrypted: nobody without the key reads or changes it."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, data, source.encode())

    def open(self, data: bytes, source: str) -> bytes:
        """What ``close`` was given; raises StateError for anything else."""
        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], source.encode())
        except (InvalidTag, ValueError) as error:
            raise StateError("a chunk of samples is damaged or was encrypted with another key") from error
