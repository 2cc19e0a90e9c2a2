"""Chunks: readings of one source as bytes, column by column, for the sample buffer; sealed if there is a key."""

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
_NONCE_BYTES = 12  # RFC 8439, section 2.8
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 32, 4096  # of a key file
_PERSON = b"learnae/buffer/1"
_LARGEST_LABEL = (1 << 31) - 1
MAX_READINGS = 4096  # of one chunk: what is decoded at once


def pack(samples: Samples) -> bytes:
    """Return at most MAX_READINGS readings as bytes: 13 for each, and 4 for each of its values."""
    count, channels = samples.values.shape
    label = np.where(samples.label <= _LARGEST_LABEL, samples.label, -1)
    columns = (samples.time, label, samples.holdout, samples.values)
    body = b"".join(
        np.ascontiguousarray(column, kind).tobytes() for column, kind in zip(columns, _COLUMNS, strict=True)
    )
    data = _HEADER.pack(_VERSION, channels, count) + body
    return data + _CHECK.pack(zlib.crc32(data))


def unpack(data: bytes, channels: int) -> Samples:
    """Return what ``pack`` was given; raises StateError for anything else and for another number of ``channels``."""
    body = len(data) - _HEADER.size - _CHECK.size
    if body < 0 or _CHECK.pack(zlib.crc32(data[: -_CHECK.size])) != data[-_CHECK.size :]:
        raise StateError("a chunk of samples is damaged")
    version, found, count = _HEADER.unpack_from(data)
    if (version, found) != (_VERSION, channels) or count > MAX_READINGS or body != count * (13 + 4 * channels):
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
        """Derive the key of ``secret``, at least 32 bytes that cannot be guessed, such as 32 of /dev/urandom."""
        if not _MIN_KEY_BYTES <= len(secret) <= _MAX_KEY_BYTES:
            raise ConfigurationError(
                f"the buffer's key file has {len(secret)} bytes",
                f"make one of {_MIN_KEY_BYTES} random bytes: head -c {_MIN_KEY_BYTES} /dev/urandom",
            )
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - memory that few agents have a use for

        key = hashlib.blake2b(secret, digest_size=32, person=_PERSON).digest()
        self._cipher = aead.ChaCha20Poly1305(key)

    def close(self, data: bytes, source: str) -> bytes:
        """Return ``data`` encrypted and authenticated: without the key it can be neither read nor changed."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, source.encode())

    def open(self, data: bytes, source: str) -> bytes:
        """Return what ``close`` was given; raises StateError for anything else."""
        try:
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], source.encode())
        except (InvalidTag, ValueError) as error:
            raise StateError("a chunk of samples is damaged or was encrypted with another key") from error
