"""The code that a person hands to another one: ``LRN1`` and digits and capitals (docs/codes.md). Pure.

It holds the swarm's id, the seed of the invite's key, up to three addresses in a compact form and a checksum: at most
180 characters, which fit a QR code of 41 x 41 modules. A broker's user and password make it longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from learnae.errors import ConfigurationError
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.membership.codes import code_text
from learnae.membership.codes.compact_addresses import Reader, normal, pack, unpack
from learnae.protocol.identity import PRIVATE_KEY_BYTES, Identity

VERSION = 1
PREFIX = f"LRN{VERSION}"
MAX_CHARACTERS = 180  # without a password
MAX_ADDRESSES = 3
MAX_ADDRESS_BYTES = 42  # of all together: 64 bytes of swarm and seed fill the rest of MAX_CHARACTERS
MAX_LOGIN_BYTES = 64  # of a user, and of a password
_MAX_CODE_CHARACTERS = 400  # with a password; in _MAX_TYPED are also spaces and lines' ends
_MAX_TYPED = 4000
_DIGEST_BYTES = 32
_LOGIN = 0xF0  # a head byte that no address has
_SAME = str.maketrans("OIL", "011")
_DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u200b\ufeff")
_AGAIN = "get the code again from where it comes from"


@dataclass(frozen=True)
class InviteCode:
    """What a code holds: ``swarm``, the 32-byte ``seed`` of the invite's key, ``addresses``, a broker's login.

    Addresses are kept as codes give them back, each once. Raises ConfigurationError.
    """

    swarm: Cid
    seed: bytes = field(repr=False)
    addresses: tuple[str, ...] = ()
    password: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.swarm.codec != DAG_CBOR or len(self.seed) != PRIVATE_KEY_BYTES:
            raise ConfigurationError("no swarm's id or no invite's seed", "a swarm's id begins with bafyrei")
        object.__setattr__(self, "addresses", tuple(dict.fromkeys(map(normal, self.addresses))))
        if len(self.addresses) > MAX_ADDRESSES:
            raise ConfigurationError(f"{len(self.addresses)} addresses in a code", f"name at most {MAX_ADDRESSES}")
        left = MAX_ADDRESS_BYTES
        for address in self.addresses:
            if (size := len(pack(address))) > left:
                room = f"needs {size} bytes in the code, where {left} of {MAX_ADDRESS_BYTES} are left"
                remedy = "name fewer addresses, or shorter ones: an IP address takes 5 to 7 bytes"
                raise ConfigurationError(f"the address {address} {room}", remedy)
            left -= size
        if self.password is not None:
            self._check_login(*self.password)

    def _check_login(self, user: str, password: str) -> None:
        if not any(address.startswith(("mqtt", "ws")) for address in self.addresses):
            raise ConfigurationError("a password and no broker's address in a code", "name the broker's address, too")
        for name, text in (("user", user), ("password", password)):
            if not 1 <= len(text.encode("utf-8", "replace")) <= MAX_LOGIN_BYTES or not text.isprintable():
                remedy = f"use printable text of at most {MAX_LOGIN_BYTES} bytes"
                raise ConfigurationError(f"the broker's {name} does not fit into a code", remedy)

    @cached_property
    def identity(self) -> Identity:
        """Return the invite's own key, which signs proofs; its ``author`` is what the invite names."""
        return Identity.from_seed(self.seed)

    def to_text(self) -> str:
        """Return the code: ``LRN1`` and digits and capitals."""
        data = self.swarm.digest + self.seed + b"".join(map(pack, self.addresses))
        if self.password is not None:
            data += bytes([_LOGIN])
            for text in self.password:
                data += bytes([len(text.encode())]) + text.encode()
        return PREFIX + code_text.to_text(data)


def parse(text: str) -> InviteCode:
    """Read a code in any case, with spaces, dashes and ends of lines in it, and O, I and l for 0 and 1.

    Raises ConfigurationError, which names the character that is wrong; the code itself is never repeated.
    """
    if len(text) > _MAX_TYPED:
        raise ConfigurationError(f"{len(text)} characters where a code is expected", _AGAIN)
    code = _without_spaces(text)
    _check_prefix(code)
    return _read(code_text.from_text(code[len(PREFIX) :].translate(_SAME), before=len(PREFIX)))


def is_code(text: str) -> bool:
    """Return True if a text is meant to be a code, rather than a spoken one, a file or a swarm's id."""
    code = _without_spaces(text[:_MAX_TYPED])
    begin = code[: len(PREFIX)].translate(_SAME)
    return begin[:3] == PREFIX[:3].translate(_SAME) and begin[3:].isdecimal() and not {"/", "."} & set(code)


def grouped(code: str, size: int = 5, groups: int = 10) -> str:
    """Return a code in groups of ``size`` characters, ``groups`` in a line, to be read aloud or typed."""
    parts = [code[start : start + size] for start in range(0, len(code), size)]
    return "\n".join(" ".join(parts[start : start + groups]) for start in range(0, len(parts), groups))


def _without_spaces(text: str) -> str:
    """Return the characters that count; capitals of ASCII alone, as of other letters there may be more than one."""
    letters = (letter for letter in text if not letter.isspace() and letter not in _DASHES)
    return "".join(letter.upper() if letter.isascii() else letter for letter in letters)


def _check_prefix(code: str) -> None:
    begin, wanted = code[: len(PREFIX)].translate(_SAME), PREFIX.translate(_SAME)
    if begin == wanted:
        if len(code) > _MAX_CODE_CHARACTERS:
            raise ConfigurationError(f"a code of {len(code)} characters", f"one has at most {_MAX_CODE_CHARACTERS}")
        return
    if begin[:3] == wanted[:3] and begin[3:].isdecimal():
        raise ConfigurationError(
            f"the code is of version {begin[3]}, this program reads version {VERSION}",
            "upgrade learnae, or compare the code's fourth character with where it comes from",
        )
    raise ConfigurationError(f"the code begins with {code[:4]!r}", f"a code begins with {PREFIX}: copy all of it")


def _read(data: bytes) -> InviteCode:
    reader = Reader(data)
    swarm, seed = reader.take(_DIGEST_BYTES), reader.take(PRIVATE_KEY_BYTES)
    addresses: list[str] = []
    password = None
    while reader and reader.peek() != _LOGIN and len(addresses) < MAX_ADDRESSES:
        addresses.append(unpack(reader))
    if reader and reader.peek() == _LOGIN:
        reader.byte()
        password = _text(reader), _text(reader)
    code = InviteCode(Cid(DAG_CBOR, swarm), seed, tuple(addresses), password)
    if code.to_text() != PREFIX + code_text.to_text(data):
        raise ConfigurationError("the code is written in another way than this program writes it", _AGAIN)
    return code


def _text(reader: Reader) -> str:
    return reader.take(reader.byte()).decode("utf-8", "replace")
