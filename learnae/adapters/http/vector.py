"""The signed announcement of one member: what it knows, and which blocks it lacks (docs/protocol.md). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from learnae.errors import EncodingError
from learnae.ipld import dagcbor
from learnae.ipld.cid import DAG_CBOR, Cid
from learnae.ipld.fields import Fields
from learnae.protocol import announcements
from learnae.protocol.announcements import Announcement
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity
from learnae.protocol.limits import MAX_SEQ

MAX_WANTS = 64
MAX_BYTES = announcements.MAX_BYTES + 256 + 41 * MAX_WANTS  # a link has 41 bytes
_CONTEXT = b"learnae/http/1"  # what the signature is for


@dataclass(frozen=True, slots=True)
class Vector:
    """Holds what the member ``by``, a public key, said at ``time`` (Unix ms); others may bring it what it ``wants``.

    >>> alice, swarm = Identity.generate(), Cid.of(DAG_CBOR, b"swarm")
    >>> said = Vector(alice.author, 7, Announcement(), (Cid.of(DAG_CBOR, b"lost"),))
    >>> Vector.from_bytes(said.to_bytes(swarm, alice), swarm) == said
    True
    """

    by: bytes
    time: int
    content: Announcement
    wants: tuple[Cid, ...] = ()

    def to_bytes(self, swarm: Cid, identity: Identity) -> bytes:
        """Sign and encode it as dag-cbor; raises LimitError if there is more than an announcement holds."""
        self.content.check()
        fields = {**self.content.to_fields(), "by": self.by, "time": self.time, "wants": list(self.wants)}
        return announcements.sign_fields(fields, _CONTEXT, swarm, identity)

    @classmethod
    def from_bytes(cls, data: bytes, swarm: Cid) -> Vector:
        """Decode, check and verify; raises EncodingError or SignatureError."""
        content = dagcbor.decode(data, MAX_BYTES)
        fields = Fields(content, "announcement", EncodingError)
        by = fields.octets("by", PUBLIC_KEY_BYTES)
        fields.octets("sig", SIGNATURE_BYTES)
        time = fields.integer("time", 0, MAX_SEQ)
        vector = cls(by, time, Announcement.from_fields(content), fields.links("wants", MAX_WANTS))
        announcements.verify_fields(content, _CONTEXT, swarm)
        return vector


def tag_of(data: bytes) -> str:
    """Return the entity tag of a signed announcement: its CID."""
    return f'"{Cid.of(DAG_CBOR, data)}"'
