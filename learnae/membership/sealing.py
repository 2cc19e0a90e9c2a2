"""Sealing: what is said in a swarm that is not open, and its frames, under a key of its own each (docs/protocol.md).

The random salt makes the key new each time: also where a restored backup or a cloned card says another thing with the
same seq.

>>> seal(bytes(32), b"an epoch", bytes(32), 7, 0, b"hello").hex()[:16]
'616e2065706f6368'
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.exceptions import InvalidTag

from learnae.basics.overriding import override
from learnae.errors import SealError, UnknownEpochError
from learnae.ipld import dagcbor
from learnae.protocol.bodies import EPOCH_NAME_BYTES, Evidence, Sealed
from learnae.protocol.identity import peer_name
from learnae.protocol.limits import Limits
from learnae.protocol.messages import Message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

SECRET_BYTES = 32
SALT_BYTES = 16
TAG_BYTES = 16
LENGTH_BYTES = 4
PADDING = 64  # the sizes of sealed bytes tell no more of what they hold
_CONTEXT = b"learnae/seal/1"
_PLACE = Struct(">QI")
_NONCE = bytes(12)  # no key seals twice
_HEAD = EPOCH_NAME_BYTES + SALT_BYTES


class Secrets(Protocol):
    """The secrets of key epochs that a peer has, by name."""

    def current(self) -> tuple[bytes, bytes] | None:
        """Return name (8 bytes) and secret (32 bytes) of the epoch to seal under; None if this peer may use none."""

    def secret_of(self, name: bytes) -> bytes | None:
        """Return the secret of that epoch; None if it is not known, perhaps not yet."""


class NoSecrets(Secrets):
    """What a relay knows, and an open swarm needs."""

    @override
    def current(self) -> tuple[bytes, bytes] | None:
        return None

    @override
    def secret_of(self, name: bytes) -> bytes | None:
        return None


NO_SECRETS = NoSecrets()


def seal(
    secret: bytes, name: bytes, author: bytes, seq: int, index: int, plain: bytes, salt: bytes | None = None
) -> bytes:
    """Seal part ``index`` of the message ``seq``: 0 is its body, 1 + i the i-th block of its frame.

    ``secret`` is the epoch's of that ``name``. The ``salt`` is random; only an example gives one.
    """
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    cipher, context = _cipher(secret, name, salt, author, seq, index)
    filled = LENGTH_BYTES + len(plain)
    padded = b"".join((len(plain).to_bytes(LENGTH_BYTES, "big"), plain, bytes(-filled % PADDING)))
    return b"".join((name, salt, cipher.encrypt(_NONCE, padded, context)))


def open_sealed(secrets: Secrets, author: bytes, seq: int, index: int, data: bytes) -> memoryview:
    """Return what ``seal`` was given; raises UnknownEpochError, and SealError for anything but what it returned."""
    size = len(data) - _HEAD - TAG_BYTES
    if size < PADDING or size % PADDING:
        raise SealError(f"{_what(author, seq, index)} has {len(data)} bytes", "no sealed bytes have that length")
    name, salt = data[:EPOCH_NAME_BYTES], data[EPOCH_NAME_BYTES:_HEAD]
    secret = secrets.secret_of(name)
    if secret is None:
        raise UnknownEpochError(_what(author, seq, index), name)
    cipher, context = _cipher(secret, name, salt, author, seq, index)
    try:
        padded = cipher.decrypt(_NONCE, memoryview(data)[_HEAD:], context)
    except InvalidTag as error:
        problem = f"{_what(author, seq, index)} does not open"
        raise SealError(problem, "it is damaged, or sealed by another key") from error
    filled = LENGTH_BYTES + int.from_bytes(padded[:LENGTH_BYTES], "big")
    if filled + -filled % PADDING != size or any(padded[filled:]):
        problem = f"{_what(author, seq, index)} is padded in a way of its own"
        raise SealError(problem, f"zeros fill it to a multiple of {PADDING}")
    return memoryview(padded)[LENGTH_BYTES:filled]


def _what(author: bytes, seq: int, index: int) -> str:
    part = f"block {index} of the frame" if index else "the body"
    return f"{part} of {peer_name(author)[:8]}'s message {seq}"


def _cipher(
    secret: bytes, name: bytes, salt: bytes, author: bytes, seq: int, index: int
) -> tuple[ChaCha20Poly1305, bytes]:
    """Return what seals one thing and no other, and what it authenticates besides."""
    key, context = _key(secret, name, salt, author, seq, index)
    return _aead()(key), context


def _key(secret: bytes, name: bytes, salt: bytes, author: bytes, seq: int, index: int) -> tuple[bytes, bytes]:
    """Return the key of one sealing, and what is authenticated with it."""
    place = salt + author + _PLACE.pack(seq, index)
    return hmac.digest(_extracted(secret), _CONTEXT + place + b"\x01", "sha256"), name + place


@lru_cache(maxsize=64)
def _extracted(secret: bytes) -> bytes:
    """Return the first half of HKDF-SHA256 without salt (RFC 5869, 2.2), which is the same for all of an epoch."""
    return hmac.digest(bytes(32), secret, "sha256")


@cache
def _aead() -> type[ChaCha20Poly1305]:
    from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415 - memory that open swarms have no use for

    return aead.ChaCha20Poly1305


@dataclass(frozen=True, slots=True)
class Seals:
    """The form that messages and frames of one swarm have. In one that is not sealed all passes as it is.

    Without ``secrets`` nothing is read in a sealed one, and nothing is said. ``random`` returns so many random bytes.
    """

    is_sealed: bool = False
    secrets: Secrets = NO_SECRETS
    random: Callable[[int], bytes] = os.urandom

    @property
    def may_speak(self) -> bool:
        """Return True unless there is no secret to seal under."""
        return not self.is_sealed or self.secrets.current() is not None

    @property
    def epoch(self) -> bytes:
        """Return the name of the key epoch to seal under; empty in an open swarm, and without any."""
        current = self.secrets.current() if self.is_sealed else None
        return current[0] if current else b""

    def knows(self, epoch: bytes) -> bool:
        """Return True if the secret of the epoch of that name is here."""
        return self.secrets.secret_of(epoch) is not None

    def body(self, author: bytes, seq: int, fields: Mapping[str, Any]) -> Mapping[str, Any] | bytes:
        """Return the body of a new message as it is signed; raises SealError unless ``may_speak``.

        Evidence stays open: it is for all who ever hear of its author, and says nothing that messages do not show.
        """
        is_open = not self.is_sealed or fields["kind"] == Evidence.KIND
        return fields if is_open else self._sealed(author, seq, 0, dagcbor.encode(fields))

    def block(self, author: bytes, seq: int, index: int, data: bytes) -> bytes:
        """Return the ``index``-th block of a new frame as it is named, counted from 0; raises as ``body``."""
        return self._sealed(author, seq, 1 + index, data) if self.is_sealed else data

    def _sealed(self, author: bytes, seq: int, index: int, plain: bytes) -> bytes:
        current = self.secrets.current()
        if current is None:
            raise SealError("there is no key epoch to seal under", "this peer can speak once a member has let it in")
        name, secret = current
        return seal(secret, name, author, seq, index, plain, self.random(SALT_BYTES))

    def check_form(self, message: Message) -> None:
        """Raise SealError for an open body, but evidence, in a sealed swarm, and the reverse."""
        if isinstance(message.body, Sealed) != self.is_sealed and not isinstance(message.body, Evidence):
            form, other = ("an open body", "sealed") if self.is_sealed else ("a sealed body", "open")
            raise SealError(f"message {message.cid.short} has {form}", f"this swarm is {other}: it is ignored")

    def opened(self, message: Message, limits: Limits) -> Message:
        """Return the message with what its body says; raises SealError, UnknownEpochError, EncodingError, MessageError.

        Whether it is its author's is known without.
        """
        self.check_form(message)
        if not isinstance(message.body, Sealed):
            return message
        plain = open_sealed(self.secrets, message.author, message.seq, 0, message.body.data)
        return message.opened(dagcbor.decode(bytes(plain), limits.message_bytes), limits)

    def opened_block(self, author: bytes, seq: int, index: int, data: bytes) -> bytes | memoryview:
        """Return the ``index``-th block of a frame, counted from 0, as it was encoded; raises as ``open_sealed``."""
        return open_sealed(self.secrets, author, seq, 1 + index, data) if self.is_sealed else data
