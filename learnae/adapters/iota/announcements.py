"""Heads in zero-value transactions: where they are found, what they look like, which of them count.

Time is cut into epochs, each with a tag of its own: nodes give at most about 1,000 transactions a tag,
and a peer that comes back later reads the epochs that it missed. docs/protocol.md has the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from learnae.adapters.iota.node import MESSAGE_BYTES, TAG_TRYTES
from learnae.adapters.iota.proof_of_work import HASH_TRYTES
from learnae.adapters.iota.pyota import trytes_of
from learnae.bounded_dict import BoundedDict
from learnae.errors import EncodingError, FutureError, ReplayError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from learnae.protocol.limits import MINUTE, Limits

EPOCH = 10 * MINUTE  # 50 peers that announce twice a minute stay below what a node gives for one tag
HEADS = 23  # links of 41 bytes that fit into one transaction beside author, time and signature
PARTS = -(-Limits().heads // HEADS)

_CONTEXT = b"learnae/iota/1"  # what the signature is for
_LENGTH_BYTES = 2
_VERSION = 1
_MAX_AUTHORS = 4096  # remembered; more peers than one swarm should have


class OpenChannel:
    """Says where an open swarm's transactions are, and dresses their bytes: any peer that knows its id finds them.

    This is the one place that differs from sealed swarms, whose tags, addresses and encryption come of their key.
    """

    def __init__(self, swarm: Cid) -> None:
        self._swarm = swarm.to_bytes()

    def tag(self, epoch: int) -> str:
        """Return what the transactions of an epoch are found by: 27 trytes."""
        return trytes_of(self._digest(b"tag", epoch), TAG_TRYTES)

    def address(self, epoch: int) -> str:
        """Return where they are sent to: 81 trytes, the last one 9, as of every address."""
        return trytes_of(self._digest(b"address", epoch), HASH_TRYTES - 1) + "9"

    def dress(self, data: bytes) -> bytes:
        """Put the length before the data, at most ``MESSAGE_BYTES``: transactions are filled up with zeros."""
        return len(data).to_bytes(_LENGTH_BYTES) + data

    def undress(self, data: bytes) -> bytes:
        """Return what was dressed; raises EncodingError for what this swarm's members cannot have written."""
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
        if end > len(data) or data[end:].strip(b"\x00"):
            raise EncodingError("a transaction under this swarm's tag that is no announcement")
        return data[_LENGTH_BYTES:end]

    def _digest(self, what: bytes, epoch: int) -> bytes:
        return hashlib.sha512(b"/".join((_CONTEXT, what, self._swarm, epoch.to_bytes(8)))).digest()


@dataclass(frozen=True, slots=True)
class Announcement:
    """Holds some of the ``heads`` that ``author`` knew at ``time`` (Unix ms); ``part`` counts from 0."""

    author: bytes
    time: int
    part: int
    heads: tuple[Cid, ...]

    @property
    def epoch(self) -> int:
        """Return the epoch under whose tag it must be."""
        return self.time // EPOCH

    def to_bytes(self, swarm: Cid, identity: Identity) -> bytes:
        """Sign and encode it as dag-cbor."""
        fields = {"v": _VERSION, "author": self.author, "time": self.time, "part": self.part, "heads": list(self.heads)}
        return dagcbor.encode({**fields, "sig": identity.sign(_signed_bytes(swarm, fields))})

    @classmethod
    def from_bytes(cls, data: bytes, swarm: Cid) -> Announcement:
        """Decode, check and verify; raises EncodingError or SignatureError."""
        content = dagcbor.decode(data, MESSAGE_BYTES)
        fields = Fields(content, "announcement", EncodingError)
        fields.integer("v", _VERSION, _VERSION)
        author = fields.octets("author", PUBLIC_KEY_BYTES)
        signature = fields.octets("sig", SIGNATURE_BYTES)
        announcement = cls(
            author, fields.integer("time"), fields.integer("part", 0, PARTS - 1), fields.links("heads", HEADS)
        )
        signed = {name: value for name, value in content.items() if name != "sig"}
        verify(author, signature, _signed_bytes(swarm, signed))
        return announcement


def announcements(author: bytes, time: int, heads: Sequence[Cid]) -> Iterator[Announcement]:
    """Yield as many announcements as it takes to name these heads."""
    for part, start in enumerate(range(0, len(heads), HEADS)):
        yield Announcement(author, time, part, tuple(heads[start : start + HEADS]))


def _signed_bytes(swarm: Cid, fields: dict[str, object]) -> bytes:
    return _CONTEXT + swarm.to_bytes() + dagcbor.encode(fields)


class Newest:
    """Keeps the newest announcement of each of the last ``authors``: older ones do not count any more."""

    def __init__(self, authors: int = _MAX_AUTHORS) -> None:
        self._known = BoundedDict[bytes, tuple[int, dict[int, tuple[Cid, ...]]]](authors)
        self._unheard = BoundedDict[bytes, None](authors)

    def note(self, new: Announcement, epoch: int, now: int, late: bool) -> None:
        """Take in what was found under the tag of ``epoch``.

        Raises FutureError, or ReplayError for a repeated one; ``late`` excuses that, as when an
        old epoch is read after a newer one.
        """
        if new.epoch != epoch:
            raise ReplayError("heads of another time under this swarm's tag", "another peer repeats old ones")
        if new.time > now + Limits().skew:
            raise FutureError(f"heads dated {(new.time - now) // 1000} s ahead", "set the clocks of peers and nodes")
        time, parts = self._known.get(new.author, (-1, {}))
        if new.time > time:
            parts = {}
        elif new.time < time:
            if late:
                return
            raise ReplayError("heads older than their author's newest", "another peer repeats them, or a node was late")
        elif new.part in parts:  # attached a second time
            return
        parts[new.part] = new.heads
        self._known.renew(new.author, (new.time, parts))
        self._unheard.renew(new.author, None)

    def take(self) -> list[tuple[Cid, ...]]:
        """Return the heads of authors with something new since the last call, oldest first."""
        news = sorted(
            (self._known[author] for author in self._unheard if author in self._known), key=lambda known: known[0]
        )
        self._unheard.clear()
        return [sum((parts[part] for part in sorted(parts)), ()) for _, parts in news]
