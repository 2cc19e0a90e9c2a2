"""The message: what peers send each other, signed, canonical and linked (docs/protocol.md).

Author, seq and signature come first, so that what a stranger or the past sends is refused before it is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from learnae.errors import EncodingError, LimitError, MessageError, WrongSwarmError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import Body, Sealed, parse_body
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from learnae.protocol.limits import MAX_SEQ, Limits

VERSION = 1
_CONTEXT = b"learnae/message/1"  # keeps these signatures from meaning anything elsewhere
_MAPS = range(0xA9, 0xB8)  # the first byte: a map of at most 23 fields, whose first ones are at fixed offsets
_START = b"av\x01bby\x58\x20"  # v is 1; by is 32 bytes
_AUTHOR = slice(1 + len(_START), 1 + len(_START) + PUBLIC_KEY_BYTES)
_SEQ = b"cseq"
_SIG = b"csig\x58\x40"  # sig is 64 bytes
_INTEGERS = 28  # the first byte of one that is not negative is smaller
_LONGER = {24: 1, 25: 2, 26: 4, 27: 8}  # bytes of an integer after its first one (RFC 8949, section 3)


def author_of(data: bytes) -> bytes | None:
    """Return who is said to have signed a message or a record, without decoding it; None for any other block."""
    return data[_AUTHOR] if data[1 : _AUTHOR.start] == _START and len(data) >= _AUTHOR.stop else None


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message; ``data`` are the bytes of its block, unknown fields included.

    Its ``body`` may be Sealed still: to verify a message takes no secret. Once it is opened, ``epoch`` is the name of
    the key epoch that it was sealed under.

    A ``checkpoint`` needs no past: what its author said before may be forgotten. The author declares that it has signed
    different messages with one seq below ``forked``, as after a restored backup; 0 if it never has.
    """

    cid: Cid
    data: bytes
    author: bytes
    seq: int
    parents: tuple[Cid, ...]
    time: int
    blocks: tuple[Cid, ...]
    body: Body
    checkpoint: bool
    forked: int
    epoch: bytes = b""

    def opened(self, body: object, limits: Limits) -> Message:
        """Return this message with what its sealed body says, a map; an open one as it is. Raises MessageError."""
        if not isinstance(self.body, Sealed):
            return self
        return replace(self, body=parse_body(body, limits), epoch=self.body.epoch)

    @property
    def previous(self) -> Cid | None:
        """Return the author's message before this one; None for its first."""
        return self.parents[0] if self.seq else None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message says before it is decoded; nothing of it is verified."""

    author: bytes
    seq: int
    signature: bytes
    signed: bytes  # the message without its signature

    @classmethod
    def read(cls, data: bytes) -> Envelope:
        """Read what is at the fixed offsets; raises EncodingError if ``data`` is no message of this version."""
        seq, end = _read_seq(data)
        start = end + len(_SIG)
        signature = data[start : start + SIGNATURE_BYTES]
        unsigned = bytes([data[0] - 1]) + data[1:end] + data[start + SIGNATURE_BYTES :]
        return cls(data[_AUTHOR], seq, signature, unsigned)

    @staticmethod
    def place(data: bytes) -> tuple[bytes, int]:
        """Read author and seq alone; raises EncodingError as ``read`` does."""
        return data[_AUTHOR], _read_seq(data)[0]


def _read_seq(data: bytes) -> tuple[int, int]:
    """Return the seq, and where the signature's name begins; raises EncodingError if that is no message."""
    start = _AUTHOR.stop + len(_SEQ)
    if len(data) <= start or data[0] not in _MAPS or data[1 : _AUTHOR.start] != _START:
        raise EncodingError(f"a block of {len(data)} bytes is no message of version {VERSION}", "it is ignored")
    first = data[start]
    end = start + 1 + _LONGER.get(first, 0)
    seq = first if end == start + 1 else int.from_bytes(data[start + 1 : end], "big")
    is_there = data[_AUTHOR.stop : start] == _SEQ and first < _INTEGERS and data[end : end + len(_SIG)] == _SIG
    if not is_there or len(data) < end + len(_SIG) + SIGNATURE_BYTES:
        raise EncodingError("a message that does not begin with v, by, seq and sig", "it is ignored")
    return seq, end


