"""What one datagram says: who listens where, signed. An address to try, never a proof of who is there. Pure."""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from learnae.errors import EncodingError, SignatureError
from learnae.ipld.cid import Cid
from learnae.protocol.identity import Identity

QUESTION = b"LRNQ\x01"  # those that have a beacon answer with it
SWARM_BYTES = 8
BEACON_BYTES = 112
_MAGIC = b"LRNB\x01"
_BODY = struct.Struct(">5sBH8s32s")  # magic, number, port, swarm, peer
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Beacon:
    """``peer`` (32 bytes) listens on a TCP ``port``: with blocks of ``swarm``, or with the offer of a ``number``.

    ``swarm`` is 8 bytes, as ``open_name`` or ``sealed_name`` give them; ``number`` is 0 where blocks are served.
    """

    swarm: bytes
    peer: bytes
    port: int
    number: int = 0

    def to_bytes(self, identity: Identity) -> bytes:
        """Return the signed datagram of ``identity``, which is ``peer``."""
        body = _BODY.pack(_MAGIC, self.number, self.port, self.swarm, self.peer)
        return body + identity.sign(body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Beacon:
        """Read a datagram; raises EncodingError, or SignatureError if its peer did not sign it."""
        if len(data) != BEACON_BYTES or not data.startswith(_MAGIC):
            raise EncodingError(f"a datagram of {len(data)} bytes that is no beacon of this version")
        _, number, port, swarm, peer = _BODY.unpack_from(data)
        if not port:
            raise EncodingError("a beacon without a port")
        try:
            Ed25519PublicKey.from_public_bytes(peer).verify(data[_BODY.size :], data[: _BODY.size])
        except InvalidSignature as error:
            raise SignatureError("a beacon that its peer did not sign") from error
        return cls(swarm, peer, port, number)


def open_name(swarm: Cid) -> bytes:
    """Return how beacons name an open swarm: 8 bytes of its id."""
    return swarm.digest[:SWARM_BYTES]


def sealed_name(root: bytes, time: int) -> bytes:
    """Return how beacons name a sealed swarm on the day (UTC) of ``time`` (Unix ms): only ``root`` tells which."""
    day = (time // _DAY_MS).to_bytes(8)
    return hmac.digest(root, b"learnae/beacon/1" + day, "sha256")[:SWARM_BYTES]


def sealed_names(root: bytes, time: int) -> frozenset[bytes]:
    """Return the names by which beacons are known at ``time`` (Unix ms): clocks may be a day apart."""
    return frozenset(sealed_name(root, max(0, time + days * _DAY_MS)) for days in (-1, 0, 1))
