"""SHA-256 that is fast whatever ``hashlib`` is made of."""

import hashlib

_LARGE = 1 << 16  # bytes: beyond, another library's setting out is worth it, several times as fast as Python's own


def sha256(data: bytes) -> bytes:
    """Return the SHA-256 of ``data``, 32 bytes.

    OpenSSL computes it where that is worth its setting out: the one of ``cryptography``, which signs, also where
    ``hashlib`` has none (learnae.system.lazy_imports.keep_libcrypto_out).

    >>> sha256(b"abc").hex()[:16], sha256(bytes(1 << 17)) == hashlib.sha256(bytes(1 << 17)).digest()
    ('ba7816bf8f01cfea', True)
    """
    if len(data) < _LARGE:
        return hashlib.sha256(data).digest()
    from cryptography.hazmat.primitives.hashes import SHA256, Hash  # noqa: PLC0415 - for all that is small, not needed

    found = Hash(SHA256())
    found.update(data)
    return found.finalize()
