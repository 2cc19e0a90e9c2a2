"""The wire format of the exchange over MQTT: wants, answers with a message's chain, links. Pure.

An answer is one or more blocks, each after its length in four bytes, big-endian: first the one that was asked for,
then (dag-cbor) what its author has said before, each block the one that the block before it continues.
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
from learnae.protocol.limits import MAX_SEQ, Limits
from learnae.protocol.messages import Envelope

_LENGTH = struct.Struct(">I")
_WANTED = 64  # names in one message
_WANT_BYTES = 8192
MOST_CHAIN = Limits().since + 1  # messages in one answer: all that an author may say after a checkpoint, and that
_CHAIN_BYTES = MAX_BLOCK_BYTES  # of an answer, before its last message: as much as the largest block


class Readable(Protocol):
    """A store that blocks are read from."""

    def get(self, cid: Cid) -> bytes:
        """Return the bytes of a block; raises BlockMissingError."""

    def has(self, cid: Cid) -> bool:
        """Return True if ``get`` would succeed now."""


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for blocks; for messages with their authors' earlier ones, down to seq ``start`` or a checkpoint."""

    cids: tuple[Cid, ...]
    start: int = 0

    def to_bytes(self) -> bytes:
        """Return the dag-cbor map that is published."""
        return dagcbor.encode({"want": list(self.cids), "from": self.start})

    @classmethod
    def from_bytes(cls, data: bytes) -> Want:
        """Read the want of another peer; raises EncodingError."""
        fields = Fields(dagcbor.decode(data, _WANT_BYTES), "want", EncodingError)
        return cls(fields.links("want", _WANTED), fields.integer("from", 0, MAX_SEQ, default=0))


@dataclass(frozen=True, slots=True)
class Block:
    """A block on its way, decoded once, unverified: good enough to look further.

    If it is a message, ``previous`` is the one that it continues, None at a checkpoint; ``blocks`` are its frame's.
    """

    cid: Cid
    data: bytes
    author: bytes = b""
    seq: int = 0
    previous: Cid | None = None
    blocks: tuple[Cid, ...] = ()

    @classmethod
    def read(cls, cid: Cid, data: bytes) -> Block:
        """Decode the block that ``cid`` names."""
        limits = Limits()
        if cid.codec != DAG_CBOR:
            return cls(cid, data)
        try:
            envelope = Envelope.read(data[: limits.message_bytes])
            fields = Fields(dagcbor.decode(data, limits.message_bytes), "message", EncodingError)
            parents, blocks = fields.links("parents", limits.parents), fields.links("blocks", limits.blocks)
            is_first = fields.boolean("checkpoint") or not parents
        except LearnaeError:
            return cls(cid, data)
        return cls(cid, data, envelope.author, envelope.seq, None if is_first else parents[0], blocks)


def parse_links(data: bytes) -> Sequence[Cid]:
    """Read a list of links; raises EncodingError."""
    return Fields({"have": dagcbor.decode(data, _WANT_BYTES)}, "claim", EncodingError).links("have", _WANTED)


def chain_of(cid: Cid, store: Readable, start: int, most_bytes: int = _CHAIN_BYTES) -> list[bytes]:
    """Return a block, and before a message its author's earlier ones that are here, newest first.

    They end at seq ``start``, at a checkpoint, or at ``most_bytes``. Raises BlockMissingError.
    """
    block = Block.read(cid, store.get(cid))
    chain, size = [block.data], len(block.data)
    while block.previous is not None and block.seq > start and len(chain) < MOST_CHAIN and size <= most_bytes:
        if not store.has(block.previous):
            break
        block = Block.read(block.previous, store.get(block.previous))
        chain.append(block.data)
        size += len(block.data)
    return chain


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


def linked(block: Block, others: Sequence[bytes]) -> Iterator[Block]:
    """Yield those of ``others`` that are the past of ``block``, each named by the one before it."""
    for data in others:
        if block.previous is None or not block.previous.names(data):
            return
        block = Block.read(block.previous, data)
        yield block
