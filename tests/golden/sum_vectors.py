"""Makes the golden vectors of masked sums, and works them out anew as docs/protocol.md says, without the library."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

MEMBERS = 5
ADDENDS = [[number, -1, 2**27 - 1, 1 - 2**27] for number in range(MEMBERS)]  # values of each, the largest among them


def stream(secret: bytes, info: bytes, values: int) -> list[int]:
    """Return so many words of the key HKDF-SHA256(secret, info)."""
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    key = hmac.digest(pseudorandom, info + b"\x01", "sha256")
    data = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(4 * values))
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def masked(name: bytes, keys: Sequence[bytes], private: bytes, seed: bytes, addend: Sequence[int]) -> bytes:
    """Return what the holder of ``private`` says for the sum ``name`` of ``keys``."""
    own = X25519PrivateKey.from_private_bytes(private)
    public = own.public_key().public_bytes_raw()
    words = [a + b for a, b in zip(addend, stream(seed, b"learnae/masked-sum/1/self" + name, len(addend)), strict=True)]
    for key in keys:
        if key == public:
            continue
        shared = own.exchange(X25519PublicKey.from_public_bytes(key))
        sign = 1 if public < key else -1
        pair = stream(shared, b"learnae/masked-sum/1/pair" + name, len(addend))
        words = [word + sign * mask for word, mask in zip(words, pair, strict=True)]
    return b"".join((word % 2**32).to_bytes(4, "little") for word in words)


def name_of(swarm: bytes, values: int, authors: Sequence[bytes], keys: Sequence[bytes]) -> bytes:
    """Return the name of a sum in the swarm of this CID (36 bytes)."""
    said = swarm + values.to_bytes(4, "big") + b"".join(authors) + b"".join(keys)
    return hashlib.sha256(b"learnae/masked-sum/1/name" + said).digest()


def sums(swarm: bytes) -> dict[str, Any]:
    """Return one sum of MEMBERS, with the private keys that docs/vectors/README.md counts up."""
    seeds = [bytes(range(32 * number, 32 * number + 32)) for number in range(MEMBERS)]
    people = sorted(
        (Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw(), number)
        for number, seed in enumerate(seeds)
    )
    authors = [author for author, _ in people]
    privates = [bytes([100 + number]) * 32 for _, number in people]
    keys = [X25519PrivateKey.from_private_bytes(each).public_key().public_bytes_raw() for each in privates]
    name = name_of(swarm, len(ADDENDS[0]), authors, keys)
    return {
        "name": name.hex(),
        "members": [
            {
                "author": author.hex(),
                "private": private.hex(),
                "key": key.hex(),
                "seed": hashlib.sha256(private).hexdigest(),
                "addend": ADDENDS[number],
                "vector": masked(name, keys, private, hashlib.sha256(private).digest(), ADDENDS[number]).hex(),
            }
            for (author, number), private, key in zip(people, privates, keys, strict=True)
        ],
        "total": [sum(column) for column in zip(*ADDENDS, strict=True)],
    }
