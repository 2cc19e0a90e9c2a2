"""The record: what members say about who is in, signed, canonical and linked (docs/protocol.md).

Author and signature come first, so that a record is told from a message, and its author known, before it is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

from learnae.errors import EncodingError, LimitError, MembershipError, SignatureError, WrongSwarmError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify

VERSION = 1
MAX_PAST = 64  # links: heads that a record names
MAX_BYTES = 4096  # of a record: 64 links are 2.6 kB
MAX_REKEY_BYTES = 64 * 1024  # 85 bytes a member
MAX_USES = 16  # of an invite
EPOCH_BYTES = 8  # of a digest: the name of a key epoch
SEALED_SECRET_BYTES = 32 + 16  # with the tag of ChaCha20-Poly1305
ANY_ROLE = "any"
INVITE_ROLES = (ANY_ROLE, "agent", "trainer")
REMOVE, ADMIT = "remove", "admit"

_CONTEXT = b"learnae/record/1"  # keeps these signatures from meaning anything elsewhere
_JOIN_CONTEXT = b"learnae/join/1"
_MAPS = range(0xA7, 0xB8)  # the first byte: a map of at most 23 fields, whose first ones are at fixed offsets
_START = b"av\x01bby\x58\x20"  # v is 1; by is 32 bytes
_AUTHOR = slice(1 + len(_START), 1 + len(_START) + PUBLIC_KEY_BYTES)
_SIG = b"csig\x58\x40"  # sig is 64 bytes; a message has seq here
_SIGNATURE = slice(_AUTHOR.stop + len(_SIG), _AUTHOR.stop + len(_SIG) + SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True)
class Invite:
    """Permission for ``uses`` joins that ``key`` signs for, in welcomes dated until ``expires`` (Unix ms)."""

    key: bytes
    uses: int
    expires: int
    role: str = ANY_ROLE

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return ()

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {"kind": "invite", "key": self.key, "uses": self.uses, "expires": self.expires, "role": self.role}

    @classmethod
    def from_fields(cls, fields: Fields) -> Invite:
        """Read and bound what a peer wrote."""
        return cls(
            fields.octets("key", PUBLIC_KEY_BYTES),
            fields.integer("uses", 1, MAX_USES),
            fields.integer("expires"),
            fields.choice("role", INVITE_ROLES),
        )


@dataclass(frozen=True, slots=True)
class Uninvite:
    """The ``invite`` ends: said by its author, or by as many members as a removal takes."""

    invite: Cid

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return (self.invite,)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {"kind": "uninvite", "invite": self.invite}

    @classmethod
    def from_fields(cls, fields: Fields) -> Uninvite:
        """Read and bound what a peer wrote."""
        return cls(fields.link("invite"))


@dataclass(frozen=True, slots=True)
class Join:
    """The author asks to come in ``via`` an invite whose key has signed the ``proof``; both None if members vouch."""

    x25519: bytes
    via: Cid | None = None
    proof: bytes | None = None

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return () if self.via is None else (self.via,)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {"kind": "join", "x25519": self.x25519, "via": self.via, "proof": self.proof}

    @classmethod
    def from_fields(cls, fields: Fields) -> Join:
        """Read and bound what a peer wrote."""
        via = fields.optional_link("via")
        proof = fields.value("proof")
        if (via is None) != (proof is None):
            raise fields.error("proof", proof, f"{SIGNATURE_BYTES} bytes with via, null without")
        signature = None if via is None else fields.octets("proof", SIGNATURE_BYTES)
        return cls(fields.octets("x25519", PUBLIC_KEY_BYTES), via, signature)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The ``join`` is granted; ``sealed`` to the joiner is the secret of the key ``epoch``."""

    join: Cid
    epoch: bytes
    ephemeral: bytes
    sealed: bytes

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return (self.join,)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {
            "kind": "welcome",
            "join": self.join,
            "epoch": self.epoch,
            "ephemeral": self.ephemeral,
            "sealed": self.sealed,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Welcome:
        """Read and bound what a peer wrote."""
        return cls(
            fields.link("join"),
            fields.octets("epoch", EPOCH_BYTES),
            fields.octets("ephemeral", PUBLIC_KEY_BYTES),
            fields.octets("sealed", SEALED_SECRET_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Vote:
    """One voice that ``peer`` is removed, or admitted: that names its ``join``, unless the peer founded the swarm."""

    peer: bytes
    choice: str
    join: Cid | None = None

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return () if self.join is None else (self.join,)

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {"kind": "vote", "peer": self.peer, "choice": self.choice, "join": self.join}

    @classmethod
    def from_fields(cls, fields: Fields) -> Vote:
        """Read and bound what a peer wrote."""
        choice, join = fields.choice("choice", (REMOVE, ADMIT)), fields.optional_link("join")
        if choice == REMOVE and join is not None:
            raise fields.error("join", join, "null in a vote to remove")
        return cls(fields.octets("peer", PUBLIC_KEY_BYTES), choice, join)


@dataclass(frozen=True, slots=True)
class Leave:
    """The author goes."""

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return ()

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {"kind": "leave"}

    @classmethod
    def from_fields(cls, fields: Fields) -> Leave:
        """Read and bound what a peer wrote."""
        return cls()


@dataclass(frozen=True, slots=True)
class Rekey:
    """A new secret, which no peer of ``excludes`` has; ``sealed`` to each of the others: (key, 48 bytes).

    Who opens it opens ``root``, too: what places to meet are named by.
    """

    excludes: tuple[bytes, ...]
    ephemeral: bytes
    sealed: tuple[tuple[bytes, bytes], ...]
    root: bytes

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return ()

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {
            "kind": "rekey",
            "root": self.root,
            "excludes": self.excludes,
            "ephemeral": self.ephemeral,
            "sealed": self.sealed,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Rekey:
        """Read and bound what a peer wrote."""
        excludes, sealed = fields.value("excludes"), fields.value("sealed")
        if not isinstance(excludes, (list, tuple)) or not all(_is_octets(peer, PUBLIC_KEY_BYTES) for peer in excludes):
            raise fields.error("excludes", excludes, f"a list of keys of {PUBLIC_KEY_BYTES} bytes")
        if not isinstance(sealed, (list, tuple)) or not all(map(_is_sealed, sealed)):
            raise fields.error("sealed", sealed, f"a list of pairs: a key, {SEALED_SECRET_BYTES} bytes")
        for name, keys in (("excludes", list(excludes)), ("sealed", [peer for peer, _ in sealed])):
            if any(first >= second for first, second in pairwise(keys)):
                raise fields.error(name, f"{len(keys)} keys", "in ascending order of the keys, none twice")
        pairs = tuple((peer, box) for peer, box in sealed)
        return cls(
            tuple(excludes),
            fields.octets("ephemeral", PUBLIC_KEY_BYTES),
            pairs,
            fields.octets("root", SEALED_SECRET_BYTES),
        )


def _is_octets(value: object, length: int) -> bool:
    return isinstance(value, bytes) and len(value) == length


def _is_sealed(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and _is_octets(value[0], PUBLIC_KEY_BYTES)
        and _is_octets(value[1], SEALED_SECRET_BYTES)
    )


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind of a later version: kept and passed on, changes nothing."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def links(self) -> tuple[Cid, ...]:
        """Return the records that the body names."""
        return ()

    def to_fields(self) -> dict[str, Any]:
        """Return the map that goes into the record."""
        return {**self.fields, "kind": self.kind}


Body = Invite | Uninvite | Join | Welcome | Vote | Leave | Rekey | Unknown
_KINDS: dict[str, type[Invite | Uninvite | Join | Welcome | Vote | Leave | Rekey]] = {
    "invite": Invite,
    "uninvite": Uninvite,
    "join": Join,
    "welcome": Welcome,
    "vote": Vote,
    "leave": Leave,
    "rekey": Rekey,
}


@dataclass(frozen=True, slots=True)
class Record:
    """A verified record; ``data`` are the bytes of its block, unknown fields included; ``time`` in Unix ms."""

    cid: Cid
    data: bytes = field(repr=False)
    swarm: Cid
    author: bytes
    body: Body
    past: tuple[Cid, ...]
    time: int

    @property
    def needs(self) -> tuple[Cid, ...]:
        """Return the records that come right before this one: its past, and what its body names."""
        return tuple(dict.fromkeys((*self.past, *self.body.links)))


def is_record(data: bytes) -> bool:
    """Return True if what is at the fixed offsets is a record's and not a message's; nothing is verified."""
    return (
        len(data) >= _SIGNATURE.stop
        and data[0] in _MAPS
        and data[1 : _AUTHOR.start] == _START
        and data[_AUTHOR.stop : _SIGNATURE.start] == _SIG
    )


def record_author(data: bytes) -> bytes:
    """Return the author of a block of which ``is_record`` is true; not verified."""
    return data[_AUTHOR]


def compose_record(identity: Identity, swarm: Cid, past: Sequence[Cid], time: int, body: Body) -> Record:
    """Sign a new record of ``identity``; ``time`` in Unix milliseconds. Raises LimitError if it is too large."""
    fields: dict[str, Any] = {
        "v": VERSION,
        "by": identity.author,
        "body": body.to_fields(),
        "past": sorted(past),
        "time": time,
        "swarm": swarm,
    }
    fields["sig"] = identity.sign(_CONTEXT + dagcbor.encode(fields))
    return _read(dagcbor.encode(fields), fields)


def open_record(data: bytes, swarm: Cid) -> Record:
    """Decode and verify a record of ``swarm``.

    Raises LimitError, EncodingError, MembershipError, WrongSwarmError or SignatureError. What depends on other records
    is decided by the roster.
    """
    if len(data) > MAX_REKEY_BYTES:
        raise LimitError(f"a record of {len(data)} bytes", f"at most {MAX_REKEY_BYTES} are read")
    if not is_record(data):
        raise EncodingError(f"a block of {len(data)} bytes is no record of version {VERSION}", "it is ignored")
    record = _read(data, dagcbor.decode(data, MAX_REKEY_BYTES))
    if record.swarm != swarm:
        raise WrongSwarmError(f"a record of swarm {record.swarm}", f"this peer belongs to {swarm}")
    signed = bytes([data[0] - 1]) + data[1 : _AUTHOR.stop] + data[_SIGNATURE.stop :]
    verify(record.author, data[_SIGNATURE], _CONTEXT + signed)
    return record


def _read(data: bytes, mapping: object) -> Record:
    fields = Fields(mapping, "record", MembershipError)
    body = _parse_body(fields.value("body"))
    most = MAX_REKEY_BYTES if isinstance(body, Rekey) else MAX_BYTES
    if len(data) > most:
        kind = fields.fields("body").text("kind")
        raise LimitError(f"a record of kind {kind} of {len(data)} bytes", f"at most {most} are taken")
    return Record(
        cid=Cid.of(DAG_CBOR, data),
        data=data,
        swarm=fields.link("swarm"),
        author=fields.octets("by", PUBLIC_KEY_BYTES),
        body=body,
        past=fields.links("past", MAX_PAST),
        time=fields.integer("time"),
    )


def _parse_body(value: object) -> Body:
    fields = Fields(value, "body", MembershipError)
    kind = fields.text("kind")
    known = _KINDS.get(kind)
    if known is not None:
        return known.from_fields(fields)
    return Unknown(kind, {name: fields.value(name) for name in fields if name != "kind"})


def prove_join(key: Identity, swarm: Cid, joiner: bytes) -> bytes:
    """Return the proof that ``joiner`` holds the invite's ``key``."""
    return key.sign(_JOIN_CONTEXT + swarm.to_bytes() + joiner)


@lru_cache(maxsize=8192)
def is_proven(key: bytes, swarm: Cid, joiner: bytes, proof: bytes) -> bool:
    """Return True if the invite's ``key`` has signed for ``joiner``; remembered, as a roster asks again and again."""
    try:
        verify(key, proof, _JOIN_CONTEXT + swarm.to_bytes() + joiner)
    except SignatureError:
        return False
    return True