def compose(
    identity: Identity,
    swarm: Cid,
    seq: int,
    parents: tuple[Cid, ...],
    time: int,
    body: Mapping[str, Any] | bytes,
    blocks: tuple[Cid, ...] = (),
    *,
    checkpoint: bool = False,
    forked: int = 0,
) -> Message:
    """Sign a new message of ``identity``; ``time`` in Unix milliseconds. The first one is always a checkpoint.

    A ``body`` of bytes is a sealed one.
    """
    fields: dict[str, Any] = {
        "v": VERSION,
        "by": identity.author,
        "seq": seq,
        "body": body,
        "time": time,
        "swarm": swarm,
        "blocks": blocks,
        "forked": forked,
        "parents": parents,
        "checkpoint": checkpoint or seq == 0,
    }
    unsigned = dagcbor.encode(fields)
    fields["sig"] = identity.sign(_CONTEXT + unsigned)
    return _read(_signed(unsigned, fields["sig"]), fields, Limits())


def _signed(unsigned: bytes, signature: bytes) -> bytes:
    """Return the message that has the signature in its place, after seq."""
    start = _AUTHOR.stop + len(_SEQ)
    end = start + 1 + _LONGER.get(unsigned[start], 0)
    return bytes([unsigned[0] + 1]) + unsigned[1:end] + _SIG + signature + unsigned[end:]


def open_message(data: bytes, swarm: Cid, limits: Limits) -> Message:
    """Decode and verify a message of ``swarm``, in the order of docs/protocol.md.

    Raises LimitError, EncodingError, WrongSwarmError, MessageError or SignatureError. What depends
    on the rest of the tangle (parents, order, time) is checked when the message is attached.
    """
    if len(data) > limits.message_bytes:
        raise LimitError(f"a message of {len(data)} bytes", f"at most {limits.message_bytes} are read")
    envelope = Envelope.read(data)
    fields = dagcbor.decode(data, limits.message_bytes)
    message = _read(data, fields, limits)
    if fields["swarm"] != swarm:
        raise WrongSwarmError(f"a message of swarm {fields['swarm']}", f"this peer belongs to {swarm}")
    verify(message.author, envelope.signature, _CONTEXT + envelope.signed)
    return message


def _read(data: bytes, mapping: object, limits: Limits) -> Message:
    fields = Fields(mapping, "message", MessageError)
    version = fields.integer("v")
    if version != VERSION:
        raise EncodingError(f"a message of version {version}", f"this peer reads version {VERSION}: upgrade it")
    fields.link("swarm")
    fields.octets("sig", SIGNATURE_BYTES)
    seq, checkpoint = fields.integer("seq", 0, MAX_SEQ), fields.boolean("checkpoint")
    parents, body = fields.links("parents", limits.parents), fields.value("body")
    if seq > 0 and not parents:
        raise MessageError("a message with seq > 0 and no parents", "parents[0] is the author's previous message")
    if seq == 0 and not checkpoint:
        raise MessageError("the first message of an author is no checkpoint", "nothing comes before it")
    return Message(
        cid=Cid.of(DAG_CBOR, data),
        data=data,
        author=fields.octets("by", PUBLIC_KEY_BYTES),
        seq=seq,
        parents=parents,
        time=fields.integer("time"),
        blocks=fields.links("blocks", limits.blocks, repeated=True),
        body=Sealed(body) if isinstance(body, bytes) else parse_body(body, limits),
        checkpoint=checkpoint,
        forked=fields.integer("forked", 0, seq),
    )
