"""What a machine with an invite code and members that know the invite say to each other, over any broker. Pure.

The two meet at a name that both make of the invite's public key K. A question is sealed under K itself, which keeps it
from those who do not know the invite; an answer is sealed *to* K (X25519 with K's Montgomery form, RFC 7748, 4.1), so
that only the holder of the code reads the manifest: K stands in a record, which relays see. Neither is signed: a
manifest is checked against the code, records are signed, and a refusal is only a hint.

>>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
>>> seed = bytes(range(32))
>>> key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
>>> meeting_place(key)
'74lr5d6nkbg6bmyioqmnjzegqi'
>>> open_question(key, seal_question(key, Question(bytes(16)))).join
b''
>>> open_answer(seed, seal_answer(key, Answer(blocks=(b"manifest",)))).blocks
(b'manifest',)
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from learnae.errors import EncodingError, SealError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import agree, derive

SESSION_BYTES = PLACE_BYTES = 16
QUESTION_BYTES = 4608  # with a join record, which has at most 4 KiB
ANSWER_BYTES = (1 << 18) + (1 << 16)  # one manifest, or some records
BATCH_BYTES = 1 << 16  # of records in one answer; a larger one goes alone
EXPIRED, USED_UP, WITHDRAWN = "expired", "used up", "withdrawn"
REFUSALS = (EXPIRED, USED_UP, WITHDRAWN)
_MOST_BLOCKS = 256
_PRIME = 2**255 - 19
_QUESTION, _ANSWER = b"learnae/rendezvous/1/question", b"learnae/rendezvous/1/answer"
_NONCE = bytes(12)  # no key seals twice
_PUBLIC_BYTES = _SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Question:
    """Asks as ``session`` (random, new for each try) for the manifest; with a ``join`` record, to be let in."""

    session: bytes
    join: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the plain bytes."""
        return dagcbor.encode({"v": 1, "session": self.session, "join": self.join})

    @classmethod
    def from_bytes(cls, data: bytes) -> Question:
        """Read and check; raises EncodingError."""
        fields = Fields(dagcbor.decode(data, QUESTION_BYTES), "question", EncodingError)
        join = fields.value("join")
        if fields.integer("v") != 1 or not isinstance(join, bytes):
            raise EncodingError("a question of another form", "one of the two must upgrade learnae")
        return cls(fields.octets("session", SESSION_BYTES), join)


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds blocks (the manifest, or records), or says why there are none: one of REFUSALS."""

    blocks: tuple[bytes, ...] = ()
    refusal: str = ""

    def to_bytes(self) -> bytes:
        """Return the plain bytes."""
        return dagcbor.encode({"v": 1, "blocks": list(self.blocks), "refusal": self.refusal})

    @classmethod
    def from_bytes(cls, data: bytes) -> Answer:
        """Read and check; raises EncodingError."""
        fields = Fields(dagcbor.decode(data, ANSWER_BYTES), "answer", EncodingError)
        blocks = fields.value("blocks")
        is_list = isinstance(blocks, list) and len(blocks) <= _MOST_BLOCKS
        if fields.integer("v") != 1 or not is_list or not all(isinstance(block, bytes) for block in blocks):
            raise EncodingError("an answer of another form", "one of the two must upgrade learnae")
        return cls(tuple(blocks), fields.choice("refusal", ("", *REFUSALS)))


def answers(blocks: Iterable[bytes]) -> Iterator[Answer]:
    """Put blocks into as few answers as their bounds allow."""
    batch: list[bytes] = []
    for block in blocks:
        if batch and (len(batch) == _MOST_BLOCKS or sum(map(len, batch)) + len(block) > BATCH_BYTES):
            yield Answer(tuple(batch))
            batch = []
        batch.append(block)
    if batch:
        yield Answer(tuple(batch))


def members_place(root: bytes) -> str:
    """Return the name of the place where members of a sealed swarm meet, from its root secret (32 bytes)."""
    return _name(derive(root, b"learnae/topic/1")[:PLACE_BYTES])


def vouch_seed(swarm: Cid) -> bytes:
    """Return the seed with which all who know a swarm's id ask its members, where those vouch: no invite is needed."""
    return derive(swarm.to_bytes(), b"learnae/vouch/1")


def public_key(seed: bytes) -> bytes:
    """Return K, the invite's public key, for the seed in a code."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def meeting_place(key: bytes) -> str:
    """Return the name of the place where the invite of K is answered: 26 characters of base32, lower case."""
    return _name(derive(key, b"learnae/rendezvous/1")[:PLACE_BYTES])


def seal_question(key: bytes, question: Question) -> bytes:
    """Return what all who know K can open."""
    salt = os.urandom(_SALT_BYTES)
    return salt + _cipher(key, _QUESTION + salt).encrypt(_NONCE, question.to_bytes(), None)


def open_question(key: bytes, data: bytes) -> Question:
    """Open a question; raises SealError or EncodingError."""
    if len(data) > QUESTION_BYTES:
        raise EncodingError(f"a question of {len(data)} bytes", f"at most {QUESTION_BYTES} are read")
    salt = data[:_SALT_BYTES]
    return Question.from_bytes(_opened(_cipher(key, _QUESTION + salt), data[_SALT_BYTES:], "a question"))


def seal_answer(key: bytes, answer: Answer) -> bytes:
    """Return what only the holder of K's seed can open; raises SealError for a K that is no point of the curve."""
    own = X25519PrivateKey.generate()
    ephemeral = own.public_key().public_bytes_raw()
    shared = agree(own, _montgomery(key))
    return ephemeral + _cipher(shared, _ANSWER + ephemeral + key).encrypt(_NONCE, answer.to_bytes(), None)


def open_answer(seed: bytes, data: bytes) -> Answer:
    """Open an answer with the seed of K; raises SealError or EncodingError."""
    if len(data) > ANSWER_BYTES:
        raise EncodingError(f"an answer of {len(data)} bytes", f"at most {ANSWER_BYTES} are read")
    ephemeral = data[:_PUBLIC_BYTES]
    own = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])  # as Ed25519 does, RFC 8032, 5.1.5
    cipher = _cipher(agree(own, ephemeral), _ANSWER + ephemeral + public_key(seed))
    return Answer.from_bytes(_opened(cipher, data[_PUBLIC_BYTES:], "an answer"))


def _name(place: bytes) -> str:
    return base64.b32encode(place).decode().rstrip("=").lower()


def _montgomery(key: bytes) -> bytes:
    """Return u = (1 + y) / (1 - y) of an Ed25519 public key."""
    y = int.from_bytes(key, "little") & (1 << 255) - 1
    if y % _PRIME == 1:
        raise SealError("an invite's key is none", "make another invite")
    return ((1 + y) * pow(1 - y, -1, _PRIME) % _PRIME).to_bytes(32, "little")


def _cipher(secret: bytes, info: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(secret, info))


def _opened(cipher: ChaCha20Poly1305, data: bytes, what: str) -> bytes:
    try:
        return cipher.decrypt(_NONCE, data, None)
    except InvalidTag as error:
        raise SealError(f"{what} does not open", "it is damaged, or of another invite") from error
