"""Codes such as ``4-orbit-piano``, by which two machines agree on a key: an invite code goes under it. Pure.

The number says which offer is meant, the words are a password of 16 bits for SPAKE2 (RFC 9382, package ``spake2``). Who
listens learns nothing, who guesses has three tries in all. Both sides are state machines: bytes in, bytes out.

======  ==================================================================  =====
from    message                                                             bytes
======  ==================================================================  =====
joiner  ``LRNS``, version, number, joiner's name (32), SPAKE2 message (33)  71
member  1, member's key (32), SPAKE2 message (33)                           66
joiner  proof that it has the key                                           32
member  2, invite code under the key                                        < 450
joiner  proof that it has the code                                          32
member  0, tries left: in place of any answer, the last one                 2
======  ==================================================================  =====

The joiner proves first, so that each guess of an attacker's is counted. Names are what the key is bound to.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from learnae.basics.overriding import override
from learnae.errors import ConfigurationError, PeerError
from learnae.membership.codes.invite_code import InviteCode, parse
from learnae.membership.codes.spoken_words import WORDS
from learnae.system.installation import how_to_install

TRIES = 3
MAX_NUMBER = 99
MAX_MESSAGE_BYTES = 512
_MAX_TYPED = 100  # characters
_MAGIC = b"LRNS\x01"
_NAME_BYTES, _SPAKE_BYTES, _PROOF_BYTES = 32, 33, 32
_REFUSED, _GREETING, _SEALED = range(3)
_INFO = b"learnae/spoken/1"
_FIELD = 2**255 - 19
_NONCE = bytes(12)  # each key seals one text
_BEGINNINGS = {word[:4]: word for word in WORDS}
_ASK = "ask for a new one"


@dataclass(frozen=True, slots=True)
class SpokenCode:
    """A code that is read aloud: the ``number`` of an offer, from 1 to 99, and two ``words`` of the list.

    >>> str(SpokenCode.parse("4 Orbit  PIANO"))
    '4-orbit-piano'
    """

    number: int
    words: tuple[str, str] = field(repr=False)

    @classmethod
    def random(cls, taken: Collection[int] = ()) -> SpokenCode:
        """Return a code whose number is none of those ``taken``, as long as there are others."""
        free = sorted(set(range(1, MAX_NUMBER + 1)) - set(taken)) or range(1, MAX_NUMBER + 1)
        return cls(secrets.choice(free), (secrets.choice(WORDS), secrets.choice(WORDS)))

    @classmethod
    def parse(cls, text: str) -> SpokenCode:
        """Read a code in any case; four letters of a word do. Raises ConfigurationError, which names the wrong word."""
        parts = re.findall(r"[^\s_.,-]+", text[:_MAX_TYPED].lower())
        form = "a code that is read aloud is a number and two words, such as 4-orbit-piano"
        if len(text) > _MAX_TYPED or len(parts) != 3 or not re.fullmatch("0*[1-9][0-9]?", parts[0], re.ASCII):
            raise ConfigurationError(f"{text[:_MAX_TYPED]!r} is not such a code", form)
        return cls(int(parts[0]), (_word(parts[1]), _word(parts[2])))

    @property
    def password(self) -> bytes:
        """Return what SPAKE2 takes."""
        return str(self).encode()

    @override
    def __str__(self) -> str:
        return "-".join((str(self.number), *self.words))


class Offer:
    """One code that is offered: it ends when a joiner has it, or after three wrong tries over all sessions.

    ``peer`` is the member's 32-byte key.
    """

    def __init__(self, spoken: SpokenCode, code: InviteCode, peer: bytes) -> None:
        self.spoken, self.code, self.peer = spoken, code, peer
        self.tries_left = TRIES
        self.is_given = False

    @property
    def is_over(self) -> bool:
        """Return True if no session gets the code any more."""
        return self.is_given or self.tries_left == 0

    def refusal(self) -> bytes:
        """Return the last message of a session that gets nothing."""
        return bytes([_REFUSED, 0 if self.is_over else self.tries_left])


class OfferSession:
    """The member's side of one connection."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._keys: _Keys | None = None
        self._has_sealed = False
        self.is_over = False

    def receive(self, data: bytes) -> bytes:
        """Return the answer to a message, empty for none; raises PeerError, after which the session is over."""
        try:
            answer = self._receive(data)
        except PeerError:
            self.is_over = True
            raise
        self.is_over = self.is_over or answer[:1] in (b"", bytes([_REFUSED]))
        return answer

    def _receive(self, data: bytes) -> bytes:
        if self.is_over:
            raise PeerError("a message after the last one of a spoken code")
        if self._offer.is_over and not self._has_sealed:
            return self._offer.refusal()
        if self._keys is None:
            return self._greet(data)
        if len(data) != _PROOF_BYTES:
            raise PeerError(f"a proof of {len(data)} bytes where {_PROOF_BYTES} are expected")
        if self._has_sealed:
            if not hmac.compare_digest(data, self._keys.receipt):
                raise PeerError("a wrong receipt for a code")
            self._offer.is_given = True
            return b""
        if not hmac.compare_digest(data, self._keys.proof):
            self._offer.tries_left -= 1
            return self._offer.refusal()
        self._has_sealed = True
        sealed = ChaCha20Poly1305(self._keys.seal).encrypt(_NONCE, self._offer.code.to_text().encode(), _INFO)
        return bytes([_SEALED]) + sealed

    def _greet(self, data: bytes) -> bytes:
        begin = len(_MAGIC) + 1
        if len(data) != begin + _NAME_BYTES + _SPAKE_BYTES or not data.startswith(_MAGIC):
            raise PeerError("no greeting of a spoken code of this version")
        if data[begin - 1] != self._offer.spoken.number:
            raise PeerError(f"a greeting for the offer {data[begin - 1]}, and this is {self._offer.spoken.number}")
        name, theirs = data[begin : begin + _NAME_BYTES], data[begin + _NAME_BYTES :]
        exchange = _spake2().SPAKE2_A(self._offer.spoken.password, *_identities(self._offer.peer, name))
        own = exchange.start()
        self._keys = _Keys.of(exchange, theirs)
        return bytes([_GREETING]) + self._offer.peer + own


