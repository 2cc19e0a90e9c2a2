"""The announcement: one peer's view of the swarm as a vector, one entry an author (docs/protocol.md). Pure.

It is state, not an event: the newest entry of an announcer for an author replaces its earlier ones, and the next
announcement heals a lost one. Nothing in it is proven before the messages that it names are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from learnae.errors import EncodingError, LimitError
from learnae.ipld import dagcbor
from learnae.ipld.cid import Cid
from learnae.ipld.fields import Fields
from learnae.protocol.identity import Identity, verify
from learnae.protocol.limits import MAX_SEQ, Limits

VERSION = 1
PREFIX_BYTES = 8  # of an author's key: 2^64 tries to make a second one
_HEAD_BYTES = len(b"\xa3" + b"\x61v\x01" + b"\x64kept" + b"\x67authors")
_LINK_BYTES = 41  # tag 42, and 37 bytes with the two that give their length
_ENTRY_BYTES = 1 + 1 + PREFIX_BYTES + _LINK_BYTES  # without seq and checkpoint
MAX_BYTES = 8192  # above what Limits.entries and Limits.kept take


@dataclass(frozen=True, slots=True)
class Entry:
    """Names an author's newest message, the ``head`` with its ``seq``, and the ``checkpoint`` that it stands on.

    ``author`` holds the first PREFIX_BYTES of the key; ``checkpoint`` is None where the announcer does not know it.
    """

    author: bytes
    seq: int
    head: Cid
    checkpoint: Cid | None

    def to_list(self) -> list[bytes | int | Cid | None]:
        """Return the list that goes into the announcement; the checkpoint is left out where it is the head."""
        return [self.author, self.seq, self.head, None if self.checkpoint == self.head else self.checkpoint]

    @classmethod
    def from_list(cls, value: object) -> Entry:
        """Read and bound what a peer wrote."""
        if not isinstance(value, (list, tuple)) or len(value) != len(_ENTRY):
            raise EncodingError("an entry of an announcement is no list of four", "it is ignored")
        fields = Fields(dict(zip(_ENTRY, value, strict=True)), "announcement", EncodingError)
        head = fields.link("head")
        return cls(
            fields.octets("author", PREFIX_BYTES),
            fields.integer("seq", 0, MAX_SEQ),
            head,
            fields.optional_link("checkpoint") or head,
        )


_ENTRY = ("author", "seq", "head", "checkpoint")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one peer tells the others: ``entries``, one an author, and names of messages that are ``kept`` for ever.

    >>> from learnae.ipld.cid import DAG_CBOR
    >>> head = Cid.of(DAG_CBOR, b"a message")
    >>> said = Announcement((Entry(b"an autho", 7, head, head),))
    >>> Announcement.from_bytes(said.to_bytes()) == said
    True
    """

    entries: tuple[Entry, ...] = ()
    kept: tuple[Cid, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries or self.kept)

    def check(self) -> None:
        """Raise LimitError if there is more than an announcement holds."""
        limits = Limits()
        if len(self.entries) > limits.entries or len(self.kept) > limits.kept:
            raise LimitError(
                f"an announcement of {len(self.entries)} authors and {len(self.kept)} kept messages",
                f"at most {limits.entries} and {limits.kept} are announced",
            )

    def to_fields(self) -> dict[str, object]:
        """Return the map, however long."""
        entries = [entry.to_list() for entry in self.entries]
        return {"v": VERSION, "kept": list(self.kept), "authors": entries}

    @property
    def size(self) -> int:
        """Return how many bytes ``to_bytes`` returns, without making them."""
        kept, entries = len(self.kept), len(self.entries)
        size = _HEAD_BYTES + _length_bytes(kept) + kept * _LINK_BYTES + _length_bytes(entries)
        for entry in self.entries:
            size += _ENTRY_BYTES + _length_bytes(entry.seq)
            size += 1 if entry.checkpoint in (entry.head, None) else _LINK_BYTES
        return size

    def to_bytes(self) -> bytes:
        """Return the dag-cbor map; raises LimitError if there is more than an announcement holds."""
        self.check()
        return dagcbor.encode(self.to_fields())

    @classmethod
    def from_bytes(cls, data: bytes) -> Announcement:
        """Read what a peer announces; raises EncodingError or LimitError."""
        return cls.from_fields(dagcbor.decode(data, MAX_BYTES))

    @classmethod
    def from_fields(cls, value: object) -> Announcement:
        """Read a decoded announcement; raises EncodingError."""
        limits, fields = Limits(), Fields(value, "announcement", EncodingError)
        if fields.integer("v") != VERSION:
            raise EncodingError(f"an announcement of version {fields.integer('v')}", f"this peer reads {VERSION}")
        entries = fields.value("authors")
        if not isinstance(entries, (list, tuple)) or len(entries) > limits.entries:
            raise fields.error("authors", entries, f"a list of at most {limits.entries}")
        return cls(tuple(map(Entry.from_list, entries)), fields.links("kept", limits.kept))


def _length_bytes(number: int) -> int:
    """Return how many bytes dag-cbor writes a number, or a length, in."""
    return 1 if number < 24 else 2 if number < 1 << 8 else 3 if number < 1 << 16 else 5 if number < 1 << 32 else 9


def sign_fields(fields: Mapping[str, Any], context: bytes, swarm: Cid, identity: Identity) -> bytes:
    """Return ``fields`` as dag-cbor with the signature of ``identity``, which means something in ``context`` alone."""
    return dagcbor.encode({**fields, "sig": identity.sign(_signed_bytes(fields, context, swarm))})


def verify_fields(fields: Mapping[str, Any], context: bytes, swarm: Cid) -> None:
    """Raise SignatureError unless ``by`` in the decoded ``fields`` has signed them, as ``sign_fields`` does."""
    signed = {name: value for name, value in fields.items() if name != "sig"}
    verify(fields["by"], fields["sig"], _signed_bytes(signed, context, swarm))


def _signed_bytes(fields: Mapping[str, Any], context: bytes, swarm: Cid) -> bytes:
    return context + swarm.to_bytes() + dagcbor.encode(dict(fields))
