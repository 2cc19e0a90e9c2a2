"""Content identifiers: the name of a block is the hash of its bytes.

Only CIDv1 with sha2-256 and the codecs raw and dag-cbor exist here
(https://github.com/multiformats/cid); text is base32, lower case, prefix ``b``.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from learnae.basics.hashes import sha256
from learnae.basics.overriding import override
from learnae.errors import EncodingError

RAW = 0x55
DAG_CBOR = 0x71
MAX_BLOCK_BYTES = 1 << 20  # Kubo before 0.40 refuses larger blocks

_SHA2_256 = b"\x12\x20"  # multihash function code, digest length
_CODECS = (RAW, DAG_CBOR)
CID_BYTES = 36


class Cid(NamedTuple):
    """The name of a block: ``codec`` (RAW or DAG_CBOR) and the 32-byte ``digest``.

    A tuple, as a tangle looks names up all the time: no other class is hashed and compared so fast.

    >>> cid = Cid.of(RAW, b"hello")
    >>> str(cid)
    'bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq'
    >>> Cid.parse(str(cid)).names(b"hello")
    True
    """

    codec: int
    digest: bytes

    @classmethod
    def of(cls, codec: int, data: bytes) -> Cid:
        """Name ``data`` as a block of ``codec``."""
        return cls(codec, sha256(data))

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Read the 36-byte binary form; raises EncodingError."""
        if len(data) != CID_BYTES or data[0] != 1 or data[1] not in _CODECS or data[2:4] != _SHA2_256:
            problem = f"not a CID of this protocol: {data[:8].hex()}… ({len(data)} bytes)"
            raise EncodingError(problem, "use CIDv1, sha2-256, raw or dag-cbor")
        return cls(data[1], data[4:])

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the text form, such as ``bafyrei…``; raises EncodingError."""
        if len(text) != 59 or text[0] != "b":
            raise EncodingError(f"not a CID: {text[:64]!r}", "a CID has 59 characters and starts with b")
        try:
            data = base64.b32decode(text[1:].upper() + "======")
        except ValueError as error:
            raise EncodingError(f"not a CID: {text[:64]!r}", "only base32 is read") from error
        cid = cls.from_bytes(data)
        if str(cid) != text:
            raise EncodingError(f"not a canonical CID: {text!r}", "write it in lower case")
        return cid

    def to_bytes(self) -> bytes:
        """Return the 36-byte binary form."""
        return bytes((1, self.codec)) + _SHA2_256 + self.digest

    def names(self, data: bytes) -> bool:
        """Return True if ``data`` is the block that this CID names."""
        return sha256(data) == self.digest

    @property
    def short(self) -> str:
        """Return the last eight characters, for tables that people read."""
        return str(self)[-8:]

    @override
    def __str__(self) -> str:
        return "b" + base64.b32encode(self.to_bytes()).decode().rstrip("=").lower()