class Acceptance:
    """The joiner's side of one connection; ``code`` is None until it is here."""

    def __init__(self, spoken: SpokenCode, name: bytes = b"") -> None:
        self._spoken = spoken
        self._name = name or os.urandom(_NAME_BYTES)
        self._exchange = _spake2().SPAKE2_B(spoken.password)
        self._keys: _Keys | None = None
        self.code: InviteCode | None = None

    def greeting(self) -> bytes:
        """Return the first message."""
        return _MAGIC + bytes([self._spoken.number]) + self._name + self._exchange.start()

    def receive(self, data: bytes) -> bytes:
        """Return the answer to a message.

        Raises ConfigurationError if the words are wrong or the offer is over, PeerError if what answers is no member
        that follows the protocol.
        """
        if data[:1] == bytes([_REFUSED]) and len(data) == 2 and self.code is None:
            raise self._refused(data[1])
        if self.code is not None or not data:
            raise PeerError("what answers says nothing, or too much")
        if self._keys is None:
            return self._prove(data)
        if data[0] != _SEALED or len(data) > MAX_MESSAGE_BYTES:
            raise PeerError("what answers sends no code")
        try:
            text = ChaCha20Poly1305(self._keys.seal).decrypt(_NONCE, data[1:], _INFO)
            self.code = parse(text.decode("ascii"))
        except (InvalidTag, UnicodeDecodeError, ConfigurationError) as error:
            raise PeerError("what answers does not know the words, or sends no code") from error
        return self._keys.receipt

    def _prove(self, data: bytes) -> bytes:
        if data[0] != _GREETING or len(data) != 1 + _NAME_BYTES + _SPAKE_BYTES:
            raise PeerError("what answers is no offer of a spoken code")
        peer, theirs = data[1 : 1 + _NAME_BYTES], data[1 + _NAME_BYTES :]
        self._exchange.idA, self._exchange.idB = _identities(peer, self._name)
        self._keys = _Keys.of(self._exchange, theirs)
        return self._keys.proof

    def _refused(self, tries_left: int) -> ConfigurationError:
        if self._keys is None or not tries_left:
            return ConfigurationError(f"the offer {self._spoken.number} is used, or had {TRIES} wrong tries", _ASK)
        left = f"{min(tries_left, TRIES)} of {TRIES} tries are left"
        return ConfigurationError(f"the words are not those of the offer {self._spoken.number}", f"ask again: {left}")


@dataclass(frozen=True, slots=True)
class _Keys:
    proof: bytes = field(repr=False)
    seal: bytes = field(repr=False)
    receipt: bytes = field(repr=False)

    @classmethod
    def of(cls, exchange: Any, theirs: bytes) -> _Keys:
        """Finish the exchange; raises PeerError for what is no message of the other side."""
        if int.from_bytes(theirs[1:], "little") % 2**255 >= _FIELD:
            raise PeerError("a SPAKE2 message that is not in its one form")
        from spake2 import SPAKEError  # noqa: PLC0415 - as above
        from spake2.ed25519_basic import NotOnCurve  # noqa: PLC0415

        try:
            shared = exchange.finish(theirs)
        except (SPAKEError, NotOnCurve, ValueError, AssertionError) as error:
            raise PeerError(f"no SPAKE2 message of the other side: {type(error).__name__}") from error
        keys = HKDF(SHA256(), 96, None, _INFO).derive(shared)
        return cls(keys[:32], keys[32:64], keys[64:])


def _identities(peer: bytes, name: bytes) -> tuple[bytes, bytes]:
    return _INFO + b" member" + peer, _INFO + b" joiner" + name


def _word(text: str) -> str:
    word = _BEGINNINGS.get(text[:4])
    if word is not None and word.startswith(text):
        return word
    near = get_close_matches(text, WORDS, n=2, cutoff=0.5)
    raise ConfigurationError(
        f"{text!r} is no word of such codes", f"did you hear {' or '.join(near) or 'another one'}?"
    )


def _spake2() -> Any:
    try:
        import spake2  # noqa: PLC0415 - 13 MB, for codes that are read aloud alone
    except ImportError as error:
        raise ConfigurationError("codes that are read aloud need spake2", how_to_install("lan")) from error
    return spake2
