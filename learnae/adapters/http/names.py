"""Names of blocks as strangers write them: any CID, of which only the digest counts. Pure.

A block is the same bytes whatever codec its name says (https://github.com/multiformats/cid).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from learnae.errors import EncodingError
from learnae.ipld.cid import DAG_CBOR, RAW, Cid

_MAX_CHARACTERS = 128
_SHA2_256, _IDENTITY = 0x12, 0x00
_DIGEST_BYTES = 32
_DAG_PB = 0x70
_DIGITS = {
    "f": "0123456789abcdef",
    "k": "0123456789abcdefghijklmnopqrstuvwxyz",
    "z": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
}


@dataclass(frozen=True, slots=True)
class BlockName:
    """Holds what a CID says: the ``cids`` under which a store may have the block, or its bytes in the name itself."""

    cids: tuple[Cid, ...] = ()
    inline: bytes | None = None

    @classmethod
    def parse(cls, text: str) -> BlockName:
        """Read a CID; raises EncodingError for what is none. One of another hash function names no block of ours.

        >>> BlockName.parse("bafkqaaa")
        BlockName(cids=(), inline=b'')
        """
        wrong = EncodingError(f"{text[:64]!r} where a CID is expected", "such as bafyrei…, in base32")
        if not text.isascii() or not 1 < len(text) <= _MAX_CHARACTERS:
            raise wrong
        try:
            data = _decoded(text)
            if data[:2] == bytes((_SHA2_256, _DIGEST_BYTES)):  # version 0 is a bare multihash
                codec, code, digest = _DAG_PB, _SHA2_256, data[2:]
                is_whole = text[0] not in "bfkz" and len(digest) == _DIGEST_BYTES
            else:
                version, data = _varint(data)
                codec, data = _varint(data)
                code, data = _varint(data)
                length, digest = _varint(data)
                is_whole = version == 1 and len(digest) == length
        except (ValueError, IndexError) as error:
            raise wrong from error
        if not is_whole or (code == _SHA2_256 and len(digest) != _DIGEST_BYTES):
            raise wrong
        if code == _IDENTITY:
            return cls(inline=digest)
        if code != _SHA2_256:
            return cls()
        codecs = (DAG_CBOR, RAW) if codec == DAG_CBOR else (RAW, DAG_CBOR)
        return cls(tuple(Cid(each, digest) for each in codecs))


def _decoded(text: str) -> bytes:
    """Return the bytes of a multibase text, or of a bare one of version 0; raises ValueError."""
    if text[0] == "b":
        data = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
        if "b" + base64.b32encode(data).decode().rstrip("=").lower() != text:
            raise ValueError("not canonical")
        return data
    is_bare = text[0] == "Q"
    digits, number = _DIGITS["z"] if is_bare else _DIGITS.get(text[0], ""), 0
    for character in text if is_bare else text[1:]:
        number = number * len(digits) + digits.index(character)
    return number.to_bytes((number.bit_length() + 7) // 8)  # no CID begins with a zero


def _varint(data: bytes) -> tuple[int, bytes]:
    """Return an unsigned varint of at most nine bytes, and what follows it; raises IndexError or ValueError."""
    value = 0
    for index in range(9):
        byte = data[index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index:
                raise ValueError("not the shortest form")
            return value, data[index + 1 :]
    raise ValueError("too long")
