"""The message: what peers send each other, signed, canonical and linked (docs/protocol.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnae.errors import EncodingError, LimitError, MessageError, WrongSwarmError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ipld.fields import Fields
from learnae.protocol.bodies import Body, parse_body
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from learnae.protocol.limits import Limits

VERSION = 1
_CONTEXT = b"learnae/message/1"  # keeps these signatures from meaning anything elsewhere


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message; ``data`` are the bytes of its block, unknown fields included."""

    cid: Cid
    data: bytes
    author: bytes
    seq: int
    parents: tuple[Cid, ...]
    time: int
    blocks: tuple[Cid, ...]
    body: Body


def compose(
    identity: Identity,
    swarm: Cid,
    seq: int,
    parents: tuple[Cid, ...],
    time: int,
    body: Mapping[str, Any],
    blocks: tuple[Cid, ...] = (),
) -> Message:
    """Sign a new message of ``identity``; ``time`` in Unix milliseconds."""
    fields: dict[str, Any] = {
        "v": VERSION,
        "swarm": swarm,
        "author": identity.author,
        "seq": seq,
        "parents": parents,
        "time": time,
        "blocks": blocks,
        "body": body,
    }
    fields["sig"] = identity.sign(_CONTEXT + dagcbor.encode(fields))
    return _read(dagcbor.encode(fields), fields, Limits())


def open_message(data: bytes, swarm: Cid, limits: Limits) -> Message:
    """Decode and verify a message of ``swarm``, in the order of docs/protocol.md.

    Raises LimitError, EncodingError, WrongSwarmError, MessageError or SignatureError. What depends
    on the rest of the tangle (parents, order, time) is checked when the message is attached.
    """
    if len(data) > limits.message_bytes:
        raise LimitError(f"a message of {len(data)} bytes", f"at most {limits.message_bytes} are read")
    fields = dagcbor.decode(data, limits.message_bytes)
    message = _read(data, fields, limits)
    if fields["swarm"] != swarm:
        raise WrongSwarmError(f"a message of swarm {fields['swarm']}", f"this peer belongs to {swarm}")
    signature = Fields(fields, "message", MessageError).octets("sig", SIGNATURE_BYTES)
    unsigned = {name: value for name, value in fields.items() if name != "sig"}
    verify(message.author, signature, _CONTEXT + dagcbor.encode(unsigned))
    return message


def _read(data: bytes, mapping: object, limits: Limits) -> Message:
    fields = Fields(mapping, "message", MessageError)
    version = fields.integer("v")
    if version != VERSION:
        raise EncodingError(f"a message of version {version}", f"this peer reads version {VERSION}: upgrade it")
    fields.link("swarm")
    seq = fields.integer("seq")
    parents = fields.links("parents", limits.parents)
    if seq > 0 and not parents:
        raise MessageError("a message with seq > 0 and no parents", "parents[0] is the author's previous message")
    return Message(
        cid=Cid.of(DAG_CBOR, data),
        data=data,
        author=fields.octets("author", PUBLIC_KEY_BYTES),
        seq=seq,
        parents=parents,
        time=fields.integer("time"),
        blocks=fields.links("blocks", limits.blocks),
        body=parse_body(fields.value("body"), limits),
    )
