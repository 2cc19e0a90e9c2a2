"""The wire format of the exchange over MQTT: wants, answers with a part of a message's past, links. Pure.

An answer is one or more blocks, each after its length in four bytes, big-endian: first the one that was
asked for, then ancestors of it (dag-cbor), each named as a parent by one before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from learnae.errors import EncodingError, LearnaeError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, MAX_BLOCK_BYTES, Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES
from learnae.protocol.limits import Limits

_LENGTH = struct.Struct(">I")
_WANTED = 64  # names in one message
_WANT_BYTES = 8192
MOST_CONE = 256  # messages in one answer
_CONE_BYTES = 256 * 1024  # of an answer, before its last message


class Readable(Protocol):
    """A store that blocks are read from."""

    def get(self, cid: Cid) -> bytes:
        """Return the bytes of a block; raises BlockMissingError."""

    def has(self, cid: Cid) -> bool:
        """Return True if ``get`` would succeed now."""


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for blocks; messages among them with up to ``cone`` - 1 ancestors each."""

    cids: tuple[Cid, ...]
    cone: int = 1

    def to_bytes(self) -> bytes:
        """Return the dag-cbor map that is published."""
        return dagcbor.encode({"want": list(self.cids), "cone": self.cone})

    @classmethod
    def from_bytes(cls, data: bytes) -> Want:
        """Read the want of another peer; raises EncodingError."""
        fields = Fields(dagcbor.decode(data, _WANT_BYTES), "want", EncodingError)
        return cls(fields.links("want", _WANTED), fields.integer("cone", 1, MOST_CONE, default=1))


@dataclass(frozen=True, slots=True)
class Links:
    """The names in a message; none if the block is no message. Not verified: good enough to look further."""

    author: bytes = b""
    parents: tuple[Cid, ...] = ()
    blocks: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """A block on its way in, decoded once: ``links`` are those of the message in ``data``, if it is one."""

    cid: Cid
    data: bytes
    links: Links

    @classmethod
    def read(cls, cid: Cid, data: bytes) -> Block:
        """Decode the block that ``cid`` names, unverified."""
        return cls(cid, data, links_of(data) if cid.codec == DAG_CBOR else Links())


def links_of(data: bytes) -> Links:
    """Return the links of the message in ``data``."""
    limits = Limits()
    try:
        fields = Fields(dagcbor.decode(data, limits.message_bytes), "message", EncodingError)
        author = fields.octets("author", PUBLIC_KEY_BYTES)
        return Links(author, fields.links("parents", limits.parents), fields.links("blocks", limits.blocks))
    except LearnaeError:
        return Links()


def parse_links(data: bytes) -> Sequence[Cid]:
    """Read a list of links; raises EncodingError."""
    return Fields({"have": dagcbor.decode(data, _WANT_BYTES)}, "claim", EncodingError).links("have", _WANTED)


def cone_of(cid: Cid, store: Readable, most: int, most_bytes: int = _CONE_BYTES) -> list[bytes]:
    """Return a block and up to ``most`` - 1 ancestors that are here, nearest first; raises BlockMissingError."""
    blocks = [store.get(cid)]
    seen, level, size = {cid}, [blocks[0]], len(blocks[0])
    while cid.codec == DAG_CBOR and level:
        parents = dict.fromkeys(parent for data in level for parent in links_of(data).parents if parent not in seen)
        level = []
        for parent in parents:
            if len(blocks) >= most or size > most_bytes:
                return blocks
            seen.add(parent)
            if store.has(parent):
                level.append(store.get(parent))
                size += len(level[-1])
                blocks.append(level[-1])
    return blocks


def pack(blocks: Sequence[bytes]) -> bytes:
    """Return ``blocks`` as an answer."""
    return b"".join(part for block in blocks for part in (_LENGTH.pack(len(block)), block))


def unpack(payload: bytes, most: int) -> list[bytes]:
    """Return the one to ``most`` blocks of an answer; raises EncodingError."""
    blocks: list[bytes] = []
    position = 0
    while position < len(payload):
        if len(blocks) >= most or position + _LENGTH.size > len(payload):
            raise EncodingError("an answer of too many blocks, or of half a one", "it is ignored")
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        if length > MAX_BLOCK_BYTES or position + length > len(payload):
            raise EncodingError(f"a block of {length} bytes in an answer of {len(payload)}", "it is ignored")
        blocks.append(payload[position : position + length])
        position += length
    if not blocks:
        raise EncodingError("an empty answer", "it is ignored")
    return blocks


def reachable(root: Block, others: Sequence[bytes]) -> Iterator[Block]:
    """Yield those of ``others`` that are ancestors of ``root``, each named by one before it."""
    named = set(root.links.parents)
    for data in others:
        cid = Cid.of(DAG_CBOR, data)
        if cid in named and cid != root.cid:
            ancestor = Block.read(cid, data)
            named.update(ancestor.links.parents)
            yield ancestor
