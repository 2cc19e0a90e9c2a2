"""SHA-256 that is fast whatever ``hashlib`` is made of."""

import hashlib

_LARGE = 1 << 16  # bytes: beyond, another library's setting out is worth it, several times as fast as Python's own


def sha256(*pieces: bytes | memoryview) -> bytes:
    """Return the SHA-256 of ``pieces`` one after another, 32 bytes.

    OpenSSL computes it where that is worth its setting out: the one of ``cryptography``, which signs, also where
    ``hashlib`` has none (learnae.system.lazy_imports.keep_libcrypto_out).

    >>> sha256(b"abc").hex()[:16], sha256(bytes(1 << 17)) == hashlib.sha256(bytes(1 << 17)).digest()
    ('ba7816bf8f01cfea', True)
    """
    if sum(len(piece) for piece in pieces) < _LARGE:
        return hashlib.sha256(b"".join(pieces)).digest()
    from cryptography.hazmat.primitives.hashes import SHA256, Hash  # noqa: PLC0415 - for all that is small, not needed

    found = Hash(SHA256())
    for piece in pieces:
        found.update(piece)
    return found.finalize()
