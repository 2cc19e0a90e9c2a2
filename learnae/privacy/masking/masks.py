"""Vectors of integers under masks that cancel in the total of all members. Pure.

Each pair of members shares a stream of ChaCha20 that one of the two adds and the other subtracts; each member adds a
stream of its own besides, whose seed it tells once all vectors are there. All counts mod 2^32. A total is exact, as
members add at most ``BOUND`` in size. All but one of the members that put together what they know see the vector of
the last one: it carries noise of its own (``noise_share``).

>>> from learnae.ipld.cid import DAG_CBOR
>>> privates = [X25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(5)]
>>> authors, keys = [bytes([number]) * 32 for number in range(5)], [public_of(each) for each in privates]
>>> group = Group(Cid.of(DAG_CBOR, b"a manifest"), 3, tuple(authors), tuple(keys))
>>> sent = {one: masked(group, one, key, one, np.array([1, -2, 3])) for one, key in zip(authors, privates)}
>>> total(group, sent, {one: one for one in authors}).tolist()
[5, -10, 15]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from learnae.errors import MaskError
from learnae.ipld.cid import Cid
from learnae.privacy.masking.noise_share import BOUND, Integers
from learnae.protocol.identity import agree, derive
from learnae.protocol.sum_bodies import VALUE_BYTES

_NAME, _PAIR, _SELF = (b"learnae/masked-sum/1/" + what for what in (b"name", b"pair", b"self"))
_NONCE = bytes(16)  # each key gives one stream
_WORD = np.dtype("<u4")

Words = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Group:
    """Who sums what: ``values`` integers each of ``authors``, ascending, with one X25519 key each, for this sum alone.

    Its ``name`` follows from all that, so that masks of one sum fit no other one.
    """

    swarm: Cid
    values: int
    authors: tuple[bytes, ...]
    keys: tuple[bytes, ...]
    name: bytes = field(init=False)

    def __post_init__(self) -> None:
        said = b"".join((self.swarm.to_bytes(), self.values.to_bytes(4, "big"), *self.authors, *self.keys))
        object.__setattr__(self, "name", hashlib.sha256(_NAME + said).digest())


def public_of(private: X25519PrivateKey) -> bytes:
    """Return the public key (32 bytes) that others share a mask with."""
    return private.public_key().public_bytes_raw()


def checked(addend: NDArray[np.integer], values: int) -> Integers:
    """Return a member's vector (values,) of integers; raises MaskError unless a total of such is exact."""
    if addend.shape != (values,) or not np.issubdtype(addend.dtype, np.integer):
        raise MaskError(f"a vector of {addend.dtype} with shape {addend.shape}", f"sum {values} integers")
    if np.any(addend > BOUND) or np.any(addend < -BOUND):
        raise MaskError("a value of a masked sum is out of range", f"it must be from -{BOUND} to {BOUND}")
    return addend.astype(np.int64)


def masked(group: Group, author: bytes, private: X25519PrivateKey, seed: bytes, addend: NDArray[np.integer]) -> bytes:
    """Return the ``author``'s vector (group.values,) under its masks, as MaskedVector holds it.

    ``private`` is of the author's key in the group, ``seed`` (32 bytes) new and secret. Raises MaskError, and SealError
    if another's key is none.
    """
    own = group.keys[group.authors.index(author)]
    if public_of(private) != own:
        raise MaskError("the private key of another sum", "each sum has a key of its own")
    words: Words = (checked(addend, group.values) % 2**32).astype(np.uint32)
    words += _stream(derive(seed, _SELF + group.name), group.values)
    for key in group.keys:
        if key != own:
            mask = _stream(derive(agree(private, key), _PAIR + group.name), group.values)
            words += mask if own < key else -mask  # uint32: mod 2^32
    return words.astype(_WORD).tobytes()


def total(group: Group, vectors: Mapping[bytes, bytes], seeds: Mapping[bytes, bytes]) -> Integers:
    """Return the sum (group.values,) of all members' vectors, given masked by author, and their seeds.

    Raises MaskError unless they are those of all members.
    """
    if not vectors.keys() == seeds.keys() == set(group.authors):
        raise MaskError("a masked sum of other members than its group", "nothing but the whole can be opened")
    words: Words = np.zeros(group.values, np.uint32)
    for author in group.authors:
        if len(vectors[author]) != VALUE_BYTES * group.values:
            raise MaskError(f"a masked vector of {len(vectors[author])} bytes", f"{VALUE_BYTES * group.values} are due")
        words += np.frombuffer(vectors[author], _WORD).astype(np.uint32)
        words -= _stream(derive(seeds[author], _SELF + group.name), group.values)
    return words.view(np.int32).astype(np.int64)


def _stream(key: bytes, values: int) -> Words:
    cipher = Cipher(algorithms.ChaCha20(key, _NONCE), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(VALUE_BYTES * values)), _WORD).astype(np.uint32)
